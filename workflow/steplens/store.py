"""Activation stores (D9): one Zarr v3 group a condition, written batch by batch, opened by xarray.

Layout of ``<name>.zarr``::

    zarr.json                         written last, atomically: the commit mark
    activation    (utterance, neuron)
    hidden_state  (utterance, layer, hidden)
    valid         (utterance)         decoder stores
    n_positions   (utterance)         encoder stores: valid positions of the encoder's final states
    state         (position, hidden)  encoder stores: those states, utterances end to end
    utterance, layer, submodule, unit, step_invariant       coordinates

A folder without ``zarr.json`` is an interrupted dump. The root attributes carry the digest of the
data and the provenance. Chunks, files and codec were chosen by measurement: docs/stores.md.
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from zarr.codecs import BloscCodec
from zarr.storage import LocalStore

from . import __version__

COMMIT_MARK = "zarr.json"
FORMAT_VERSION = 1
NEURON_CHUNK = 16_384  # columns: what a ranking job reads at a time
SHARD_CHUNKS = 10  # chunks side by side in one file: few files, none too large to hold twice
STATE_CHUNK = 16_384  # positions
ROW_CHUNK = 256  # utterances: what a dump holds in memory
_PLANE_BYTES = 2**18  # of each byte plane in a block of the codec


class StoreError(ValueError):
    """A store is missing, incomplete or not what was expected."""


def store_path(path: str | Path) -> Path:
    """The group's folder, given the folder or its commit mark."""
    path = Path(path)
    return path.parent if path.name == COMMIT_MARK else path


def create_array(
    path: Path,
    name: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: Any,
    dims: list[str],
    chunks_per_file: int = 1,
) -> zarr.Array:
    """Create one array of a group that is not committed yet.

    Parameters
    ----------
    path, name
        The group's folder, and the array's name in it.
    shape, chunks : tuple of int
    dtype
    dims : list of str
        Names of the dimensions.
    chunks_per_file : int
        Chunks along the second dimension that share a file: a shard.
    """
    chunks = tuple(max(1, n) for n in chunks)
    shards = None
    if chunks_per_file > 1:
        n_chunks = min(chunks_per_file, math.ceil(shape[1] / chunks[1]))
        shards = (chunks[0], n_chunks * chunks[1], *chunks[2:])
    # In a store of its own: given the group's store and a name, zarr would write the group's zarr.json.
    return zarr.create_array(
        LocalStore(path / name),
        shape=shape,
        chunks=chunks,
        shards=shards if shards != chunks else None,
        dtype=dtype,
        dimension_names=dims,
        compressors=codec(dtype),
        fill_value=0,
        chunk_key_encoding={"name": "default", "separator": "."},  # no folder a chunk
        config={"write_empty_chunks": True},  # spares a search for zeros
    )


def codec(dtype: Any) -> BloscCodec:
    """Zstandard over the bytes of equal significance, kept apart from the others.

    The low byte of a float16 is noise and the high byte, sign and exponent, is not. Zstandard has one
    Huffman table for 128 KiB: in the blocks that Blosc makes by itself both bytes share it, and hardly
    anything is saved. Planes of a multiple of 128 KiB have a table each.
    """
    size = np.dtype(dtype).itemsize
    return BloscCodec(
        cname="zstd", clevel=1, shuffle="shuffle", typesize=size, blocksize=size * _PLANE_BYTES
    )


def add_array(
    path: Path, name: str, values: np.ndarray, dims: list[str], **attributes: Any
) -> None:
    """Write one small array, in one chunk, with its attributes."""
    array = create_array(path, name, values.shape, values.shape, values.dtype, dims)
    if values.size:
        array[...] = values
    array.attrs.update(attributes)


def add_neurons(path: Path, neurons: pd.DataFrame) -> None:
    """Write the neuron coordinates, given as ``steplens.sites.neuron_table`` gives them."""
    submodule = neurons["submodule"].cat
    add_array(path, "layer", neurons["layer"].to_numpy(), ["neuron"])
    add_array(path, "unit", neurons["unit"].to_numpy(), ["neuron"])
    add_array(path, "step_invariant", neurons["step_invariant"].to_numpy(), ["neuron"])
    # Names once, codes per neuron, as the CF conventions do; open_store gives the names.
    add_array(
        path,
        "submodule",
        submodule.codes.to_numpy(),
        ["neuron"],
        flag_values=list(range(len(submodule.categories))),
        flag_meanings=" ".join(submodule.categories),
    )


def fresh_folder(path: str | Path) -> Path:
    """An empty group folder at ``path`` (or its commit mark); what lies there is removed."""
    path = store_path(path)
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    return path


