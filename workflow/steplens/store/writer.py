"""Writes one activation store, window by window, and goes on where an interrupted dump was."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr

from steplens.errors import StoreError
from steplens.files.disk_space import require_space
from steplens.store.check import row_digest, stored_row_digests, whole_digest
from steplens.store.groups import (
    COMMIT_MARK,
    NEURON_CHUNK,
    ROW_CHUNK,
    add_array,
    add_neurons,
    add_places,
    commit,
    create_array,
    fresh_folder,
    group_path,
    open_array,
)
from steplens.store.journal import dump_key, read_journal, write_journal

log = logging.getLogger(__name__)

SHARD_CHUNKS = 10  # chunks side by side in one file: few files, none too large to hold twice
STATE_CHUNK = 16_384  # positions


class StoreWriter:
    """Writes one store in windows of ``ROW_CHUNK`` utterances; commits on leaving the ``with`` block.

    Rows may come in any order within a window (long and short utterances are batched apart); a
    window is written when all of its rows have come. Only one window is ever in memory.

    Parameters
    ----------
    path : path
        ``<name>.zarr`` or its ``zarr.json``. What lies there is removed first, unless ``depends_on``
        says that it may be kept.
    utterances : sequence of int
        Sentence ids, one a row.
    neurons : DataFrame
        As ``steplens.models.neurons.neuron_table`` gives it; one column of ``activation`` a row.
    places : sequence of str
        Places of ``hidden_state``, as ``steplens.models.neurons.places`` gives them.
    hidden_size : int
    dtype : {"float16", "float32"}
        Of ``activation`` and ``hidden_state``.
    attributes : dict
        Provenance, kept as JSON among the root attributes.
    depends_on : mapping, optional
        All that the content depends on beside ``attributes`` and ``utterances``: code, model, inputs,
        batches. Windows that an interrupted dump under the same left behind, or a finished one whose
        commit mark was removed, are kept if they still hold what they held. Without it the dump begins
        anew.

    Attributes
    ----------
    n_kept : int
        Rows that are there already, from the first on: ``write`` goes on behind them.

    Raises
    ------
    DiskSpaceError
        What is to be written does not fit on the disk.
    """

    def __init__(
        self,
        path: str | Path,
        utterances: Sequence[int],
        neurons: pd.DataFrame,
        places: Sequence[str],
        hidden_size: int,
        dtype: str,
        attributes: dict[str, Any],
        depends_on: Mapping[str, Any] | None = None,
    ):
        if dtype not in ("float16", "float32"):
            raise ValueError(f"store dtype: expected float16 or float32, got {dtype!r}")
        self.path = group_path(path)
        self.n_rows = len(utterances)
        self._attributes = attributes
        self._utterances = np.asarray(utterances, dtype=np.int64)
        self._shapes = {
            "activation": (len(neurons),),
            "hidden_state": (len(places), hidden_size),
        }
        self._dtype = dtype
        self._key = None
        if depends_on is not None:
            content = {
                "utterances": self._utterances.tolist(),
                "shapes": self._shapes,
                "places": list(places),
                "dtype": dtype,
            }
            self._key = dump_key(content | {"attributes": attributes, "depends_on": depends_on})
        self._row_digests = np.zeros((self.n_rows, 32), dtype=np.uint8)
        self._n_positions = np.zeros(self.n_rows, dtype=np.int32)
        self._added: dict[str, np.ndarray] = {}
        self._states: dict[int, np.ndarray] = {}  # of the open window, by row
        self._state_array: zarr.Array | None = None
        self.n_kept = self._keep()
        width = sum(int(np.prod(shape)) for shape in self._shapes.values())
        n_bytes = (self.n_rows - self.n_kept) * width * np.dtype(dtype).itemsize
        require_space(self.path.parent, n_bytes, f"the store {self.path}")
        if not self.n_kept:
            self._begin()
        # Of a kept dump too: its folder may have been half removed when the run before was killed.
        add_array(self.path, "utterance", self._utterances, ["utterance"])
        add_neurons(self.path, neurons)
        add_places(self.path, places)
        self._arrays = {name: open_array(self.path, name) for name in self._shapes}
        self._window = {
            name: np.zeros((min(ROW_CHUNK, self.n_rows), *shape), dtype=dtype)
            for name, shape in self._shapes.items()
        }
        self._filled = np.arange(self.n_rows) < self.n_kept
        self._flushed = self.n_kept

    def _begin(self) -> None:
        """An empty store: its arrays."""
        fresh_folder(self.path)
        dims = {"activation": ["neuron"], "hidden_state": ["place", "hidden"]}
        for name, shape in self._shapes.items():
            create_array(
                self.path,
                name,
                (self.n_rows, *shape),
                (min(ROW_CHUNK, self.n_rows), *(min(NEURON_CHUNK, n) for n in shape)),
                self._dtype,
                ["utterance", *dims[name]],
                chunks_per_file=SHARD_CHUNKS if name == "activation" else 1,
            )

    def _keep(self) -> int:
        """How many rows of an interrupted dump are kept: whole windows that hold what they held."""
        if self._key is None or (self.path / COMMIT_MARK).exists():
            return 0
        digests, n_positions = read_journal(self.path, self._key)
        kept = 0
        for start in range(0, len(digests), ROW_CHUNK):
            stop = min(start + ROW_CHUNK, len(digests))
            found = stored_row_digests(self.path, start, stop, n_positions)
            if found is None or not np.array_equal(found, digests[start:stop]):
                log.warning(
                    "%s: rows from %d on are not what was written: made again", self.path, start
                )
                break
            kept = stop
        if kept:
            self._row_digests[:kept] = digests[:kept]
            if n_positions is not None:
                self._n_positions[:kept] = n_positions[:kept]
                self._state_array = open_array(self.path, "state")
                # What a window that is not kept had appended goes.
                n_states = int(n_positions[:kept].sum())
                self._state_array.resize((n_states, self._state_array.shape[1]))
            log.info("%s: %d of %d utterances are there already", self.path, kept, self.n_rows)
        return kept

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
        hidden_state : (batch, places, hidden) array
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
            self._row_digests[start + row] = row_digest(
                self._window["activation"][row],
                self._window["hidden_state"][row],
                self._states.get(start + row),
            )
        if self._states:
            self._append_states()
        self._flushed = stop
        if self._key is not None:
            n_positions = self._n_positions[:stop] if self._state_array is not None else None
            write_journal(self.path, self._key, self._row_digests[:stop], n_positions)

    def _append_states(self) -> None:
        """Append the window's encoder states to those of the windows before."""
        states = np.concatenate([self._states[row] for row in sorted(self._states)])
        self._states.clear()
        if self._state_array is None:
            # Where there is one window, and less than a chunk, none is filled up with zeros.
            n_rows = STATE_CHUNK if self.n_rows > ROW_CHUNK else min(STATE_CHUNK, len(states))
            shape, chunks = (0, states.shape[1]), (n_rows, states.shape[1])
            self._state_array = create_array(
                self.path, "state", shape, chunks, states.dtype, ["position", "hidden"]
            )
        start = self._state_array.shape[0]
        self._state_array.resize((start + len(states), states.shape[1]))
        # Chunk by chunk: zarr holds twice what it writes at a time.
        chunk = self._state_array.chunks[0]
        for first in range(start - start % chunk, start + len(states), chunk):
            part = slice(max(first, start), min(first + chunk, start + len(states)))
            self._state_array[part] = states[part.start - start : part.stop - start]

    def add(self, name: str, values: np.ndarray) -> None:
        """Add a small array over utterances, for example ``valid``."""
        self._added[name] = np.asarray(values)
        add_array(self.path, name, self._added[name], ["utterance"])

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(self, kind, _value, _trace) -> None:
        if kind is not None:
            return  # no commit mark: the dump counts as interrupted
        if self._flushed != self.n_rows:
            raise StoreError(
                f"{self.path}: expected {self.n_rows} utterances, got {int(self._filled.sum())}"
            )
        if self._state_array is not None:
            add_array(self.path, "n_positions", self._n_positions, ["utterance"])
        digest = whole_digest(self._utterances, self._added, self._row_digests)
        content = {"digest": digest, "digest_over": list(self._added)}
        commit(self.path, content | self._attributes)
