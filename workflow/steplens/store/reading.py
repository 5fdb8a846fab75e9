"""Activation stores (D9): one Zarr v3 group a condition, opened by xarray.

Layout of ``<name>.zarr``::

    zarr.json                         written last, atomically: the commit mark
    activation    (utterance, neuron)
    hidden_state  (utterance, place, hidden)
    valid         (utterance)         decoder stores
    n_positions   (utterance)         encoder stores: valid positions of the encoder's final states
    state         (position, hidden)  encoder stores: those states, utterances end to end
    utterance, place, layer, submodule, unit, step_invariant       coordinates

A place is where the residual stream is read: ``embedding`` (before layer 0), ``0``, ``1``, … (after that
layer) and ``adapter`` (after that of speech). ``layer`` is that of a neuron. What every variable is,
and its units, are among its attributes (``groups.VARIABLES``).

A folder without ``zarr.json`` is an interrupted dump. The root attributes carry the digest of the
data and the provenance. ``writer.py`` writes stores, ``check.py`` checks them whole.
"""

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from steplens.errors import StoreError
from steplens.store.groups import COMMIT_MARK, group_path, open_group, read_root, reading

__all__ = ["COMMIT_MARK", "StoreError", "open_store", "read_states"]

_ARRAYS = (
    "activation",
    "hidden_state",
    "utterance",
    "place",
    "layer",
    "submodule",
    "unit",
    "step_invariant",
)


def open_store(path: str | Path, **expected: Any) -> xr.Dataset:
    """Open a store lazily.

    Parameters
    ----------
    path : path
        ``<name>.zarr`` or its ``zarr.json``.
    **expected
        What the store must say of itself, for example ``language="deu", task="s2t", step=6``.

    Returns
    -------
    xarray.Dataset
        ``activation`` (utterance, neuron) and ``hidden_state`` (utterance, place, hidden), with the
        coordinates ``utterance``, ``place`` and ``submodule`` (names), ``layer``, ``unit`` and
        ``step_invariant``; the provenance is in ``attrs``. ``hidden_state.sel(place="0")`` is the
        output of layer 0.

    Raises
    ------
    StoreError
        No store there, an interrupted dump, a store of another version, one that is damaged (here, or
        when the damaged part is read) or lacks an array, or one of something else than expected.

    Notes
    -----
    What is read from it later raises what Zarr raises where a chunk is damaged; inside of
    ``with reading(path):`` (``steplens.store.groups``) it is a StoreError that names the file.
    """
    root = read_root(path)
    there = root["consolidated_metadata"]["metadata"]
    lost = [name for name in _ARRAYS if name not in there]
    if lost and "digest_over" in root["attributes"]:  # a ranking is a group too, of other arrays
        raise StoreError(
            f"{group_path(path)}: expected the arrays {', '.join(_ARRAYS)}, got none of "
            f"{', '.join(lost)}; delete the folder and run the workflow again"
        )
    data = open_group(path)
    for key, value in expected.items():
        if data.attrs.get(key) != value:
            raise StoreError(
                f"{group_path(path)}: {key}: expected {value!r}, got {data.attrs.get(key)!r}: a store of "
                "something else lies there; delete the folder and run the workflow again"
            )
    data.encoding["source"] = str(group_path(path))
    return data


def read_states(data: xr.Dataset) -> list[np.ndarray]:
    """Final encoder states of every utterance of an encoder store: (n_positions, hidden) each.

    Raises
    ------
    StoreError
        They are damaged.
    """
    with reading(data.encoding["source"]):
        ends = np.cumsum(data["n_positions"].to_numpy())
        return np.split(data["state"].to_numpy(), ends[:-1])
