"""The header of a safetensors file: which tensors it holds, where and how; no weights are read.

It is checked as the format demands, and where readers differ (a name that stands twice, other fields, a
blank in front) the strict reading is taken: what is accepted here, the safetensors library loads.

References
----------
https://github.com/huggingface/safetensors, "Format".
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from steplens.errors import CheckpointError, shown
from steplens.files.input_files import instead_of_content, open_regular

_MAX_HEADER_BYTES = 100_000_000  # as safetensors itself has it
_MAX_NUMBER = 2**64 - 1
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
    "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
_FIELDS = {"dtype", "shape", "data_offsets"}
_AGAIN = "copy or fetch the file again"


@dataclass(frozen=True)
class StoredTensor:
    """What a safetensors header says of a tensor."""

    dtype: str  # "F32", "F16", …
    shape: tuple[int, ...]
    begin: int  # first byte in the file
    end: int  # byte after the last


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Every tensor of a safetensors file, by name.

    Raises
    ------
    CheckpointError
        No safetensors file, one that was cut off, or whose header is not as the format demands: plain
        whole numbers, known dtypes, names that stand once, and tensors that follow each other from the end
        of the header to the end of the file, each as long as its dtype and shape say.
    """
    try:
        file = open_regular(path)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    with file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(8)
        n_header = int.from_bytes(head, "little")
        if len(head) < 8 or not 2 <= n_header <= _MAX_HEADER_BYTES:
            got = instead_of_content(path) or f"{size} bytes of another; {_AGAIN}"
            raise CheckpointError(f"{path}: expected a safetensors file, got {got}")
        if size < 8 + n_header:
            raise CheckpointError(
                f"{path}: cut off: expected a header of {n_header} bytes, got {size - 8}; {_AGAIN}"
            )
        header = file.read(n_header)
    start = 8 + n_header
    try:
        tensors = {
            name: _tensor(name, entry, start)
            for name, entry in _entries(header).items()
            if name != "__metadata__"
        }
        end = _contiguous_end(tensors, start)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise CheckpointError(
            f"{path}: expected a safetensors file, but its header cannot be read: {why}; {_AGAIN}"
        ) from error
    if size < end:
        raise CheckpointError(f"{path}: cut off: expected {end} bytes, got {size}; {_AGAIN}")
    if size > end:
        raise CheckpointError(
            f"{path}: expected {end} bytes by its header, got {size}, {size - end} more; {_AGAIN}"
        )
    return tensors


def _entries(header: bytes) -> dict[str, Any]:
    text = header.decode("utf-8")
    if not text.startswith("{"):
        raise ValueError(f"expected {{ at its beginning, got {shown(text[:1])}")
    entries = json.loads(
        text,
        object_pairs_hook=_once,
        parse_int=_whole_number,
        parse_float=_no_number,
        parse_constant=_no_number,
    )
    metadata = entries.get("__metadata__")
    if metadata is not None and not (
        isinstance(metadata, dict) and all(isinstance(one, str) for one in metadata.values())
    ):
        raise ValueError(f"__metadata__: expected texts by name, got {shown(metadata)}")
    # JSON can spell halves of characters, which are no UTF-8.
    "".join([*entries, *(metadata or {}), *(metadata or {}).values()]).encode("utf-8")
    return entries


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"expected every name once, got {shown(twice)} twice")
    return found


def _whole_number(text: str) -> int:
    if text.startswith("-") or len(text) > len(str(_MAX_NUMBER)) or int(text) > _MAX_NUMBER:
        _no_number(text)
    return int(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"expected whole numbers from 0 to 2⁶⁴ - 1, got {shown(text, quoted=False)}")


def _tensor(name: str, entry: Any, start: int) -> StoredTensor:
    """One entry, its numbers and dtype checked; ``start`` is where the data begin."""
    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        raise ValueError(
            f"{shown(name)}: expected {', '.join(sorted(_FIELDS))}, got {shown(entry)}"
        )
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    bits = _BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None:
        raise ValueError(f"{shown(name)}: dtype: expected a known one, got {shown(dtype)}")
    for key, numbers in (("shape", shape), ("data_offsets", offsets)):
        if not isinstance(numbers, list) or not all(type(one) is int for one in numbers):
            raise ValueError(f"{shown(name)}: {key}: expected whole numbers, got {shown(numbers)}")
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(
            f"{shown(name)}: data_offsets: expected begin and end, got {shown(offsets)}"
        )
    n_values = 1
    for length in shape:
        n_values *= length
        if n_values > _MAX_NUMBER:
            break
    n_bits = n_values * bits
    if n_bits > _MAX_NUMBER or n_bits != 8 * (offsets[1] - offsets[0]):
        raise ValueError(
            f"{shown(name)}: expected as many bytes as {dtype} of shape {shown(shape)} has, got "
            f"{offsets[1] - offsets[0]}"
        )
    return StoredTensor(dtype, tuple(shape), start + offsets[0], start + offsets[1])


def _contiguous_end(tensors: dict[str, StoredTensor], start: int) -> int:
    """Where the last tensor ends; every one begins where the one before it ends."""
    end = start
    for name, tensor in sorted(tensors.items(), key=lambda one: (one[1].begin, one[1].end)):
        if tensor.begin != end:
            raise ValueError(
                f"{shown(name)}: data_offsets: expected data that begin at {end - start}, where those "
                f"before end, got {tensor.begin - start}"
            )
        end = tensor.end
    return end
