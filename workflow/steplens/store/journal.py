"""Which windows of a dump are whole, so that a job that runs again keeps them.

``dump.json`` lies in the folder of a store. It names what determines the store's content (code,
configuration and inputs, as one key) and holds the digest of every row that is on disk, as a record with
its own digest (``files/records.py``). It is replaced
after each window, atomically; of a dump with another key, or in another format, nothing is kept. It stays
when the store is committed: Snakemake removes the commit mark of what it runs again, for example because an
input was made anew with the same content, and then nothing has to be computed.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from steplens.files.records import read_record, write_record
from steplens.store.groups import FORMAT_VERSION

NAME = "dump.json"


def dump_key(depends_on: Mapping[str, Any]) -> str:
    """Digest of the version of the format and all that a dump depends on; of what JSON can hold."""
    content = {"format_version": FORMAT_VERSION, "depends_on": depends_on}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_journal(
    folder: Path, key: str, row_digests: np.ndarray, n_positions: np.ndarray | None
) -> None:
    """Note that these rows, the first of the store, are on disk.

    Parameters
    ----------
    folder : path
    key : str
        As ``dump_key`` gives it.
    row_digests : (n, 32) uint8 array
    n_positions : (n,) int array or None
        Encoder states of each row; None where the store has none.
    """
    content = {
        "key": key,
        "row_digests": [digest.tobytes().hex() for digest in row_digests],
        "n_positions": None if n_positions is None else n_positions.tolist(),
    }
    write_record(content, folder / NAME)


def read_journal(folder: Path, key: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Digests and positions of the rows that a dump under this key left on disk; none where it left none.

    Returns
    -------
    row_digests : (n, 32) uint8 array
    n_positions : (n,) int32 array or None
    """
    content = read_record(folder / NAME)
    if content is None or content["key"] != key:
        return np.zeros((0, 32), dtype=np.uint8), None
    digests = [np.frombuffer(bytes.fromhex(one), np.uint8) for one in content["row_digests"]]
    n_positions = content["n_positions"]
    positions = None if n_positions is None else np.array(n_positions, dtype=np.int32)
    return np.reshape(digests, (-1, 32)).astype(np.uint8), positions
