"""The digest of a store's data (D9), and whether what is on disk still has it.

A digest a row, over its activations, hidden states and encoder states; and one over the utterances, the
small arrays beside them and all rows. It does not depend on chunks, files and codec.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from steplens.errors import StoreError
from steplens.store.groups import (
    ROW_CHUNK,
    damaged_files,
    group_path,
    open_array,
    read_root,
    reading,
)
from steplens.store.reading import open_store


def row_digest(
    activation: np.ndarray, hidden_state: np.ndarray, states: np.ndarray | None
) -> np.ndarray:
    """(32,) uint8 digest of one utterance's row."""
    digest = hashlib.sha256(np.ascontiguousarray(activation))
    digest.update(np.ascontiguousarray(hidden_state))
    if states is not None:
        digest.update(np.ascontiguousarray(states))
    return np.frombuffer(digest.digest(), dtype=np.uint8)


def whole_digest(
    utterances: np.ndarray, added: Mapping[str, np.ndarray], row_digests: np.ndarray
) -> str:
    """Digest of a whole store; ``added`` are the small arrays over utterances, by name, in order."""
    digest = hashlib.sha256(np.asarray(utterances, dtype=np.int64).tobytes())
    for name, values in added.items():
        digest.update(name.encode() + np.asarray(values).tobytes())
    digest.update(row_digests.tobytes())
    return digest.hexdigest()


def stored_row_digests(
    path: Path, start: int, stop: int, n_positions: np.ndarray | None
) -> np.ndarray | None:
    """(stop - start, 32) digests of rows on disk; None where they cannot be read.

    Parameters
    ----------
    path : path
        The folder of a store, committed or not.
    start, stop : int
        Rows.
    n_positions : (>= stop,) int array or None
        Encoder states of each row; None where the store has none.
    """
    try:
        activation, hidden = (
            open_array(path, name)[start:stop] for name in ("activation", "hidden_state")
        )
        states: list[np.ndarray | None] = [None] * (stop - start)
        if n_positions is not None:
            ends = np.cumsum(n_positions[:stop])
            first = int(ends[start] - n_positions[start])
            block = open_array(path, "state")[first : int(ends[-1])]
            if len(block) != ends[-1] - first:
                return None
            states = np.split(block, ends[start:-1] - first)
        return np.array(list(map(row_digest, activation, hidden, states)), dtype=np.uint8)
    except Exception:  # codecs raise what they like
        return None


def check_store(path: str | Path) -> None:
    """Read a whole store and compare it with its digest.

    Raises
    ------
    StoreError
        Naming the file that is lost or damaged; or that the data, though every file is sound, are not
        what was written.
    """
    path = group_path(path)
    if "digest_over" not in read_root(path)["attributes"]:
        raise StoreError(f"{path}: expected a store of activations, got another group")
    data = open_store(path)
    for file, wrong in damaged_files(path):
        raise StoreError(f"{path}: {file}: {wrong}; delete the folder and run the workflow again")
    with reading(path):
        n_rows = data.sizes["utterance"]
        n_positions = data["n_positions"].to_numpy() if "n_positions" in data else None
        digests = [
            stored_row_digests(path, start, min(start + ROW_CHUNK, n_rows), n_positions)
            for start in range(0, n_rows, ROW_CHUNK)
        ]
        added = {name: data[name].to_numpy() for name in data.attrs["digest_over"]}
        found = whole_digest(data["utterance"].to_numpy(), added, np.concatenate(digests))
    if found != data.attrs["digest"]:
        raise StoreError(
            f"{path}: expected data with digest {data.attrs['digest']}, got {found}: files of another "
            "store lie in it; delete the folder and run the workflow again"
        )
