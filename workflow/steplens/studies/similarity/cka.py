"""Linear centred kernel alignment (CKA) of all pairs of views at once, biased and debiased.

CKA(K, L) = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) of the Gram matrices of two views over the same m
sentences (Kornblith et al. 2019, arXiv 1905.00414). The usual HSIC, tr(K H L H), is biased: of independent
views with many more dimensions than sentences it is near 1. The debiased form takes the unbiased estimator
of Song et al. (2012, Journal of Machine Learning Research 13, eq. 5), as Nguyen et al. (2021, arXiv
2010.15327) do: its mean is 0 for independent views, so that a single value may lie a little below 0.

Which sentences a pair has in common may differ from pair to pair. All sums over common sentences are
products of Gram matrices, which are 0 elsewhere, with the other view's mask, so that nothing is centred
again pair by pair.
"""

from collections.abc import Callable

import numpy as np

# Elements of flattened Gram matrices that are summed in float32; the sums of these in float64.
_BLOCK = 4096
FEWEST = 4  # sentences: the unbiased estimator divides by m - 3

Map = Callable


def gram(view: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Gram matrix of a centred view.

    Parameters
    ----------
    view : (n, hidden) array
        Rows that are not valid are not read.
    valid : (n,) bool array

    Returns
    -------
    (n, n) float32 array
        Scaled to a mean diagonal of 1, which CKA does not see; 0 in rows and columns not valid.

    Raises
    ------
    ValueError
        All valid rows are equal.
    """
    centred = view[valid].astype(np.float64)
    if (centred == centred[:1]).all():
        raise ValueError(
            f"view: expected rows that differ, got {valid.sum()} equal ones: CKA divides by their variance"
        )
    centred -= centred.mean(0)
    products = centred @ centred.T
    scale = np.trace(products) / len(products)
    whole = np.zeros((len(view), len(view)), dtype=np.float32)
    whole[np.ix_(valid, valid)] = products / scale
    return whole


def cka(
    grams_1: np.ndarray,
    grams_2: np.ndarray,
    valid_1: np.ndarray,
    valid_2: np.ndarray,
    map_: Map = map,
) -> tuple[np.ndarray, np.ndarray]:
    """Biased and debiased CKA of every view of one list with every view of another.

    Parameters
    ----------
    grams_1, grams_2 : (n_views, n, n) float32 arrays
        As ``gram`` gives them; a constant may have been added to a view before, CKA does not see it.
    valid_1, valid_2 : (n_views, n) bool arrays
    map_ : callable, optional
        Like ``map``; an executor's runs blocks side by side.

    Returns
    -------
    biased, debiased : (n_views_1, n_views_2) float64 arrays
        -1 to 1 (biased: from 0). NaN where a pair has fewer than 4 common sentences, or where a view does
        not vary over them.
    """
    mask_1, mask_2 = valid_1.astype(np.float64), valid_2.astype(np.float64)
    m = mask_1 @ mask_2.T
    with_diagonal = _flat_products(grams_1, grams_2, map_)
    diagonals = [np.einsum("vii->vi", grams).astype(np.float64) for grams in (grams_1, grams_2)]
    sums_1 = _Sums(grams_1, diagonals[0], mask_2, map_)
    sums_2 = _Sums(grams_2, diagonals[1], mask_1, map_)
    diagonal = diagonals[0] @ diagonals[1].T
    found = []
    for debiased, products in ((False, with_diagonal), (True, with_diagonal - diagonal)):
        (rows_1, own_1, total_1), (rows_2, own_2, total_2) = (
            sums.of(debiased) for sums in (sums_1, sums_2)
        )
        across = np.einsum("xyi,yxi->xy", rows_1, rows_2, optimize=True)
        hsic = _hsic(products, across, total_1 * total_2.T, m, debiased)
        self_1 = _hsic(own_1, np.einsum("xyi,xyi->xy", rows_1, rows_1), total_1**2, m, debiased)
        self_2 = _hsic(own_2, np.einsum("yxi,yxi->yx", rows_2, rows_2), total_2**2, m.T, debiased)
        both = self_1 * self_2.T
        # What is left of a view that does not vary is rounding of its Gram matrix.
        known = (m >= FEWEST) & (self_1 > 1e-9 * own_1) & (self_2 > 1e-9 * own_2).T
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append(np.where(known, hsic / np.sqrt(both), np.nan))
    return found[0], found[1]


def _hsic(products, rows, totals, m, debiased: bool) -> np.ndarray:
    """HSIC, up to a factor of m alone, from tr(KL), 1'KL1 and 1'K1 1'L1 over common sentences."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if debiased:  # Song et al., eq. 5, diagonals of K and L set to 0
            return products + totals / ((m - 1) * (m - 2)) - 2 * rows / (m - 2)
        return products + totals / m**2 - 2 * rows / m


class _Sums:
    """Sums over the Gram matrices of one list of views, each over the sentences of every other mask."""

    def __init__(self, grams: np.ndarray, diagonals: np.ndarray, masks: np.ndarray, map_: Map):
        def of_view(place: int) -> tuple[np.ndarray, np.ndarray]:
            whole = grams[place].astype(np.float64)
            rows = (whole @ masks.T).T * masks
            np.square(whole, out=whole)
            return rows, ((whole @ masks.T).T * masks).sum(1)

        parts = list(map_(of_view, range(len(grams))))
        self._rows = np.array([rows for rows, _ in parts])  # (n_views, n_masks, n)
        self._squares = np.array([squares for _, squares in parts])
        self._masks, self._diagonals = masks, diagonals

    def of(self, debiased: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row sums (n_views, n_masks, n), sums of squares and totals (n_views, n_masks)."""
        if not debiased:
            return self._rows, self._squares, self._rows.sum(2)
        rows = self._rows - self._diagonals[:, None] * self._masks
        return rows, self._squares - self._diagonals**2 @ self._masks.T, rows.sum(2)


def _flat_products(one: np.ndarray, other: np.ndarray, map_: Map) -> np.ndarray:
    """Sums of products of all elements: (n_1, n, n), (n_2, n, n) -> (n_1, n_2) float64."""
    flat_1, flat_2 = one.reshape(len(one), -1), other.reshape(len(other), -1)

    def of_blocks(starts: range) -> np.ndarray:
        total = np.zeros((len(one), len(other)))
        for start in starts:
            where = slice(start, start + _BLOCK)
            total += flat_1[:, where] @ flat_2[:, where].T
        return total

    width = 64 * _BLOCK
    shares = [
        range(start, min(start + width, flat_1.shape[1]), _BLOCK)
        for start in range(0, flat_1.shape[1], width)
    ]
    return sum(map_(of_blocks, shares), np.zeros((len(one), len(other))))
