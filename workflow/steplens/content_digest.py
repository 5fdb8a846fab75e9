"""Digests of files that come from outside, by content instead of file time.

Hashing gigabytes at every start would be too slow: a large file counts by its size and by samples that
lie throughout it. Of a safetensors file every tensor is sampled, since a model that was trained on has
the same size and the same header; of other files blocks at even distances are. Both the first and the
last bytes always count. A change that touches no sample goes unnoticed.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_WHOLE_UP_TO_BYTES = 64 * 2**20
_HEAD_BYTES = 1 << 20
_N_BLOCKS, _BLOCK_BYTES = 64, 1 << 16  # of a file of any kind
_TENSOR_BYTES = 1 << 12  # of each tensor of a safetensors file, from its middle
_MAX_HEADER_BYTES = 100_000_000  # as safetensors itself has it


def files_digest(paths: list[Path]) -> str:
    """Sixteen hex digits over names and contents; of files of more than 64 MiB over samples.

    Notes
    -----
    Some 30 ms for a model of nine gigabytes in two thousand tensors, 8 MiB of which are read.
    """
    digest = hashlib.sha256()
    for path in sorted(paths):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as file:
            if size <= _WHOLE_UP_TO_BYTES:
                digest.update(file.read())
                continue
            for begin, length in _samples(file, size, path.suffix):
                file.seek(begin)
                digest.update(file.read(length))
    return digest.hexdigest()[:16]


def _samples(file: BinaryIO, size: int, suffix: str) -> Iterator[tuple[int, int]]:
    """(first byte, number of bytes) of what counts of a large file."""
    tensors = _tensors(file) if suffix == ".safetensors" else None
    if tensors is None:
        yield 0, _HEAD_BYTES
        last = size - _BLOCK_BYTES
        for number in range(1, _N_BLOCKS):
            yield number * last // (_N_BLOCKS - 1), _BLOCK_BYTES
        return
    start, spans = tensors
    yield 0, start
    for begin, end in spans:
        length = min(_TENSOR_BYTES, end - begin)
        yield start + begin + (end - begin - length) // 2, length
    yield size - _TENSOR_BYTES, _TENSOR_BYTES


def _tensors(file: BinaryIO) -> tuple[int, list[tuple[int, int]]] | None:
    """Where a safetensors file's data start, and its tensors from there; None for another file."""
    n_header = int.from_bytes(file.read(8), "little")
    if not 2 <= n_header <= _MAX_HEADER_BYTES:
        return None
    try:
        header = json.loads(file.read(n_header))
        spans = [
            (int(entry["data_offsets"][0]), int(entry["data_offsets"][1]))
            for name, entry in header.items()
            if name != "__metadata__"
        ]
    except (ValueError, AttributeError, KeyError, IndexError, TypeError):
        return None
    if any(not 0 <= begin <= end for begin, end in spans):
        return None
    return 8 + n_header, sorted(spans)
