"""Compares the language neurons of speech with those of text (D6, D7)."""

import itertools
import math
import warnings

import numpy as np
import pandas as pd

from steplens.ranking.selection import top_k

EXACT_UP_TO = 8  # languages; 8! = 40,320 matchings
MONTE_CARLO_PERMUTATIONS = 100_000


def _check_pair(ap_speech: np.ndarray, ap_text: np.ndarray) -> None:
    if ap_speech.ndim != 2 or ap_speech.shape != ap_text.shape:
        raise ValueError(
            "ap_speech, ap_text: expected two arrays (n_languages, n_neurons) of one shape, got "
            f"{ap_speech.shape} and {ap_text.shape}"
        )
    if not (np.isfinite(ap_speech).all() and np.isfinite(ap_text).all()):
        raise ValueError("ap_speech, ap_text: expected finite values, got NaN or infinity")


def overlap_matrix(ap_speech: np.ndarray, ap_text: np.ndarray, k: int) -> np.ndarray:
    """How many neurons the top k of each speech and each text language share (paper, figure 4).

    Parameters
    ----------
    ap_speech, ap_text : (n_languages, n_neurons) arrays
        AP of the same neurons for the same languages, under s2t and t2t.
    k : int

    Returns
    -------
    (n_languages, n_languages) int array
        ``[i, j]`` counts top-k speech neurons of language i among the top-k text neurons of j;
        each between 0 and k. Equal AP is ordered by column, since AP is all that is given.
    """
    ap_speech, ap_text = np.asarray(ap_speech), np.asarray(ap_text)
    _check_pair(ap_speech, ap_text)
    return shared_neurons(top_k(ap_speech, k), top_k(ap_text, k))


def shared_neurons(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How many neurons every set of one has in common with every set of the other.

    Parameters
    ----------
    one, other : (n_languages, k) int arrays
        Columns, each once in a row.

    Returns
    -------
    (n_languages, n_languages) int64 array
        ``[i, j]``: of row i of ``one`` and row j of ``other``.
    """
    one, other = np.asarray(one), np.asarray(other)
    if one.ndim != 2 or other.ndim != 2:
        raise ValueError(
            "one, other: expected two arrays (n_languages, k), got shapes "
            f"{one.shape} and {other.shape}"
        )
    # Of the columns that occur at all: far fewer than there are neurons.
    known, place = np.unique(np.concatenate([one, other]), return_inverse=True)
    member = np.zeros((len(one) + len(other), len(known)), dtype=np.float32)  # exact to 2^24
    np.put_along_axis(member, place.reshape(len(member), -1), 1, axis=1)
    return (member[: len(one)] @ member[len(one) :].T).astype(np.int64)


def diagonal_ratio(matrix: np.ndarray) -> float:
    """Share of the overlap that joins a language with itself: trace / sum (D7).

    In [0, 1]; 1 / n_languages where speech and text share nothing particular to a language; NaN for
    a matrix of zeros.
    """
    matrix = _square(matrix)
    total = matrix.sum()
    return float(np.trace(matrix) / total) if total else math.nan


def permutation_p(matrix: np.ndarray, seed: int = 0) -> float:
    """One-sided p of the trace over matchings of speech with text languages (D7).

    Exact over all n! matchings up to 8 languages: the share whose trace is at least the observed
    one, the observed matching included, so that p >= 1 / n!. Past 8 languages 100,000 seeded random
    matchings, with (1 + hits) / (1 + draws). NaN if the matrix has NaN.
    """
    matrix = _square(matrix)
    if np.isnan(matrix).any():
        return math.nan
    n = len(matrix)
    observed = np.trace(matrix)
    # Sums of floats taken in another order may differ in the last bits: equal counts as reached.
    slack = 1e-9 * float(np.abs(matrix).sum())
    rows = np.arange(n)
    if n <= EXACT_UP_TO:
        matchings = np.array(list(itertools.permutations(range(n))))
        return float((matrix[rows, matchings].sum(1) >= observed - slack).mean())
    generator = np.random.default_rng(seed)
    matchings = generator.permuted(np.tile(rows, (MONTE_CARLO_PERMUTATIONS, 1)), axis=1)
    hits = (matrix[rows, matchings].sum(1) >= observed - slack).sum()
    return float((1 + hits) / (1 + MONTE_CARLO_PERMUTATIONS))


def spearman_matrix(ap_speech: np.ndarray, ap_text: np.ndarray) -> np.ndarray:
    """Spearman correlation of AP over all neurons, speech against text languages (paper, figure 5).

    Parameters
    ----------
    ap_speech, ap_text : (n_languages, n_neurons) arrays

    Returns
    -------
    (n_languages, n_languages) array in [-1, 1]; NaN where an AP vector is constant.
    """
    ap_speech, ap_text = np.asarray(ap_speech), np.asarray(ap_text)
    _check_pair(ap_speech, ap_text)
    ranks = []
    for ap in (ap_speech, ap_text):
        # Of pandas, which every job has loaded: importing scipy.stats takes as long as pandas itself.
        ranked = pd.DataFrame(ap.T).rank().to_numpy().T
        centred = ranked - ranked.mean(1, keepdims=True)
        with np.errstate(invalid="ignore"):
            ranks.append(centred / np.linalg.norm(centred, axis=1, keepdims=True))
    return np.clip(ranks[0] @ ranks[1].T, -1, 1)


def diagonal_concentration(matrix: np.ndarray) -> float:
    """Trace / sum of a Spearman matrix (D7); warns where a correlation is negative.

    With negative entries the sum may be small or negative, and the figure no share of anything.
    """
    matrix = _square(matrix)
    if (matrix < 0).any():
        warnings.warn(
            "diagonal concentration: some correlations are negative, so that it is no share; "
            "read the matrix itself",
            stacklevel=2,
        )
    total = matrix.sum()
    return float(np.trace(matrix) / total) if total else math.nan


def _square(matrix: np.ndarray) -> np.ndarray:
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(f"matrix: expected (n_languages, n_languages), got shape {matrix.shape}")
    return matrix
