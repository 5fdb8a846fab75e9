"""Headers of safetensors files: what is accepted, the library accepts too, and says the same of it."""

import json
import random
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from steplens.errors import CheckpointError
from steplens.files.safetensors_header import _BITS, read_header

ENTRY = {"dtype": "U8", "shape": [2, 3], "data_offsets": [0, 6]}


def written(path: Path, header, data: bytes = bytes(6)) -> Path:
    """A file with this header: JSON of it, or the bytes themselves."""
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(content).to_bytes(8, "little") + content + data)
    return path


def by_the_library(path: Path) -> dict | None:
    """Shape and dtype of every tensor; None where the library refuses the file."""
    try:
        with safe_open(path, "numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {name: (one.get_dtype(), tuple(one.get_shape())) for name, one in slices.items()}
    except SafetensorError:
        return None


def by_steplens(path: Path) -> dict | None:
    """The same; every refusal is one line of a few words."""
    try:
        found = read_header(path)
    except CheckpointError as error:
        message = str(error).removeprefix(str(path))
        assert len(message) < 400
        assert "\n" not in message
        return None
    return {name: (one.dtype, one.shape) for name, one in found.items()}


@pytest.mark.parametrize("dtype", sorted(_BITS))
def test_every_dtype_is_as_long_as_the_library_has_it(tmp_path, dtype):
    n_bytes = _BITS[dtype]  # eight values
    entry = {"dtype": dtype, "shape": [8], "data_offsets": [0, n_bytes]}
    path = written(tmp_path / "a.safetensors", {"a": entry}, bytes(n_bytes))
    assert by_steplens(path) == by_the_library(path) == {"a": (dtype, (8,))}


def test_values_are_where_the_header_says(tmp_path):
    weights = {
        "b": np.arange(6, dtype="f4").reshape(2, 3),
        "a": np.ones(3, "f2"),
        "c": np.zeros(0, "i8"),
    }
    path = tmp_path / "a.safetensors"
    save_file(weights, path, metadata={"format": "pt"})
    data = path.read_bytes()
    for name, one in read_header(path).items():
        assert data[one.begin : one.end] == weights[name].tobytes()


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ({"a": ENTRY | {"data_offsets": [1, 7]}}, bytes(7), "expected data that begin at 0"),
        ({"a": ENTRY, "b": ENTRY | {"data_offsets": [7, 13]}}, bytes(13), "expected data that begin at 6"),
        ({"a": ENTRY, "b": ENTRY | {"data_offsets": [3, 9]}}, bytes(9), "expected data that begin at 6"),
        ({"a": ENTRY, "b": ENTRY}, bytes(6), "expected data that begin at 6"),
        ({"a": ENTRY}, bytes(7), "bytes by its header, got"),
        ({"a": ENTRY}, bytes(5), "cut off"),
        ({"a": ENTRY | {"shape": [2, 4]}}, bytes(6), "expected as many bytes as U8 of shape"),
        ({"a": ENTRY | {"dtype": "F32"}}, bytes(6), "expected as many bytes as F32 of shape"),
        ({"a": ENTRY | {"dtype": "F31"}}, bytes(6), "dtype: expected a known one, got 'F31'"),
        ({"a": ENTRY | {"dtype": ["U8"]}}, bytes(6), "dtype: expected a known one, got"),
        ({"a": ENTRY | {"shape": [True, 6]}}, bytes(6), "shape: expected whole numbers"),
        ({"a": ENTRY | {"shape": "23"}}, bytes(6), "shape: expected whole numbers"),
        ({"a": ENTRY | {"shape": [2.0, 3]}}, bytes(6), "expected whole numbers from 0 to"),
        ({"a": ENTRY | {"shape": [-2, -3]}}, bytes(6), "expected whole numbers from 0 to"),
        ({"a": ENTRY | {"data_offsets": [6, 0]}}, bytes(6), "expected begin and end"),
        ({"a": ENTRY | {"data_offsets": [0, 6, 6]}}, bytes(6), "expected begin and end"),
        ({"a": ENTRY | {"shape": [2**40, 2**40, 0], "data_offsets": [0, 0]}}, b"", "as many bytes as"),
        ({"a": ENTRY | {"shape": [10**30]}}, bytes(6), "expected whole numbers from 0 to"),
        ({"a": ENTRY | {"more": 1}}, bytes(6), "expected data_offsets, dtype, shape, got"),
        ({"a": {"dtype": "U8", "shape": [6]}}, bytes(6), "expected data_offsets, dtype, shape, got"),
        ({"a": None}, b"", "expected data_offsets, dtype, shape, got None"),
        (b'{"a":%b,"a":%b}' % ((json.dumps(ENTRY).encode(),) * 2), bytes(6), "got 'a' twice"),
        (b'{"a":{"dtype":"U8","shape":[6],"shape":[6],"data_offsets":[0,6]}}', bytes(6), "'shape' twice"),
        (b'{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}', b"", "expected whole numbers from 0 to"),
        (b'{"a":{"dtype":"U8","shape":[NaN],"data_offsets":[0,0]}}', b"", "expected whole numbers from 0 to"),
        (b" " + json.dumps({"a": ENTRY}).encode(), bytes(6), "expected { at its beginning"),
        (b"\xef\xbb\xbf" + json.dumps({"a": ENTRY}).encode(), bytes(6), "expected { at its beginning"),
        (json.dumps({"a": ENTRY}).encode() + b"\0", bytes(6), "its header cannot be read"),
        (json.dumps({"a": ENTRY}).encode("utf-16"), bytes(6), "its header cannot be read"),
        (b'{"\\ud800":%b}' % json.dumps(ENTRY).encode(), bytes(6), "its header cannot be read"),
        ({"__metadata__": {"format": 1}}, b"", "__metadata__: expected texts by name"),
        ({"__metadata__": ["pt"]}, b"", "__metadata__: expected texts by name"),
        (b'{"a":' + b"[" * 100_000, b"", "it is nested too deeply"),
        (b"[]", b"", "expected { at its beginning"),
    ],
)  # fmt: skip
def test_what_the_format_forbids_is_refused(tmp_path, header, data, message):
    path = written(tmp_path / "a.safetensors", header, data)
    with pytest.raises(CheckpointError) as error:
        read_header(path)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert by_steplens(path) is None


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({}, b""),
        ({"__metadata__": {"format": "pt"}}, b""),
        ({"": ENTRY}, bytes(6)),
        ({"a": ENTRY | {"shape": [], "data_offsets": [0, 1]}}, bytes(1)),
        ({"b": ENTRY | {"data_offsets": [6, 12]}, "a": ENTRY}, bytes(12)),
        ({"a": ENTRY, "b": ENTRY | {"shape": [0], "data_offsets": [6, 6]}}, bytes(6)),
        ({"a": ENTRY | {"shape": [0, 2**40, 2**40], "data_offsets": [0, 0]}}, b""),
        (json.dumps({"a": ENTRY}).encode() + b"   ", bytes(6)),
    ],
)
def test_what_the_format_allows_is_taken(tmp_path, header, data):
    path = written(tmp_path / "a.safetensors", header, data)
    assert by_steplens(path) == by_the_library(path) is not None