class StoreWriter:
    """Writes one store in windows of ``ROW_CHUNK`` utterances; commits on leaving the ``with`` block.

    Rows may come in any order within a window (long and short utterances are batched apart); a
    window is written when all of its rows have come. Only one window is ever in memory.

    Parameters
    ----------
    path : path
        ``<name>.zarr`` or its ``zarr.json``. What lies there is removed first.
    utterances : sequence of int
        Sentence ids, one a row.
    neurons : DataFrame
        As ``steplens.sites.neuron_table`` gives it; one column of ``activation`` a row.
    hidden_shape : (int, int)
        Layers (with the embedding, and the adapter where there is one) and hidden size.
    dtype : {"float16", "float32"}
        Of ``activation`` and ``hidden_state``.
    attributes : dict
        Provenance, kept as JSON among the root attributes.
    """

    def __init__(
        self,
        path: str | Path,
        utterances: Sequence[int],
        neurons: pd.DataFrame,
        hidden_shape: tuple[int, int],
        dtype: str,
        attributes: dict[str, Any],
    ):
        if dtype not in ("float16", "float32"):
            raise ValueError(f"store dtype: expected float16 or float32, got {dtype!r}")
        self.path = fresh_folder(path)
        self.n_rows = len(utterances)
        self._attributes = attributes
        self._row_digests = np.zeros((self.n_rows, 32), dtype=np.uint8)
        self._extra_digest = hashlib.sha256(np.asarray(utterances, dtype=np.int64).tobytes())
        self._states: dict[int, np.ndarray] = {}  # of the open window, by row
        self._state_array: zarr.Array | None = None
        self._state_tail: np.ndarray | None = None  # what does not fill a chunk yet
        self._n_positions = np.zeros(self.n_rows, dtype=np.int32)
        shapes = {"activation": (len(neurons),), "hidden_state": hidden_shape}
        dims = {"activation": ["neuron"], "hidden_state": ["layer", "hidden"]}
        self._arrays = {
            name: create_array(
                self.path,
                name,
                (self.n_rows, *shape),
                (min(ROW_CHUNK, self.n_rows), *(min(NEURON_CHUNK, n) for n in shape)),
                dtype,
                ["utterance", *dims[name]],
                chunks_per_file=SHARD_CHUNKS if name == "activation" else 1,
            )
            for name, shape in shapes.items()
        }
        self._window = {
            name: np.zeros((min(ROW_CHUNK, self.n_rows), *shape), dtype=dtype)
            for name, shape in shapes.items()
        }
        self._filled = np.zeros(self.n_rows, dtype=bool)
        self._flushed = 0
        add_array(self.path, "utterance", np.asarray(utterances, dtype=np.int64), ["utterance"])
        add_neurons(self.path, neurons)

    def write(
        self,
        rows: np.ndarray,
        activation: np.ndarray,
        hidden_state: np.ndarray,
        states: list[np.ndarray] | None = None,
    ) -> None:
        """Take one batch.

        Parameters
        ----------
        rows : (batch,) int array
            Which utterances, within the window that is open.
        activation : (batch, n_neurons) array
        hidden_state : (batch, layers, hidden) array
        states : list of (n_positions, hidden) arrays, optional
            Final encoder states of each utterance, without padding.
        """
        start = self._flushed
        stop = min(start + ROW_CHUNK, self.n_rows)
        repeated = len(np.unique(rows)) < len(rows)
        if rows.min() < start or rows.max() >= stop or repeated or self._filled[rows].any():
            raise ValueError(f"store rows: expected new rows in [{start}, {stop}), got {rows}")
        for name, values in (("activation", activation), ("hidden_state", hidden_state)):
            self._window[name][rows - start] = values
        if states is not None:
            for row, state in zip(rows.tolist(), states, strict=True):
                self._states[row] = np.ascontiguousarray(state)
                self._n_positions[row] = len(state)
        self._filled[rows] = True
        if self._filled[start:stop].all():
            self._flush(start, stop)

    def _flush(self, start: int, stop: int) -> None:
        size = stop - start
        for name, array in self._arrays.items():
            # File by file: zarr holds twice what it writes at a time.
            width = (array.shards or array.shape)[1]
            for column in range(0, array.shape[1], width):
                part = slice(column, column + width)
                array[start:stop, part] = self._window[name][:size, part]
        for row in range(size):
            digest = hashlib.sha256(self._window["activation"][row])
            digest.update(self._window["hidden_state"][row].ravel())
            if self._states:
                digest.update(self._states[start + row].ravel())
            self._row_digests[start + row] = np.frombuffer(digest.digest(), dtype=np.uint8)
        if self._states:
            self._append_states()
        self._flushed = stop

    def _append_states(self) -> None:
        """Append the window's encoder states to those of the windows before, in whole chunks."""
        states = [self._states[row] for row in sorted(self._states)]
        self._states.clear()
        if self._state_tail is not None:
            states.insert(0, self._state_tail)
        states = np.concatenate(states)
        whole = len(states) // STATE_CHUNK * STATE_CHUNK
        if whole:
            self._write_states(states[:whole])
        # A copy, so that what is written can go.
        self._state_tail = states[whole:].copy()

    def _write_states(self, states: np.ndarray) -> None:
        if self._state_array is None:
            # Where there is less than a chunk, none is filled up with zeros.
            chunks = (min(STATE_CHUNK, len(states)), states.shape[1])
            self._state_array = create_array(
                self.path, "state", (0, chunks[1]), chunks, states.dtype, ["position", "hidden"]
            )
        start = self._state_array.shape[0]
        self._state_array.resize((start + len(states), states.shape[1]))
        self._state_array[start:] = states

    def add(self, name: str, values: np.ndarray) -> None:
        """Add a small array over utterances, for example ``valid``."""
        self._extra_digest.update(name.encode() + np.asarray(values).tobytes())
        add_array(self.path, name, np.asarray(values), ["utterance"])

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(self, kind, _value, _trace) -> None:
        if kind is not None:
            return  # no commit mark: the dump counts as interrupted
        if self._flushed != self.n_rows:
            raise StoreError(
                f"{self.path}: expected {self.n_rows} utterances, got {int(self._filled.sum())}"
            )
        if self._state_tail is not None:
            if len(self._state_tail) or self._state_array is None:
                self._write_states(self._state_tail)
            add_array(self.path, "n_positions", self._n_positions, ["utterance"])
        self._extra_digest.update(self._row_digests.tobytes())
        commit(self.path, {"digest": self._extra_digest.hexdigest()} | self._attributes)


