"""Gini coefficients and Lorenz curves of activation magnitudes, exact.

Everything follows from one sort of the magnitudes of an utterance. NumPy's sort of float32 uses the
processor's vector instructions; a compiled radix or counting sort of the bit patterns saved a third of
the time and no more (docs/methods/inequality.md), so that there is none.
"""

import numpy as np

POINTS = 101  # of a Lorenz curve: every percent of the neurons


def sort_magnitudes(activations: np.ndarray) -> np.ndarray:
    """Magnitudes of every row in ascending order; NaN comes last.

    Parameters
    ----------
    activations : (n_rows, n_neurons) float16 or float32 array

    Returns
    -------
    (n_rows, n_neurons) float64 array
        Exactly the magnitudes that were stored.
    """
    magnitudes = np.abs(activations.astype(np.float32))
    magnitudes.sort(axis=1)
    return magnitudes.astype(np.float64)


def gini(ordered: np.ndarray) -> np.ndarray:
    """Gini coefficient of every row.

    Half of the mean absolute difference between two neurons, relative to the mean:
    sum over i and j of abs(x[i] - x[j]) / (2 n² mean(x)).

    Parameters
    ----------
    ordered : (n_rows, n_neurons) float64 array
        As ``sort_magnitudes`` gives it.

    Returns
    -------
    (n_rows,) float64 array
        0 where all neurons are alike, 1 - 1 / n where one of n has everything; NaN where all are 0.

    Notes
    -----
    The double sum is twice the sum of (n + 1 - 2 i) (x[n + 1 - i] - x[i]) over the first half of the
    ordered magnitudes, i from 1. No term is negative, so that nothing cancels.
    """
    n = ordered.shape[1]
    half = n // 2
    apart = ordered[:, n - half :][:, ::-1] - ordered[:, :half]
    weights = n + 1.0 - 2 * np.arange(1, half + 1)
    return _over(apart @ weights, n * ordered.sum(axis=1))


def lorenz(ordered: np.ndarray) -> np.ndarray:
    """Lorenz curve of every row: the share of the total that the smallest neurons hold together.

    Parameters
    ----------
    ordered : (n_rows, n_neurons) float64 array
        As ``sort_magnitudes`` gives it.

    Returns
    -------
    (n_rows, POINTS) float64 array
        At 0, 0.01, … 1 of the neurons; from 0 to 1. Between two neurons the curve is a straight line.
        NaN where all magnitudes are 0.
    """
    n = ordered.shape[1]
    held = np.concatenate([np.zeros((len(ordered), 1)), np.cumsum(ordered, axis=1)], axis=1)
    whole, rest = np.divmod(np.arange(POINTS) * n, POINTS - 1)
    following = ordered[:, np.minimum(whole, n - 1)]
    held_at = held[:, whole] + rest / (POINTS - 1) * following
    return _over(held_at, held[:, -1:])


def _over(numerator: np.ndarray, total: np.ndarray) -> np.ndarray:
    return np.divide(numerator, total, out=np.full(numerator.shape, np.nan), where=total > 0)
