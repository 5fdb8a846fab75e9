"""What can be known of a checkpoint before any job starts, without torch."""

from pathlib import Path

from .checkpoint_tensors import Shapes, check_config, tensor_shapes
from .content_digest import files_digest
from .errors import ConfigError
from .hub import is_hub_name
from .model_files import CheckpointError, ModelFiles
from .sites import MODULES


def check_checkpoint(path: str, languages: list[str]) -> None:
    """Raise ConfigError for a checkpoint that a job could not load, or that lacks a language.

    Of a folder everything is checked that needs no weights: the files, the kind of model, its language
    tags, and by the headers of the safetensors files that they are whole and hold every tensor that the
    encoders and the decoder need. A name on the Hugging Face hub (``owner/name``) is checked when a stage
    loads it.

    Parameters
    ----------
    path : str
        ``model.path`` of the config.
    languages : list of str
        All languages of the run, the output language among them.
    """
    if not Path(path).is_dir():
        if not is_hub_name(path):
            raise ConfigError(
                f"model.path: expected a checkpoint folder or a name owner/name on the Hugging Face "
                f"hub, got {path!r}, and there is no such folder"
            )
        return
    files = ModelFiles(path)
    try:
        shapes = _all_shapes(files)
        tags = files.language_tags()
        files.tokenizer()
        files.locate(shapes)
    except CheckpointError as error:
        raise ConfigError(f"model.path: {error}") from error
    missing = [language for language in languages if language not in tags]
    if missing:
        raise ConfigError(
            f"languages: the model {path} has no language tag for {', '.join(missing)}; "
            f"it has {', '.join(sorted(tags))}"
        )


def _all_shapes(files: ModelFiles) -> Shapes:
    """Every tensor that a stage may read."""
    config = files.json("config.json")
    try:
        if "model_type" not in config:
            raise ValueError("model config: expected a key 'model_type'")
        check_config(config)
        shapes: Shapes = {}
        for module in MODULES:
            shapes |= tensor_shapes(config, module)
    except ValueError as error:
        raise CheckpointError(f"{files}: {error}") from error
    return shapes


def checkpoint_digest(path: str) -> str:
    """Digest of a checkpoint folder; of a name on the hub nothing is known here (pin a revision)."""
    folder = Path(path)
    if not folder.is_dir():
        return ""
    return files_digest(
        [one for one in folder.iterdir() if one.suffix in (".json", ".safetensors")]
    )
