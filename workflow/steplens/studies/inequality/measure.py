"""Activation inequality: how much of an utterance's activation few neurons carry.

Stage ``measure``: one store in, one table out, so that another language or step measures only its own
stores. After "Revisiting Modality Invariance in a Multilingual Speech-Text Model via Neuron-Level Analysis"
(arXiv 2601.17387, first version), which finds speech-conditioned decoding and non-dominant scripts more
concentrated. What is measured, and how exactly: docs/methods/inequality.md.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from steplens.errors import NotFiniteError, StoreError
from steplens.files.atomic import write_parquet
from steplens.store.groups import ROW_CHUNK, reading
from steplens.store.reading import open_store
from steplens.studies.inequality.gini import POINTS, gini, lorenz, sort_magnitudes
from steplens.studies.inequality.groups import STEP_DEPENDENT
from steplens.tasks import ALL

log = logging.getLogger(__name__)

_KEPT = ("module", "modality", "task", "step", "language", "model", "revision", "config_digest",
         "compute_dtype")  # fmt: skip
_ROWS_AT_A_TIME = 8  # whose working copies are in memory


def measure(
    store: Path, output: Path, include_step_invariant: bool, condition: dict[str, Any]
) -> None:
    """Write the inequality of every utterance of one store.

    Parameters
    ----------
    store : path
    output : path
        Parquet, a row an utterance: ``utterance``; ``valid``; ``gini``, a list of coefficients: of every
        cell, of every layer, of the module without its step-invariant cells (layer ``step-dependent``;
        where it has any), and of the module; ``lorenz``, the module's Lorenz curve at ``POINTS`` points.
        NaN where an utterance is not valid, or where all magnitudes are 0. Its ``attrs`` say which store
        it was, and name the coefficients: ``of``, a list of (layer, submodule), each of which may be
        ``all``.
    include_step_invariant : bool
        Whether cross-attention keys and values take part (D4).
    condition : dict
        What the store must say of itself, for example module, task, language and step.

    Raises
    ------
    StoreError
        The store is damaged or of something else, or holds NaN or infinity in a valid utterance.
    """
    data = open_store(store, **condition)
    cells = cells_of(data, include_step_invariant)
    utterances = data["utterance"].to_numpy()
    with reading(store):
        everyone = np.ones(len(utterances), dtype=bool)
        valid = data["valid"].to_numpy() if "valid" in data else everyone
    of = [
        *([str(layer), name] for layer, name in cells[["layer", "submodule"]].to_numpy()),
        *([str(layer), ALL] for layer in cells["layer"].unique()),
        *([[STEP_DEPENDENT, ALL]] if cells["step_invariant"].any() else []),
        [ALL, ALL],
    ]
    coefficients = np.full((len(utterances), len(of)), np.nan)
    curves = np.full((len(utterances), POINTS), np.nan)
    for rows, activations in _blocks(data, valid):
        try:
            coefficients[rows], curves[rows] = inequality(activations, cells)
        except NotFiniteError as error:
            raise StoreError(
                f"{store}: utterance {utterances[rows[error.row]]}, layer {error.layer}, "
                f"{error.submodule}: expected finite activations, got NaN or infinity: the model "
                "overflowed there, or a chunk is damaged; run it at a wider model.dtype or store.dtype, "
                "or leave the utterance out"
            ) from error
    # Lists, since a table of hundreds of columns takes pandas longer than the sorting.
    table = pd.DataFrame(
        {
            "utterance": utterances,
            "valid": valid,
            "gini": list(coefficients),
            "lorenz": list(curves),
        }
    )
    told = {key: data.attrs[key] for key in _KEPT if key in data.attrs}
    n_neurons = int((cells["stop"] - cells["start"]).sum())
    table.attrs = told | {
        "inputs": {"store": data.attrs["digest"]},
        "of": of,
        "n_neurons": n_neurons,
        "include_step_invariant": include_step_invariant,
    }
    write_parquet(table, output)
    log.info("measured %d of %d utterances, %d neurons in %d cells; %d coefficients have no value",
             valid.sum(), len(valid), n_neurons, len(cells), np.isnan(coefficients[valid]).sum())  # fmt: skip


def cells_of(data: xr.Dataset, include_step_invariant: bool) -> pd.DataFrame:
    """Where the cells of a store lie: a row a submodule of a layer, in column order.

    Parameters
    ----------
    data : Dataset
        With ``layer``, ``submodule`` and ``step_invariant`` by neuron.
    include_step_invariant : bool
        Whether those that do not change with the step are among them.

    Returns
    -------
    DataFrame of layer, submodule, start, stop, step_invariant

    Raises
    ------
    StoreError
        The neurons of a cell do not follow each other, as in no store of ``StoreWriter``.
    """
    layer, submodule = data["layer"].to_numpy(), data["submodule"].to_numpy()
    changes = (layer[1:] != layer[:-1]) | (submodule[1:] != submodule[:-1])
    start = np.concatenate([[0], np.flatnonzero(changes) + 1])
    cells = pd.DataFrame(
        {
            "layer": layer[start],
            "submodule": submodule[start],
            "start": start,
            "stop": [*start[1:], len(layer)],
            "step_invariant": data["step_invariant"].to_numpy()[start],
        }
    )
    repeated = cells.duplicated(["layer", "submodule"])
    if repeated.any():
        first = cells[repeated].iloc[0]
        raise StoreError(
            f"{data.encoding.get('source')}: layer {first['layer']}, {first['submodule']}: expected its "
            "neurons side by side, got others between them; delete the folder and run the workflow again"
        )
    return cells[include_step_invariant | ~cells["step_invariant"]].reset_index(drop=True)


def _blocks(data: xr.Dataset, valid: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Row numbers and activations of the valid utterances, a few at a time, read a chunk at a time."""
    for first in range(0, len(valid), ROW_CHUNK):
        rows = first + np.flatnonzero(valid[first : first + ROW_CHUNK])
        if not len(rows):
            continue
        with reading(data.encoding["source"]):
            window = data["activation"][first : first + ROW_CHUNK].to_numpy()
        for start in range(0, len(rows), _ROWS_AT_A_TIME):
            some = rows[start : start + _ROWS_AT_A_TIME]
            yield some, window[some - first]