def commit(path: Path, attributes: dict[str, Any]) -> None:
    """Write the root ``zarr.json`` of a group whose arrays are complete, atomically."""
    metadata = {
        array.parent.name: json.loads(array.read_text())
        for array in sorted(path.glob(f"*/{COMMIT_MARK}"))
    }
    versions = {"steplens": __version__, "zarr": zarr.__version__, "numpy": np.__version__}
    root = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"format_version": FORMAT_VERSION, "versions": versions} | attributes,
        "consolidated_metadata": {
            "kind": "inline", "must_understand": False, "metadata": metadata,
        },
    }  # fmt: skip
    partial = path / f".{COMMIT_MARK}.partial"
    with partial.open("w", encoding="utf-8") as file:
        json.dump(root, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path / COMMIT_MARK)


def open_store(path: str | Path) -> xr.Dataset:
    """Open a store lazily.

    Parameters
    ----------
    path : path
        ``<name>.zarr`` or its ``zarr.json``.

    Returns
    -------
    xarray.Dataset
        ``activation`` (utterance, neuron) and ``hidden_state`` (utterance, layer, hidden), with the
        coordinates ``utterance``, ``layer``, ``submodule`` (names), ``unit`` and
        ``step_invariant``; the provenance is in ``attrs``.

    Raises
    ------
    StoreError
        No store there, an interrupted dump, or a store of another version.
    """
    path = store_path(path)
    if not (path / COMMIT_MARK).is_file():
        state = "an interrupted dump (no zarr.json)" if path.is_dir() else "nothing there"
        raise StoreError(f"{path}: expected a store, got {state}; run the workflow again")
    data = xr.open_zarr(path, consolidated=True, chunks=None)
    version = data.attrs.get("format_version")
    if version != FORMAT_VERSION:
        raise StoreError(
            f"{path}: format_version: expected {FORMAT_VERSION}, got {version}; "
            "delete the store and run the workflow again"
        )
    if "submodule" not in data.variables:
        return data
    codes = data["submodule"]
    names = np.array(codes.attrs["flag_meanings"].split())
    return data.assign_coords(
        submodule=("neuron", names[codes.to_numpy()]),
        **{name: data[name] for name in ("layer", "unit", "step_invariant")},
    )


def read_states(data: xr.Dataset) -> list[np.ndarray]:
    """Final encoder states of every utterance of an encoder store: (n_positions, hidden) each."""
    ends = np.cumsum(data["n_positions"].to_numpy())
    return np.split(data["state"].to_numpy(), ends[:-1])
