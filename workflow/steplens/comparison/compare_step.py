"""Stage ``compare``: speech against text at one decoding step (D7), with bootstrap intervals."""

import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from steplens.comparison.measures import (
    EXACT_UP_TO,
    MONTE_CARLO_PERMUTATIONS,
    diagonal_concentration,
    diagonal_ratio,
    permutation_p,
    shared_neurons,
    spearman_matrix,
)
from steplens.files.atomic import write_csv
from steplens.ranking.resampled import resampled_average_precision
from steplens.ranking.scores.ap import use_threads
from steplens.ranking.selection import Scores
from steplens.ranking.separation import resampled_separation
from steplens.ranking.table import (
    AP_DECIMALS,
    Condition,
    Ranking,
    open_condition,
    open_ranking,
    require_ranked,
)
from steplens.settings import DEFAULT_SELECTION, Selection
from steplens.statistics.bootstrap import SentenceDraws, centred_interval

log = logging.getLogger(__name__)

_DRAWN_BYTES = 3 * 1000**3


def compare_step(
    ranking_speech: Path,
    ranking_text: Path,
    stores_speech: dict[str, Path],
    stores_text: dict[str, Path],
    step: int,
    k: int,
    ks: list[int],
    include_step_invariant: bool,
    n_resamples: int,
    seed: int,
    threads: int,
    tables: dict[str, Path],
    left_out: Path | None = None,
    drawn_bytes: int = _DRAWN_BYTES,
    tasks: tuple[str, str] | None = None,
    selection: Selection = DEFAULT_SELECTION,
) -> None:
    """Compare speech with text at one step: top-k sets, correlation of AP, and a sweep of k.

    Everything at once, since nearly all of the time goes into ranking the neurons again in every resample.

    Parameters
    ----------
    ranking_speech, ranking_text : paths
        Rankings of s2t and t2t at this step.
    stores_speech, stores_text : dict
        Language to store, for the bootstrap.
    step, k : int
    ks : list of int
        The sweep.
    include_step_invariant : bool
    n_resamples, seed, threads : int
    tables : dict
        Outputs, by name: ``overlap`` (figure 4), ``overlap_summary`` (its diagonal ratio with an interval,
        chance, and p of the permutation test), ``spearman`` (figure 5), ``spearman_summary`` (its
        diagonal concentration with an interval) and ``sensitivity`` (the ratio for every k, figure 6).
        The ratios come with ``decided_by_tie`` and ``tied``: the most that ties decided of one language's
        top k, in speech or in text, and among how many neurons.
    selection : Selection
    left_out : path, optional
        ``tables/speech_quality.csv``: what it leaves out takes no part.
    drawn_bytes : int, optional
        As in ``resampled_pairs``.
    tasks : (str, str), optional
        Of speech and of text: rankings and stores must say that they are of these, and of the step.

    Raises
    ------
    StoreError
        A ranking is not of these stores, or one of them is of something else.
    """
    use_threads(threads)
    (speech, text), conditions = open_ranked(
        (ranking_speech, ranking_text),
        (stores_speech, stores_text),
        step,
        include_step_invariant,
        left_out,
        tasks,
    )
    correlation = spearman_matrix(speech.ap, text.ap)
    concentration = _concentration(correlation)
    scores = speech.scores(selection), text.scores(selection)
    overlaps = {one: overlap_of(*scores, one) for one in [k, *ks]}
    drawn_ratios, drawn_concentrations = [], []
    for pair in resampled_pairs(*conditions, selection, n_resamples, seed, drawn_bytes):
        drawn_ratios.append({one: diagonal_ratio(overlap_of(*pair, one)) for one in overlaps})
        drawn_concentrations.append(_concentration(spearman_matrix(*(one.ap for one in pair))))
    if len(drawn_ratios) < n_resamples:
        log.warning("step %d: %d of %d resamples hold no valid utterance of some language and are left "
                    "out of the intervals", step, n_resamples - len(drawn_ratios), n_resamples)  # fmt: skip

    def ratio_row(one: int) -> dict[str, float]:
        ratio = diagonal_ratio(overlaps[one])
        low, high = centred_interval([drawn[one] for drawn in drawn_ratios], ratio, within=(0, 1))
        return {
            "diagonal_ratio": ratio,
            "ci_low": low,
            "ci_high": high,
            "chance": 1 / len(speech.languages),
            "p": permutation_p(overlaps[one], seed),
        } | most_tied(scores, one)

    n = len(speech.languages)
    exact = n <= EXACT_UP_TO
    n_permutations = math.factorial(n) if exact else MONTE_CARLO_PERMUTATIONS
    summary = {"step": step, "k": k, "n_languages": n} | ratio_row(k)
    summary |= {"n_permutations": n_permutations, "exact": exact, "n_draws": len(drawn_ratios)}
    low, high = centred_interval(drawn_concentrations, concentration)
    spearman_summary = {
        "step": step,
        "diagonal_concentration": concentration,
        "ci_low": low,
        "ci_high": high,
        "chance": 1 / n,
        "any_negative": bool((correlation < 0).any()),
    }
    write_csv(_long(overlaps[k], speech, step, "overlap", k=k), tables["overlap"])
    write_csv(pd.DataFrame([summary]), tables["overlap_summary"])
    write_csv(_long(correlation, speech, step, "rho"), tables["spearman"])
    write_csv(pd.DataFrame([spearman_summary]), tables["spearman_summary"])
    sweep = [{"step": step, "k": one} | ratio_row(one) for one in ks]
    write_csv(pd.DataFrame(sweep), tables["sensitivity"])
    log.info("step %d: diagonal ratio %.3f [%.3f, %.3f], p = %.4g", step, summary["diagonal_ratio"],
             summary["ci_low"], summary["ci_high"], summary["p"])  # fmt: skip


