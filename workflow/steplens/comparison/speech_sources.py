"""Stage ``compare_speech``: do synthetic and natural speech show the same neurons?

The same sentences, spoken twice: by the run's engine and by another (``speech.other_engine``). At each
step both are set against each other and, each by itself, against text: how much the top-k sets of a
language share, how far that sharing is the language's own (diagonal ratio, D7), and how AP over all
neurons correlates. In the speech encoder, which text does not enter, only against each other.
"""

import itertools
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from steplens.comparison.compare_step import most_tied, overlap_of, resampled_pairs
from steplens.comparison.measures import diagonal_ratio, permutation_p, spearman_matrix
from steplens.files.atomic import write_csv
from steplens.ranking.scores.ap import average_precision, use_threads
from steplens.ranking.selection import Scores
from steplens.ranking.separation import separation
from steplens.ranking.table import (
    AP_DECIMALS,
    Condition,
    open_condition,
    open_ranking,
    require_ranked,
)
from steplens.settings import DEFAULT_SELECTION, Selection
from steplens.statistics.bootstrap import centred_interval

log = logging.getLogger(__name__)


def compare_sources(
    rankings: dict[str, Path],
    stores: dict[str, dict[str, Path]],
    left_out: dict[str, Path],
    module: str,
    task: str,
    step: int,
    k: int,
    include_step_invariant: bool,
    n_resamples: int,
    seed: int,
    threads: int,
    summary_csv: Path,
    overlap_csv: Path,
    selection: Selection = DEFAULT_SELECTION,
) -> None:
    """Compare every two sources in one condition.

    Parameters
    ----------
    rankings : dict
        Source (an engine, or ``"text"``) to its ranking.
    stores : dict
        Source to the stores of its languages, for the bootstrap.
    left_out : dict
        Source to ``speech_quality.csv``; an utterance that one source leaves out counts for none,
        so that all are ranked by the same sentences.
    module, task : str
        For the table; ``task`` is that of the speech sources, empty for the encoder.
    step : int
        0 for the encoder.
    k : int
    include_step_invariant : bool
    n_resamples, seed, threads : int
    summary_csv : path
        A row per pair of sources: ``shared``, the share of a language's top k that both sources have, mean
        over languages; ``diagonal_ratio``; ``rho``, Spearman's, mean over languages; each with a 95 %
        interval; ``p`` of the exact permutation test of the trace; ``decided_by_tie`` and ``tied`` as in
        ``compare_step``.
    overlap_csv : path
        The overlap matrices, a row per pair of sources and of languages.
    selection : Selection
    """
    use_threads(threads)
    everything_left_out = list(dict.fromkeys(left_out.values()))
    conditions = {
        source: open_condition(stores[source], include_step_invariant, everything_left_out)
        for source in rankings
    }
    scores = {
        source: _scores(path, conditions[source], selection) for source, path in rankings.items()
    }
    summary, overlap = [], []
    for one, other in itertools.combinations(rankings, 2):
        languages = conditions[one].languages
        pair = scores[one], scores[other]
        matrix = overlap_of(*pair, k)
        measured = _measures(*pair, k)
        draws = [
            list(_measures(*drawn, k).values())
            for drawn in resampled_pairs(
                conditions[one], conditions[other], selection, n_resamples, seed
            )
        ]
        draws = np.reshape(draws, (-1, len(measured)))  # there may be none
        row = {"module": module, "task": task, "step": step, "one": one, "other": other, "k": k}
        for (name, value), drawn in zip(measured.items(), draws.T, strict=True):
            within = (-1, 1) if name == "rho" else (0, 1)
            low, high = centred_interval(drawn, value, within=within)
            row |= {name: value, f"{name}_low": low, f"{name}_high": high}
        row |= {"chance": 1 / len(languages), "p": permutation_p(matrix, seed)}
        summary.append(row | most_tied(pair, k))
        overlap += [
            {"module": module, "task": task, "step": step, "one": one, "other": other, "k": k,
             "one_language": first, "other_language": second, "overlap": value}
            for first, values in zip(languages, matrix, strict=True)
            for second, value in zip(languages, values, strict=True)
        ]  # fmt: skip
        log.info("%s %s step %d: %s and %s share %.1f %% of the top %d", module, task, step, one, other,
                 100 * measured["shared"], k)  # fmt: skip
    write_csv(pd.DataFrame(summary), summary_csv)
    write_csv(pd.DataFrame(overlap), overlap_csv)


def _scores(path: Path, condition: Condition, selection: Selection) -> Scores:
    """Scores of a condition: of its ranking, if that left out no less."""
    ranking = open_ranking(path)
    require_ranked(ranking, condition, path)
    if ranking.n_valid.tolist() != [mask.sum() for mask in condition.valid]:
        n_languages = len(condition.languages)
        ap, apart = np.empty((2, n_languages, len(condition.columns)))
        for where, activations in condition.blocks():
            ap[:, where] = average_precision(activations, condition.labels, n_languages)
            apart[:, where] = separation(activations, condition.labels, n_languages)
        ranking = replace(ranking, ap=np.round(ap, AP_DECIMALS), separation=apart)
    return ranking.scores(selection)


def _measures(one: Scores, other: Scores, k: int) -> dict[str, float]:
    """What two sources share."""
    matrix = overlap_of(one, other, k)
    return {
        "shared": float(np.trace(matrix)) / (k * len(matrix)),
        "diagonal_ratio": diagonal_ratio(matrix),
        "rho": float(np.trace(spearman_matrix(one.ap, other.ap))) / len(matrix),
    }
