"""Stage ``rank``: AP, separation and medians of every neuron, from the stores of one condition."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from steplens.ranking.scores.ap import rank, use_threads
from steplens.ranking.separation import separation
from steplens.ranking.table import (
    AP_DECIMALS,
    Ranking,
    model_of,
    neurons_of,
    open_condition,
    write_ranking,
)

log = logging.getLogger(__name__)


def rank_condition(
    stores: dict[str, Path],
    output: Path,
    include_step_invariant: bool,
    threads: int,
    left_out: Path | None = None,
    condition: Mapping[str, Any] | None = None,
) -> None:
    """Write one ranking.

    Parameters
    ----------
    stores : dict
        Language to store, in the order of the ranking's rows.
    output : path
        The ranking's ``zarr.json``.
    include_step_invariant : bool
    threads : int
    left_out : path, optional
        As in ``open_condition``.
    condition : mapping, optional
        What every store must say of itself: module, task, step. The ranking keeps it.
    """
    use_threads(threads)
    told = dict(condition or {})
    opened = open_condition(stores, include_step_invariant, left_out, **told)
    shape = (len(stores), len(opened.columns))
    ap, apart, median = np.empty(shape), np.empty(shape), np.empty(shape, dtype=np.float32)
    labels = opened.labels
    for where, activations in opened.blocks():
        ap[:, where], median[:, where] = rank(activations, labels, len(stores))
        apart[:, where] = separation(activations, labels, len(stores))
    # Equal AP must be equal to the last bit, to share a rank and to count as tied (D6). Sums of the same
    # terms in another order are not; what is rounded away is far below 1 / n_examples².
    ap = np.round(ap, AP_DECIMALS)
    n_valid = np.array([mask.sum() for mask in opened.valid])
    neurons = neurons_of(opened.data[0]).iloc[opened.columns]
    sources = {lang: one.attrs["digest"] for lang, one in zip(stores, opened.data, strict=True)}
    model = model_of(opened.data[0])
    ranking = Ranking(list(stores), ap, median, n_valid, neurons, sources, model, apart)
    write_ranking(output, ranking, told)
    for language, perfect in zip(stores, (ap == 1).sum(1), strict=True):
        log.info("%s: %d neurons with AP = 1", language, perfect)
    log.info(
        "ranked %d neurons for %d languages over %d utterances", shape[1], shape[0], len(labels)
    )
