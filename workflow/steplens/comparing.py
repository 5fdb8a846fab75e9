"""Stage ``compare``: speech against text at one decoding step (D7), with bootstrap intervals."""

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from .atomic import write_csv
from .comparison import (
    EXACT_UP_TO,
    MONTE_CARLO_PERMUTATIONS,
    diagonal_concentration,
    diagonal_ratio,
    overlap_matrix,
    permutation_p,
    spearman_matrix,
)
from .ranking import use_threads
from .rankings import Condition, Ranking, open_condition, open_ranking
from .resampling import centred_interval, draw_counts, resampled_average_precision

log = logging.getLogger(__name__)


def compare_overlap(
    ranking_speech: Path,
    ranking_text: Path,
    stores_speech: dict[str, Path],
    stores_text: dict[str, Path],
    step: int,
    k: int,
    include_step_invariant: bool,
    n_resamples: int,
    seed: int,
    threads: int,
    overlap_csv: Path,
    summary_csv: Path,
    left_out: Path | None = None,
) -> None:
    """Overlap of the top-k sets at one step, its diagonal ratio, p and bootstrap interval (figure 4).

    Parameters
    ----------
    ranking_speech, ranking_text : paths
        Rankings of s2t and t2t at this step.
    stores_speech, stores_text : dict
        Language to store, for the bootstrap.
    step, k : int
    include_step_invariant : bool
    n_resamples, seed, threads : int
    overlap_csv, summary_csv : paths
        Outputs.
    left_out : path, optional
        ``tables/speech_quality.csv``: what it leaves out takes no part.
    """
    use_threads(threads)
    speech, text = open_ranking(ranking_speech), open_ranking(ranking_text)
    matrix = overlap_matrix(speech.ap, text.ap, k)
    write_csv(_long(matrix, speech, step, "overlap", k=k), overlap_csv)
    conditions = _conditions(stores_speech, stores_text, include_step_invariant, left_out)
    draws = [
        diagonal_ratio(overlap_matrix(*pair, k))
        for pair in resampled_pairs(*conditions, n_resamples, seed)
    ]
    ratio = diagonal_ratio(matrix)
    low, high = centred_interval(draws, ratio)
    n = len(speech.languages)
    exact = n <= EXACT_UP_TO
    row = {
        "step": step,
        "k": k,
        "n_languages": n,
        "diagonal_ratio": ratio,
        "ci_low": low,
        "ci_high": high,
        "chance": 1 / n,
        "p": permutation_p(matrix, seed),
        "n_permutations": int(np.prod(np.arange(1, n + 1))) if exact else MONTE_CARLO_PERMUTATIONS,
        "exact": exact,
    }
    write_csv(pd.DataFrame([row]), summary_csv)
    log.info("step %d: diagonal ratio %.3f [%.3f, %.3f], p = %.4g", step, row["diagonal_ratio"],
             low, high, row["p"])  # fmt: skip


def compare_spearman(
    ranking_speech: Path,
    ranking_text: Path,
    stores_speech: dict[str, Path],
    stores_text: dict[str, Path],
    step: int,
    include_step_invariant: bool,
    n_resamples: int,
    seed: int,
    threads: int,
    spearman_csv: Path,
    summary_csv: Path,
    left_out: Path | None = None,
) -> None:
    """Spearman correlation of AP over all neurons at one step, and its diagonal (figure 5).

    Parameters are those of ``compare_overlap``.
    """
    use_threads(threads)
    speech, text = open_ranking(ranking_speech), open_ranking(ranking_text)
    matrix = spearman_matrix(speech.ap, text.ap)
    write_csv(_long(matrix, speech, step, "rho"), spearman_csv)
    conditions = _conditions(stores_speech, stores_text, include_step_invariant, left_out)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said by the column any_negative
        concentration = diagonal_concentration(matrix)
        draws = [
            diagonal_concentration(spearman_matrix(*pair))
            for pair in resampled_pairs(*conditions, n_resamples, seed)
        ]
    low, high = centred_interval(draws, concentration)
    row = {
        "step": step,
        "diagonal_concentration": concentration,
        "ci_low": low,
        "ci_high": high,
        "chance": 1 / len(speech.languages),
        "any_negative": bool((matrix < 0).any()),
    }
    write_csv(pd.DataFrame([row]), summary_csv)