@pytest.mark.parametrize("seed", range(4))
def test_a_file_with_mutations_is_never_taken_where_the_library_refuses_it(tmp_path, seed):
    """Bytes that are changed, taken out, put in, or copied from elsewhere in a good file."""
    chance = random.Random(seed)
    path = tmp_path / "a.safetensors"
    weights = {
        "x.weight": np.ones((3, 4), "f4"),
        "y": np.arange(5, dtype="u1"),
        "z": np.ones(2, "f2"),
    }
    save_file(weights, path, metadata={"format": "pt"})
    good = path.read_bytes()
    n_header = int.from_bytes(good[:8], "little")
    taken = 0
    for _ in range(1500):
        header, data = bytearray(good[8 : 8 + n_header]), good[8 + n_header :]
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            place, length = chance.randrange(len(header)), chance.randrange(1, 6)
            piece = chance.choice(
                [b"", bytes([chance.randrange(256)]), bytes([chance.choice(b'0123456789-.eE[]{},:" t')]),
                 bytes(header[(start := chance.randrange(len(header))) : start + length])]
            )  # fmt: skip
            header[place : place + chance.choice((0, 1, 1, length))] = piece
            header = header or bytearray(b"{")
        n_said = len(header) if chance.random() < 0.95 else chance.randrange(2 * n_header)
        path.write_bytes(n_said.to_bytes(8, "little") + header + data)
        ours, library = by_steplens(path), by_the_library(path)
        assert ours is None or ours == library
        taken += ours is not None
    assert taken > 20


NUMBERS = st.one_of(
    st.integers(0, 9), st.integers(-3, 2**65), st.booleans(), st.floats(), st.none(), st.text(max_size=2)
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(
    st.dictionaries(
        st.text(max_size=3) | st.just("__metadata__"),
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from([*_BITS, "f32", ""]) | NUMBERS,
                "shape": st.lists(st.integers(0, 4), max_size=3) | st.lists(NUMBERS, max_size=2) | NUMBERS,
                "data_offsets": st.lists(st.integers(0, 24), min_size=2, max_size=2) | st.lists(NUMBERS),
            }
        )
        | st.dictionaries(st.text(max_size=2), NUMBERS, max_size=2),
        max_size=3,
    ),
    st.integers(0, 24),
)  # fmt: skip
def test_a_header_of_any_values_is_never_taken_where_the_library_refuses_it(
    tmp_path_factory, header, n_bytes
):
    path = written(tmp_path_factory.mktemp("header") / "a.safetensors", header, bytes(n_bytes))
    ours = by_steplens(path)
    assert ours is None or ours == by_the_library(path)


def test_a_header_of_many_tensors_is_checked_in_linear_time(tmp_path):
    """Two hundred thousand in some seconds of processor time; in quadratic time it would take hours."""
    n = 200_000
    header = {
        f"layers.{i}.bias": {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]}
        for i in range(n)
    }
    path = written(tmp_path / "a.safetensors", header, bytes(n))
    start = time.process_time()
    assert len(read_header(path)) == n
    assert time.process_time() - start < 30


def test_a_header_that_says_it_is_huge_is_not_read(tmp_path):
    """Its size is judged first, by the file's."""
    path = tmp_path / "a.safetensors"
    for size in (2**63, 100_000_001, 99_000_000):
        path.write_bytes(size.to_bytes(8, "little") + b"{}")
        with pytest.raises(CheckpointError, match=r"expected a (safetensors file|header of)"):
            read_header(path)