def overlap_of(speech: Scores, text: Scores, k: int) -> np.ndarray:
    """The overlap matrix of the top k (D7), chosen as the scores say: (n_languages, n_languages) int."""
    return shared_neurons(speech.top(k), text.top(k))


def most_tied(scores: Sequence[Scores], k: int) -> dict[str, int]:
    """The largest number of a language's top k that a tie decided, and among how many neurons."""
    counts = np.array(
        [one.count_ties(k) for one in scores]
    )  # (condition, decided or tied, language)
    decided, tied = counts.transpose(1, 0, 2).reshape(2, -1)
    worst = np.lexsort((tied, decided))[-1]
    return {"decided_by_tie": int(decided[worst]), "tied": int(tied[worst])}


def open_ranked(
    rankings: Sequence[Path],
    stores: Sequence[dict[str, Path]],
    step: int,
    include_step_invariant: bool,
    left_out: Path | None,
    tasks: tuple[str, str] | None,
) -> tuple[list[Ranking], list[Condition]]:
    """Rankings of speech and of text with the stores that they were made from, as in ``compare_step``."""
    opened, conditions = [], []
    for place, (path, of_language) in enumerate(zip(rankings, stores, strict=True)):
        of = {} if tasks is None else {"module": "decoder", "task": tasks[place], "step": step}
        ranking = open_ranking(path, **of)
        condition = open_condition(of_language, include_step_invariant, left_out, **of)
        require_ranked(ranking, condition, path)
        opened.append(ranking)
        conditions.append(condition)
    return opened, conditions


def _concentration(matrix: np.ndarray) -> float:
    """Diagonal concentration without its warning, which the column ``any_negative`` stands for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return diagonal_concentration(matrix)


def resampled_pairs(
    speech: Condition,
    text: Condition,
    selection: Selection,
    n_resamples: int,
    seed: int,
    drawn_bytes: int = _DRAWN_BYTES,
) -> Iterator[tuple[Scores, Scores]]:
    """AP of speech and of text for one resample of sentences after the other (D12).

    One draw of sentence ids serves all languages and both conditions; every neuron is ranked again. A
    draw without a valid utterance of some language is left out.

    Parameters
    ----------
    speech, text : Condition
    selection : Selection
        How top-k sets are chosen: what orders equal AP is computed from the draw, too.
    n_resamples, seed : int
    drawn_bytes : int, optional
        Memory for AP and what orders equals: so many resamples as fit into it are ranked at a time. Each
        such share of them reads the stores and sorts the neurons once.

    Yields
    ------
    two Scores, of (n_languages, n_neurons) float32 arrays
    """
    conditions = (speech, text)
    draws = SentenceDraws(
        np.concatenate([one.all_sentences for one in conditions]), n_resamples, seed
    )
    weights = [draws.of(one.sentences) for one in conditions]
    orders = [one.random_order(selection) for one in conditions]
    cells = [one.cells(selection) for one in conditions]
    values = 2 if selection.ties == "separation" else 1
    one_draw = sum(4 * values * len(one.languages) * len(one.columns) for one in conditions)
    at_a_time = max(1, drawn_bytes // one_draw)
    for start in range(0, n_resamples, at_a_time):
        share = slice(start, start + at_a_time)
        drawn = [
            _resampled(condition, weight[share], values == 2)
            for condition, weight in zip(conditions, weights, strict=True)
        ]
        for number in range(len(drawn[0][0])):
            pair = tuple(
                Scores(ap[number], order if apart is None else apart[number], cell)
                for (ap, apart), order, cell in zip(drawn, orders, cells, strict=True)
            )
            if all(np.isfinite(one.ap).all() for one in pair):
                yield pair


def _resampled(
    condition: Condition, weights: np.ndarray, separated: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """AP and, where asked for, separation in some resamples: (n, n_languages, n_neurons) float32 each."""
    shape = (len(weights), len(condition.languages), len(condition.columns))
    ap = np.empty(shape, dtype=np.float32)
    apart = np.empty(shape, dtype=np.float32) if separated else None
    for where, activations in condition.blocks():
        drawn = resampled_average_precision(activations, condition.labels, weights, shape[1])
        ap[:, :, where] = np.round(drawn, AP_DECIMALS)
        if separated:
            apart[:, :, where] = resampled_separation(
                activations, condition.labels, weights, shape[1]
            )
    return ap, apart


def _long(matrix: np.ndarray, ranking: Ranking, step: int, name: str, **columns) -> pd.DataFrame:
    """A matrix as rows (step, …, speech_language, text_language, value)."""
    rows = [
        {"step": step, **columns, "speech_language": one, "text_language": other, name: value}
        for one, values in zip(ranking.languages, matrix, strict=True)
        for other, value in zip(ranking.languages, values, strict=True)
    ]
    return pd.DataFrame(rows)
