"""Whether what is about to be written fits on the disk, before hours are spent on it."""

import shutil
from pathlib import Path

from steplens.errors import DiskSpaceError

# A disk that is filled to its last byte harms others: small tables and logs go there too.
MARGIN_BYTES = 256 * 2**20


def require_space(folder: str | Path, n_bytes: float, what: str) -> None:
    """Raise DiskSpaceError if the file system under a folder has less free than is needed.

    Parameters
    ----------
    folder : path
        Where it will be written; need not exist yet.
    n_bytes : float
        Bytes needed. A margin of 256 MiB is added.
    what : str
        What needs them, for the message: ``"the store of s2t deu at step 6"``.

    Notes
    -----
    A quota of the user is not seen by this.
    """
    there = nearest_existing(Path(folder))
    free = shutil.disk_usage(there).free
    if free < n_bytes + MARGIN_BYTES:
        raise DiskSpaceError(
            f"{folder}: disk space: expected {in_words(n_bytes + MARGIN_BYTES)} free for {what}, got "
            f"{in_words(free)} on the file system of {there}; free space there, or make the folder a link to "
            "a larger disk"
        )


def nearest_existing(path: Path) -> Path:
    """The path, or the nearest parent that is there."""
    path = path.absolute()
    return next(one for one in (path, *path.parents) if one.exists())


def in_words(n_bytes: float) -> str:
    """Bytes as people say them: 12.3 GB."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes / 1e3:.0f} kB"