def inequality(activations: np.ndarray, cells: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Gini coefficients of cells, layers and the module, and the module's Lorenz curve.

    Parameters
    ----------
    activations : (n_rows, n_neurons) float16 or float32 array
    cells : DataFrame
        As ``cells_of`` gives it.

    Returns
    -------
    coefficients : (n_rows, n_coefficients) float64 array
        Of every cell, of every layer, without step-invariant cells (where there are any), of the module.
    curves : (n_rows, POINTS) float64 array

    Raises
    ------
    NotFiniteError
        Where the first NaN or infinity is.
    """
    of_cells = []
    for layer, submodule, start, stop, _ in cells.itertuples(index=False):
        ordered = sort_magnitudes(activations[:, start:stop])
        unbounded = ~np.isfinite(ordered[:, -1])  # both come last
        if unbounded.any():
            raise NotFiniteError(int(np.argmax(unbounded)), layer, submodule)
        of_cells.append(gini(ordered))
    parts = [part for _, part in cells.groupby("layer", sort=False)]
    if cells["step_invariant"].any():
        parts.append(cells[~cells["step_invariant"]])
    of_parts = [gini(sort_magnitudes(_columns(activations, part))) for part in parts]
    module = sort_magnitudes(_columns(activations, cells))
    return np.column_stack([*of_cells, *of_parts, gini(module)]), lorenz(module)


def _columns(activations: np.ndarray, cells: pd.DataFrame) -> np.ndarray:
    """The neurons of several cells side by side."""
    spans = zip(cells["start"], cells["stop"], strict=True)
    return np.concatenate([activations[:, start:stop] for start, stop in spans], axis=1)
