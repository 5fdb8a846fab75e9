"""Digests of files that come from outside, by content instead of file time."""

import hashlib
from pathlib import Path

_WHOLE_UP_TO_BYTES = 64 * 2**20
_HEAD_BYTES = 1 << 20


def files_digest(paths: list[Path]) -> str:
    """Sixteen hex digits over names and contents.

    Files of more than 64 MiB count by their size and first MiB (for safetensors that holds the
    names, shapes and offsets of all tensors): hashing gigabytes at every start would be too slow.
    """
    digest = hashlib.sha256()
    for path in sorted(paths):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(-1 if size <= _WHOLE_UP_TO_BYTES else _HEAD_BYTES))
    return digest.hexdigest()[:16]
