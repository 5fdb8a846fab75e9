"""What can be known of a checkpoint before any job starts, without torch."""

from steplens.errors import CheckpointError, ConfigError, shown
from steplens.files.hub import is_hub_name
from steplens.jobs.file_digests import files_digest
from steplens.models.files import ModelFiles
from steplens.models.greedy_settings import other_search, require_plain_greedy
from steplens.models.neurons import MODULES
from steplens.models.seamless.tensors import Shapes, check_config, tensor_shapes
from steplens.models.tokenizer_files import check_heads, check_tokenizer
from steplens.project import project_path

# What a job reads of a folder: configs and tokenizer, weights, the published vocabulary.
_COUNTED = (".json", ".safetensors", ".model")


def check_checkpoint(path: str, languages: list[str]) -> None:
    """Raise ConfigError for a checkpoint that a job could not load, or that lacks a language.

    Of a folder everything is checked that needs no weights: the files, the kind of model, its language
    tags, what its generation config asks for, and by the headers of the safetensors files that they are
    whole and hold every tensor that the encoders and the decoder need. A name on the Hugging Face hub
    (``owner/name``) is checked when a stage loads it.

    Parameters
    ----------
    path : str
        ``model.path`` of the config.
    languages : list of str
        All languages of the run, the output language among them.
    """
    if not project_path(path).is_dir():
        if not is_hub_name(path):
            raise ConfigError(
                f"model.path: expected a checkpoint folder or a name owner/name on the Hugging Face "
                f"hub, got {shown(path)}, and there is no such folder"
            )
        return
    files = ModelFiles(path)
    try:
        shapes = _all_shapes(files)
        tags = files.language_tags()
        check_heads(files)
        files.locate(shapes)
        require_plain_greedy(
            files.json("generation_config.json"), files.json("config.json"), str(files)
        )
    except CheckpointError as error:
        raise ConfigError(f"model.path: {error}") from error
    missing = [language for language in languages if language not in tags]
    if missing:
        raise ConfigError(
            f"languages: the model {path} has no language tag for {', '.join(missing)}; "
            f"it has {_cut(', '.join(sorted(tags)))}; expected all languages of the run among them, so "
            "leave those out or choose another model"
        )


def check_vocabulary(path: str) -> None:
    """Raise ConfigError for a folder whose tokenizer a stage could not load; nothing of a hub name.

    Takes some tenths of a second for the published size: once a run, and not in every job.
    """
    folder = project_path(path)
    if not folder.is_dir():
        return
    try:
        check_tokenizer(ModelFiles(path))
    except CheckpointError as error:
        raise ConfigError(f"model.path: {error}") from error


def _cut(text: str, at_most: int = 100) -> str:
    return text if len(text) <= at_most else f"{text[: at_most - 1]}…"


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


def search_notes(path: str) -> list[str]:
    """What a checkpoint's generation config asks for and does not get, in words; nothing of a hub name."""
    if not project_path(path).is_dir():
        return []
    asked = other_search(ModelFiles(path).json("generation_config.json"))
    return [
        f"model.path: {path}: generation_config.json: expected greedy decoding, got {name} = {value!r}; "
        "steplens ignores it and decodes greedily; remove the key to silence this note"
        for name, value in asked.items()
    ]


def checkpoint_digest(path: str) -> str:
    """Digest of a checkpoint folder; of a name on the hub nothing is known here (pin a revision)."""
    folder = project_path(path)
    if not folder.is_dir():
        return ""
    return files_digest(
        [one for one in folder.iterdir() if one.suffix in _COUNTED and one.is_file()]
    )


def require_unchanged(path: str, digest: str) -> None:
    """Raise CheckpointError if a checkpoint folder is no longer the one that the run began with.

    Parameters
    ----------
    path : str
        A folder; a name on the hub has a revision, and the hub's client sees to the rest.
    digest : str
        Of ``checkpoint_digest`` when the jobs were planned (``identities.checkpoint_identity``).

    Notes
    -----
    Large files are not read again: ``files_digest`` has kept their digests since the run began.
    """
    if is_hub_name(path) and (not digest or digest.startswith(f"{path}@")):
        return
    found = checkpoint_digest(path)
    if found != digest:
        raise CheckpointError(
            f"model folder {path}: expected the files that the run began with (digest {digest or 'none'}), "
            f"got others ({found or 'there is no such folder'}): weights, config or tokenizer were changed "
            "since; put the old ones back, or start the workflow again, which redoes what depends on them"
        )
