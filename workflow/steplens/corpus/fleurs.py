"""Where the files of FLEURS lie, and whether a local copy has what a run needs."""

import hashlib
import itertools
from pathlib import Path

from steplens.errors import ConfigError, shown
from steplens.files.hub import is_hub_name
from steplens.files.input_files import instead_of_content
from steplens.jobs.file_digests import files_digest
from steplens.languages.table import Language
from steplens.project import project_path

PUBLISHED_SPLITS = ("train", "dev", "test")


def split_file(folder: Path, language: Language, split: str) -> Path:
    """``data/<code>/<split>.tsv``."""
    return folder / "data" / language.fleurs / f"{split}.tsv"


def archive_file(folder: Path, language: Language, split: str) -> Path:
    """``data/<code>/audio/<split>.tar.gz``, or the folder beside it that somebody unpacked."""
    unpacked = folder / "data" / language.fleurs / "audio" / split
    return unpacked if unpacked.is_dir() else unpacked.with_name(f"{split}.tar.gz")


def recordings_digest(paths: list[Path]) -> str:
    """Digest of archives or folders of recordings: another one of the same name is other speech.

    An archive counts by its content, a folder by the names and sizes of its files.
    """
    digest = hashlib.sha256()
    for path in paths:
        if path.is_dir():
            files = sorted((one.name, one.stat().st_size) for one in path.iterdir())
            digest.update(f"{path.name} {files}\n".encode())
        elif path.is_file():
            digest.update(f"{files_digest([path])}\n".encode())
    return digest.hexdigest()[:16]


def check_corpus(
    path: str | Path, languages: list[Language], splits: list[str], spoken: list[Language]
) -> None:
    """Raise ConfigError for a name on the hub or a local copy that lacks what is needed.

    Parameters
    ----------
    path : str or path
        A folder, or a name on the Hugging Face hub; of a name only the codes and splits are checked.
    languages : list of Language
        Whose sentences are read.
    splits : list of str
    spoken : list of Language
        Whose recordings are needed.
    """
    for language in languages:
        if not language.fleurs:
            raise ConfigError(
                f"languages: expected languages that FLEURS has, got {language.name} ({language.code}), for "
                "which resources/languages.tsv has no code of FLEURS; leave it out"
            )
    if is_hub_name(str(path)):
        unknown = [split for split in splits if split not in PUBLISHED_SPLITS]
        if unknown:
            raise ConfigError(
                f"corpus.splits: expected some of {', '.join(PUBLISHED_SPLITS)}, the splits of {path}, "
                f"got {unknown[0]!r}"
            )
        return
    folder = project_path(path)
    _check_folder(folder, languages)
    for language in languages:
        for split in splits:
            _check_sentences(folder, language, split)
    for language in spoken:
        for split in splits:
            _check_recordings(folder, language, split)


def _check_folder(folder: Path, languages: list[Language]) -> None:
    if (folder / "data").is_dir():
        return
    if not folder.is_dir():
        found = "there is no such folder"
    elif any((folder / language.fleurs).is_dir() for language in languages):
        found = "it has the languages themselves: give the folder that holds data"
    elif _has_parquet(folder):
        found = "it has Parquet files, as later revisions of FLEURS do; config/paper.yaml names one with TSVs"
    else:
        found = "it has no folder data"
    raise ConfigError(
        "corpus.path: expected a folder that holds data/<code>/<split>.tsv as FLEURS is published, or "
        f"the name google/fleurs, got {shown(str(folder), quoted=False)}: {found}"
    )


def _has_parquet(folder: Path) -> bool:
    """Whether Parquet files lie where later revisions of FLEURS have them; not a search through a disk."""
    some = itertools.chain(folder.glob("*.parquet"), folder.glob("*/*.parquet"))
    try:
        return next(itertools.islice(some, 1), None) is not None
    except OSError:
        return False


def _check_sentences(folder: Path, language: Language, split: str) -> None:
    path = split_file(folder, language, split)
    what = f"the sentences of {language.name} ({language.code})"
    if not path.parent.is_dir():
        raise ConfigError(
            f"corpus.path: expected the folder {path.parent} with {what}; there is "
            f"{_listed(folder / 'data', '*')}"
        )
    if not path.exists():
        raise ConfigError(
            f"corpus.path: expected {path}, {what}; there is {_listed(path.parent, '*.tsv')}"
        )
    instead = instead_of_content(path)
    if instead:
        raise ConfigError(f"corpus.path: expected {path}, {what}; it is {instead}")


def _check_recordings(folder: Path, language: Language, split: str) -> None:
    path = archive_file(folder, language, split)
    what = (
        f"the recordings of {language.name} ({language.code}), which speech engine recorded needs"
    )
    if path.is_dir():
        if next(path.glob("*.wav"), None) is None:
            raise ConfigError(
                f"corpus.path: expected {path} with {what}; the folder has no WAV file: unpack the "
                "archive so that its files lie in it, or remove the folder"
            )
        return
    if not path.exists():
        raise ConfigError(
            f"corpus.path: expected {path}, {what}, or a folder {split} beside it with its files; "
            f"there is {_listed(path.parent, '*')}"
        )
    instead = instead_of_content(path)
    if instead:
        raise ConfigError(f"corpus.path: expected {path}, {what}; it is {instead}")


def _listed(folder: Path, pattern: str, at_most: int = 12) -> str:
    names = sorted(path.name for path in folder.glob(pattern))
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return (", ".join(names[:at_most]) or "nothing") + more
