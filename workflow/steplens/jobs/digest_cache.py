"""Digests of large files, kept from run to run.

An entry is one small file, named by the path that a file really lies at (links followed, as those of the
Hugging Face cache). It holds while inode, size, and the times of the last change of content and of inode are
the same: no program can set the last of them. Device numbers are left out, since those of a network file
system differ from machine to machine. Entries lie in the user's cache, ``$XDG_CACHE_HOME/steplens`` or
``~/.cache/steplens``, else in ``.snakemake/steplens`` of the working folder; only one's own are believed, and
a damaged one counts as none.
"""

import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

_MAX_ENTRY_BYTES = 1 << 16


@dataclass(frozen=True)
class FileState:
    """What changes when a file is written to, or another takes its name."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, result: os.stat_result) -> "FileState":
        """From what ``os.stat`` gives."""
        return cls(result.st_ino, result.st_size, result.st_mtime_ns, result.st_ctime_ns)


def cache_folders() -> list[Path]:
    """Where entries may lie, first those to be tried first."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    folders = []
    if os.path.isabs(given):
        folders.append(Path(given) / "steplens")
    else:
        home = Path(os.path.expanduser("~"))
        folders += [home / ".cache" / "steplens"] if home.is_absolute() else []
    return [*folders, Path(".snakemake") / "steplens"]


class DigestCache:
    """Digest of a file by its path and state.

    Parameters
    ----------
    folders : sequence of path, optional
        All are read, and the first that can be written to is written to; by default ``cache_folders()``.
    """

    def __init__(self, folders: Sequence[Path] | None = None):
        self._folders = cache_folders() if folders is None else list(folders)

    def get(self, path: Path, state: FileState) -> str | None:
        """The digest, if it is kept of just this state."""
        for folder in self._folders:
            try:
                found = _read(folder / _name(path))
            except (OSError, ValueError, RecursionError):
                continue
            if found.get("path") == _shown(path) and found.get("state") == list(astuple(state)):
                return found["digest"]
        return None

    def put(self, path: Path, state: FileState, digest: str) -> bool:
        """Keep a digest; False where no folder can be written to."""
        from steplens.files.atomic import atomic_path

        entry = {"path": _shown(path), "state": astuple(state), "digest": digest}
        for folder in self._folders:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                with atomic_path(folder / _name(path)) as partial:
                    partial.write_text(
                        json.dumps(entry | {"check": _check(entry)}) + "\n", encoding="utf-8"
                    )
                return True
            except OSError:
                continue
        return False


def _name(path: Path) -> str:
    return f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"


def _shown(path: Path) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _check(entry: dict) -> str:
    content = [entry["path"], list(entry["state"]), entry["digest"]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _read(path: Path) -> dict:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise ValueError("of another user")
        entry = json.loads(file.read(_MAX_ENTRY_BYTES))
    try:
        whole = bool(re.fullmatch("[0-9a-f]{64}", entry["digest"])) and (
            entry["check"] == _check(entry)
        )
    except (KeyError, TypeError) as error:
        raise ValueError("damaged") from error
    if not whole:
        raise ValueError("damaged")
    return entry
