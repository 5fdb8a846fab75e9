"""What can be known of a checkpoint before any job starts, without torch."""

import json
from pathlib import Path

from .config import ConfigError
from .content_digest import files_digest


def check_checkpoint(path: str, languages: list[str]) -> None:
    """Raise ConfigError for a folder that is not there, or a model that lacks a language.

    A name on the Hugging Face hub (``owner/name``) is checked when a stage loads it.
    """
    folder = Path(path)
    if not folder.is_dir():
        if path.count("/") != 1 or path.startswith((".", "/")):
            raise ConfigError(
                f"model.path: expected a checkpoint folder or a name owner/name on the Hugging Face "
                f"hub, got {path!r}, and there is no such folder"
            )
        return
    for name in ("config.json", "generation_config.json"):
        if not (folder / name).is_file():
            raise ConfigError(f"model.path: expected {name} in {folder}, found none")
    tags = json.loads((folder / "generation_config.json").read_text()).get(
        "text_decoder_lang_to_code_id", {}
    )
    missing = [language for language in languages if language not in tags]
    if missing:
        raise ConfigError(
            f"languages: the model {path} has no language tag for {', '.join(missing)}; "
            f"it has {', '.join(sorted(tags))}"
        )


def checkpoint_digest(path: str) -> str:
    """Digest of a checkpoint folder; of a name on the hub nothing is known here (pin a revision)."""
    folder = Path(path)
    if not folder.is_dir():
        return ""
    return files_digest(
        [one for one in folder.iterdir() if one.suffix in (".json", ".safetensors")]
    )
