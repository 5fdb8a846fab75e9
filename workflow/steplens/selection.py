"""Top-k and bottom-k neurons by AP (D6): over the whole module, ties in order of columns."""

import numpy as np


def top_k(ap: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k highest AP, best first; equal AP is ordered by column (D6).

    Parameters
    ----------
    ap : (..., n_neurons) array
    k : int
        At most n_neurons.

    Returns
    -------
    (..., k) int array
    """
    return bottom_k(-ap, k)


def bottom_k(ap: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k lowest AP, lowest first; equal AP is ordered by column (D6)."""
    _check_k(ap, k)
    rows = [_lowest(row, k) for row in ap.reshape(-1, ap.shape[-1])]
    return np.array(rows, dtype=np.int64).reshape(*ap.shape[:-1], k)


def _lowest(row: np.ndarray, k: int) -> np.ndarray:
    """The first k of a stable sort, without sorting what is not among them."""
    last = np.partition(row, k - 1)[k - 1]
    near = np.flatnonzero(row <= last)
    if len(near) < k:  # what has no order, NaN, is among the k: last, as a sort has it
        return np.argsort(row, kind="stable")[:k]
    return near[np.argsort(row[near], kind="stable")[:k]]


def _check_k(ap: np.ndarray, k: int) -> None:
    if not 1 <= k <= ap.shape[-1]:
        raise ValueError(f"k: expected 1 to {ap.shape[-1]} (the number of neurons), got {k}")
