"""Medians of an encoder's neurons over the utterances of all languages: what they are fixed at."""

import logging
from pathlib import Path

import numpy as np

from steplens.ranking.scores.ap import rank, use_threads
from steplens.ranking.table import Ranking, model_of, neurons_of, open_condition, write_ranking
from steplens.tasks import ALL

log = logging.getLogger(__name__)


def encoder_medians(
    stores: dict[str, Path], module: str, output: Path, threads: int, left_out: Path | None = None
) -> None:
    """Write ``causal/medians/<module>.zarr``: each neuron's median over the utterances of all languages.

    A ranking with one row, ``all``, whose AP are 1: there is nothing that it is told from.

    Parameters
    ----------
    stores : dict
        Language to encoder store.
    module : {"speech_encoder", "text_encoder"}
    output : path
        The ranking's ``zarr.json``.
    threads : int
    left_out : path, optional
        As in ``open_condition``.
    """
    use_threads(threads)
    opened = open_condition(stores, True, left_out, module=module)
    n_examples = sum(int(mask.sum()) for mask in opened.valid)
    shape = (1, len(opened.columns))
    ap, median = np.empty(shape), np.empty(shape, dtype=np.float32)
    together = np.zeros(n_examples, dtype=np.int64)
    for where, activations in opened.blocks():
        ap[:, where], median[:, where] = rank(activations, together, 1)
    neurons = neurons_of(opened.data[0]).iloc[opened.columns]
    sources = {lang: one.attrs["digest"] for lang, one in zip(stores, opened.data, strict=True)}
    counts = np.array([n_examples])
    pooled = Ranking([ALL], ap, median, counts, neurons, sources, model_of(opened.data[0]))
    write_ranking(output, pooled, {"module": module, "label": ALL})
    log.info("%s: medians of %d neurons over %d utterances", module, shape[1], n_examples)
