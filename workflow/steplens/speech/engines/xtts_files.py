"""The files of an XTTS v2 checkpoint, without loading any of them."""

from steplens.errors import ConfigError
from steplens.files.hub import is_hub_name
from steplens.jobs.file_digests import files_digest
from steplens.project import project_path

FILES = ("config.json", "vocab.json", "speakers_xtts.pth", "model.pth")
CPML = (
    "speech.xtts.accept_cpml: XTTS v2 and what it speaks may be used under the Coqui Public Model License "
    "only, which forbids commercial use (https://coqui.ai/cpml); expected true, as a sign that you have "
    "read and accept it, got false"
)


def check_xtts(path: str) -> None:
    """Raise ConfigError for a local folder that is not an XTTS v2 checkpoint."""
    if is_hub_name(path):
        return
    missing = [name for name in FILES if not (project_path(path) / name).is_file()]
    if missing:
        raise ConfigError(
            f"speech.xtts.path: expected a folder with {', '.join(FILES)}, or a name owner/name on the "
            f"Hugging Face hub; {path} has no {', '.join(missing)}"
        )


def xtts_digest(path: str) -> str:
    """Digest of a local checkpoint; of a name on the hub its revision says enough."""
    files = [project_path(path) / name for name in FILES]
    return files_digest(files) if all(file.is_file() for file in files) else ""


def require_unchanged(path: str, digest: str) -> None:
    """Raise ConfigError if a local checkpoint is no longer the one that the run began with."""
    found = xtts_digest(path)
    if digest and found != digest:
        raise ConfigError(
            f"speech.xtts.path: {path}: expected the files that the run began with (digest {digest}), got "
            f"others ({found or 'not all are there'}); put the old ones back, or start the workflow again"
        )
