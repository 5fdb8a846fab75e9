"""SVCCA and PWCCA: canonical correlations of views reduced to their principal components.

A view is a (sentence, hidden) matrix: one language in one modality, at one layer. SVCCA (Raghu et al.
2017, arXiv 1706.05806) keeps the components that hold most of a view's variance and takes the mean of the
canonical correlations; PWCCA (Morcos et al. 2018, arXiv 1806.05759) weights each correlation by how much of
the view its canonical variate accounts for. Everything about one view is done once
(``principal_components``); a pair then costs a singular value decomposition of (components, components).

Views enter as float32 and products are float32, sums that decide (means, Gram matrices, decompositions)
float64: measured against float64 throughout, values differ by less than 1e-5.
"""

from dataclasses import dataclass

import numpy as np

# An eigenvalue this far below the largest is rounding: squares of singular values in float64.
_RANK_TOLERANCE = 1e-12
# A basis on a part of its sentences is made orthonormal by its Gram matrix; nearer to singular than this
# it goes through a singular value decomposition.
_SAFE_EIGENVALUE = 1e-4
_SAFE_SQUARE = 1e-8  # of a correlation


@dataclass(frozen=True)
class Components:
    """Leading principal components of one view.

    Attributes
    ----------
    valid : (n,) bool array
        Sentences that they are of.
    basis : (n, k) float32 array
        Orthonormal, every column with mean 0 over the valid sentences; 0 elsewhere.
    loadings : (k, hidden) float32 array
        ``basis @ loadings`` is the view, centred, as far as the components hold it.
    shares : (k,) float64 array
        Share of the view's variance in the first 1, 2, … k components, 0 to 1.
    """

    valid: np.ndarray
    basis: np.ndarray
    loadings: np.ndarray
    shares: np.ndarray

    def within(self, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Orthonormal basis and loadings of the first k components over some of the valid sentences.

        Parameters
        ----------
        rows : (m,) int array
            In any order: a permuted view is asked for by permuted rows.
        k : int

        Returns
        -------
        basis : (m, r) float32 array
            Centred over the rows; r is k, or less where they span less.
        loadings : (r, hidden) float32 array
        """
        basis, loadings = self.basis[rows, :k], self.loadings[:k]
        if len(rows) == self.valid.sum():
            return basis, loadings
        basis = basis.astype(np.float64)
        basis -= basis.mean(0)
        products = basis.T @ basis
        if np.linalg.eigvalsh(products)[0] > _SAFE_EIGENVALUE:
            factor = np.linalg.cholesky(products)  # products = factor @ factor.T
            basis = basis @ np.linalg.inv(factor).T
            loadings = factor.T @ loadings
        else:
            basis, values, right = np.linalg.svd(basis, full_matrices=False)
            kept = values > np.sqrt(_RANK_TOLERANCE) * values[0]
            basis = basis[:, kept]
            loadings = (values[kept, None] * right[kept]) @ loadings
        return basis.astype(np.float32), loadings.astype(np.float32)


def principal_components(
    view: np.ndarray, valid: np.ndarray, variance: float, most: int
) -> Components:
    """The fewest leading components that hold a share of the variance, but not more than a number.

    Parameters
    ----------
    view : (n, hidden) array
        Rows that are not valid are not read.
    valid : (n,) bool array
    variance : float
        Share to keep, above 0 to 1.
    most : int
        Components at most, 1 or more.

    Raises
    ------
    ValueError
        All valid rows are equal: there is no variance to keep.
    """
    centred = view[valid].astype(np.float64)
    if (centred == centred[:1]).all():
        raise ValueError(
            f"view: expected rows that differ, got {valid.sum()} equal ones: no variance to share"
        )
    centred -= centred.mean(0)
    total = np.einsum("ij,ij->", centred, centred)
    # Of the two Gram matrices the smaller one: same eigenvalues, and vectors follow from it.
    tall = len(centred) > centred.shape[1]
    products = centred.T @ centred if tall else centred @ centred.T
    values, vectors = np.linalg.eigh(products)  # SciPy's would hold up the other threads
    most = min(most, len(products))
    values, vectors = values[: -most - 1 : -1], vectors[:, : -most - 1 : -1]
    shares = np.cumsum(values) / total
    # The last one needed reaches the share; rounding must not ask for one more.
    k = min(int(np.searchsorted(shares, variance - 1e-12)) + 1, most)
    k = min(k, int((values > _RANK_TOLERANCE * values[0]).sum()))
    values, vectors = values[:k], vectors[:, :k]
    scale = np.sqrt(values)
    if tall:
        basis, loadings = centred @ (vectors / scale), scale[:, None] * vectors.T
    else:
        basis, loadings = vectors, vectors.T @ centred
    whole = np.zeros((len(view), k), dtype=np.float32)
    whole[valid] = basis
    return Components(valid, whole, loadings.astype(np.float32), np.minimum(shares[:k], 1))


def refusal(n: int, p: int, q: int) -> str:
    """Why canonical correlations say nothing here: a reason, or nothing where they do.

    n centred sentences lie in n - 1 dimensions. Spaces of p and of q dimensions in them meet in
    p + q - (n - 1) directions whatever they hold, and there the correlation is 1 by construction.
    """
    if min(p, q) < 1:
        return f"no components: {n} sentences are too few"
    if p + q > n - 1:
        return f"{p} + {q} components among {n} sentences: correlations are 1 by construction"
    return ""


def canonical_correlations(
    one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Canonical correlations of two views, and the weights of PWCCA from either side.

    Parameters
    ----------
    one, other : (basis, loadings)
        As ``Components.within`` gives them for the same sentences: (n, p), (p, hidden) and (n, q),
        (q, other hidden).

    Returns
    -------
    correlations : (min(p, q),) float64 array
        0 to 1, descending.
    weights_one, weights_other : (min(p, q),) float64 arrays
        Morcos et al.'s alpha: the sum over neurons of |<canonical variate, neuron>|, divided by the sum
        over variates.
    """
    product = (one[0].T @ other[0]).astype(np.float64)
    left, correlations, right = _decomposed(product)
    return np.clip(correlations, 0, 1), _weights(left, one[1]), _weights(right, other[1])


def _decomposed(product: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular values of (p, q), descending, with left (r, p) and right (r, q) vectors as rows.

    By the eigenvectors of the smaller Gram matrix, which takes two thirds of the time, unless a value is so
    small that its square, and the vectors that are divided by it, would be rounding.
    """
    if len(product) > product.shape[1]:
        right, values, left = _decomposed(product.T)
        return left, values, right
    squares, vectors = np.linalg.eigh(product @ product.T)
    if squares[0] > _SAFE_SQUARE:
        values, left = np.sqrt(squares[::-1]), vectors[:, ::-1].T
        return left, values, left @ product / values[:, None]
    left, values, right = np.linalg.svd(product, full_matrices=False)
    return left.T, values, right


def _weights(directions: np.ndarray, loadings: np.ndarray) -> np.ndarray:
    """Of (r, k) directions in the basis and (k, hidden) loadings: (r,), sum 1."""
    alpha = np.abs(directions.astype(np.float32) @ loadings).sum(1, dtype=np.float64)
    return alpha / alpha.sum()


def svcca_pwcca(
    one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]
) -> tuple[float, float, float]:
    """SVCCA, and PWCCA weighted from the first and from the second view; arguments as above."""
    correlations, *weights = canonical_correlations(one, other)
    forward, backward = (float(weight @ correlations) for weight in weights)
    return float(correlations.mean()), forward, backward