def compare_sensitivity(
    ranking_speech: Path,
    ranking_text: Path,
    stores_speech: dict[str, Path],
    stores_text: dict[str, Path],
    step: int,
    ks: list[int],
    include_step_invariant: bool,
    n_resamples: int,
    seed: int,
    threads: int,
    output: Path,
    left_out: Path | None = None,
) -> None:
    """Diagonal ratio, its interval and p over a sweep of k at one step (figure 6).

    Parameters are those of ``compare_overlap``, with a list of k.
    """
    use_threads(threads)
    speech, text = open_ranking(ranking_speech), open_ranking(ranking_text)
    conditions = _conditions(stores_speech, stores_text, include_step_invariant, left_out)
    draws = [
        [diagonal_ratio(overlap_matrix(*pair, k)) for k in ks]
        for pair in resampled_pairs(*conditions, n_resamples, seed)
    ]  # (n_resamples, n_ks)
    rows = []
    for k, drawn in zip(ks, np.transpose(draws), strict=True):
        matrix = overlap_matrix(speech.ap, text.ap, k)
        ratio = diagonal_ratio(matrix)
        low, high = centred_interval(drawn, ratio)
        rows.append(
            {
                "step": step,
                "k": k,
                "diagonal_ratio": ratio,
                "ci_low": low,
                "ci_high": high,
                "p": permutation_p(matrix),
                "chance": 1 / len(matrix),
            }
        )
    write_csv(pd.DataFrame(rows), output)


def _conditions(
    stores_speech: dict[str, Path],
    stores_text: dict[str, Path],
    include_step_invariant: bool,
    left_out: Path | None,
) -> list[Condition]:
    return [
        open_condition(stores, include_step_invariant, left_out)
        for stores in (stores_speech, stores_text)
    ]


def resampled_pairs(
    speech: Condition, text: Condition, n_resamples: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """AP of speech and of text for one resample of utterances after the other.

    One draw of sentences a language serves both modalities; every neuron is ranked again. A draw
    without a valid utterance of some language is left out.

    Yields
    ------
    two (n_languages, n_neurons) float32 arrays
    """
    drawn = [_resampled(condition, n_resamples, seed) for condition in (speech, text)]
    for pair in zip(*drawn, strict=True):
        if all(np.isfinite(ap).all() for ap in pair):
            yield pair


def _resampled(condition: Condition, n_resamples: int, seed: int) -> np.ndarray:
    """AP of every resample: (n_resamples, n_languages, n_neurons) float32."""
    weights = []
    for language, data, valid in zip(
        condition.languages, condition.data, condition.valid, strict=True
    ):
        # Drawn over all utterances, valid or not, so that both modalities draw the same sentences.
        counts = draw_counts(data.sizes["utterance"], n_resamples, seed, language)
        weights.append(counts[:, valid])
    weights = np.concatenate(weights, axis=1)
    shape = (n_resamples, len(condition.languages), len(condition.columns))
    ap = np.empty(shape, dtype=np.float32)
    for where, activations in condition.blocks():
        ap[:, :, where] = resampled_average_precision(
            activations, condition.labels, weights, shape[1]
        )
    return ap


def _long(matrix: np.ndarray, ranking: Ranking, step: int, name: str, **columns) -> pd.DataFrame:
    """A matrix as rows (step, …, speech_language, text_language, value)."""
    rows = [
        {"step": step, **columns, "speech_language": one, "text_language": other, name: value}
        for one, values in zip(ranking.languages, matrix, strict=True)
        for other, value in zip(ranking.languages, values, strict=True)
    ]
    return pd.DataFrame(rows)
