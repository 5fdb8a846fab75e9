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
    _check_k(ap, k)
    return np.argsort(-ap, axis=-1, kind="stable")[..., :k]


def bottom_k(ap: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k lowest AP, lowest first; equal AP is ordered by column (D6)."""
    _check_k(ap, k)
    return np.argsort(ap, axis=-1, kind="stable")[..., :k]


def _check_k(ap: np.ndarray, k: int) -> None:
    if not 1 <= k <= ap.shape[-1]:
        raise ValueError(f"k: expected 1 to {ap.shape[-1]} (the number of neurons), got {k}")
