"""Retrieval: does a sentence of one view find its own among those of another view?

The nearest neighbour by cosine of states that were mean-pooled over the sentence and centred per view: what
all sentences of a language in a modality have in common would otherwise decide.
"""

from collections.abc import Sequence

import numpy as np


def unit_rows(view: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """A view, centred over its valid sentences, every row scaled to length 1.

    Parameters
    ----------
    view : (n, hidden) array
    valid : (n,) bool array

    Returns
    -------
    (n, hidden) float32 array
        0 in rows that are not valid, or equal to the mean.
    """
    rows = np.zeros(view.shape, dtype=np.float32)
    centred = view[valid].astype(np.float64)
    centred -= centred.mean(0)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    rows[valid] = np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)
    return rows


def retrieval_accuracy(
    one: np.ndarray, other: np.ndarray, subsets: Sequence[np.ndarray]
) -> list[tuple[float, float]]:
    """Top-1 accuracy both ways among the sentences of each subset.

    Parameters
    ----------
    one, other : (n, hidden) float32 arrays
        As ``unit_rows`` gives them; the same sentence has the same row.
    subsets : sequence of int arrays
        Rows: both the sentences that search and those that may be found.

    Returns
    -------
    list of (float, float)
        Share of sentences of ``one`` whose nearest neighbour in ``other`` is their own, and the reverse;
        0 to 1, chance 1 / len(subset); NaN for an empty subset. A sentence that shares first place with
        another has not found its own.
    """
    cosines = one @ other.T
    found = []
    for rows in subsets:
        if not len(rows):
            found.append((np.nan, np.nan))
            continue
        # take, unlike an index, lets other threads go on.
        among = cosines if len(rows) == len(cosines) else cosines.take(rows, 0).take(rows, 1)
        own = among.diagonal()
        ways = [(among >= own[:, None]).sum(1) == 1, (among >= own).sum(0) == 1]
        found.append((float(ways[0].mean()), float(ways[1].mean())))
    return found
