"""SVCCA and PWCCA are those of a textbook computation, and refuse what is 1 by construction."""

import numpy as np
import pytest
import scipy.linalg
from sklearn.cross_decomposition import CCA

from steplens.studies.similarity.cca import (
    Components,
    _decomposed,
    canonical_correlations,
    principal_components,
    refusal,
    svcca_pwcca,
)

CLOSE = {"abs": 2e-5}  # products are float32


def related(seed, n=90, p=7, q=5, noise=1.0):
    """Two views with something in common; columns of different size, and means that are not 0."""
    generator = np.random.default_rng(seed)
    shared = generator.normal(size=(n, 3))
    views = [
        (shared @ generator.normal(size=(3, width)) + noise * generator.normal(size=(n, width)))
        * generator.uniform(0.5, 3, width)
        + 5
        for width in (p, q)
    ]
    return [view.astype(np.float32) for view in views]


def everyone(view):
    return np.ones(len(view), dtype=bool)


def whole(view, variance=1.0):
    """Basis and loadings of all components."""
    components = principal_components(view, everyone(view), variance, min(view.shape))
    return components.within(np.arange(len(view)), len(components.shares))


def by_eigenproblem(one, other):
    """Hotelling: eigenvalues of Sxx^-1 Sxy Syy^-1 Syx are the squared correlations."""
    covariance = np.cov(np.hstack([one, other]).astype(np.float64).T)
    p = one.shape[1]
    xx, xy, yy = covariance[:p, :p], covariance[:p, p:], covariance[p:, p:]
    squared = scipy.linalg.eigh(xy @ np.linalg.solve(yy, xy.T), xx, eigvals_only=True)
    return np.sqrt(np.clip(squared[::-1][: min(one.shape[1], other.shape[1])], 0, 1))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [(7, 5), (4, 4), (2, 9), (1, 1)])
def test_correlations_are_those_of_the_generalised_eigenproblem(seed, shape):
    one, other = related(seed, p=shape[0], q=shape[1])
    found, *_ = canonical_correlations(whole(one), whole(other))
    np.testing.assert_allclose(found, by_eigenproblem(one, other), atol=2e-5)


def test_correlations_are_those_of_scikit_learn():
    one, other = related(9, p=4, q=4, noise=2.0)
    scores = CCA(4, max_iter=20_000, tol=1e-12).fit_transform(one, other)
    expected = [np.corrcoef(x, y)[0, 1] for x, y in zip(scores[0].T, scores[1].T, strict=True)]
    found, *_ = canonical_correlations(whole(one), whole(other))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4), (1, 3)])
@pytest.mark.parametrize("smallest", [0.3, 1e-2, 1e-6, 0])
def test_the_decomposition_is_exact_for_small_correlations_too(shape, smallest):
    generator = np.random.default_rng(len(shape))
    left, right = (np.linalg.qr(generator.normal(size=(size, size)))[0] for size in shape)
    values = np.linspace(0.9, smallest, min(shape))
    product = left[:, : len(values)] * values @ right[: len(values)]
    found = _decomposed(product)
    np.testing.assert_allclose(found[1], np.linalg.svd(product, compute_uv=False), atol=1e-12)
    np.testing.assert_allclose(found[0].T * found[1] @ found[2], product, atol=1e-12)
    for vectors in (found[0], found[2]):
        np.testing.assert_allclose(vectors @ vectors.T, np.eye(len(values)), atol=1e-10)


def pwcca_by_definition(one, other):
    """Morcos et al. 2018, section 2.2: alpha_i = sum_j |<h_i, x_j>| over the neurons of the first view."""
    x, y = (view.astype(np.float64) - view.astype(np.float64).mean(0) for view in (one, other))
    root = [scipy.linalg.fractional_matrix_power(view.T @ view, -0.5).real for view in (x, y)]
    left, correlations, _ = np.linalg.svd(root[0] @ x.T @ y @ root[1], full_matrices=False)
    variates = x @ root[0] @ left  # (n, r), orthonormal
    alpha = np.array([sum(abs(h @ neuron) for neuron in x.T) for h in variates.T])
    return float((alpha * correlations).sum() / alpha.sum())


@pytest.mark.parametrize("seed", range(4))
def test_pwcca_is_that_of_its_definition(seed):
    one, other = related(seed)
    svcca, forward, backward = svcca_pwcca(whole(one), whole(other))
    assert svcca == pytest.approx(by_eigenproblem(one, other).mean(), **CLOSE)
    assert forward == pytest.approx(pwcca_by_definition(one, other), **CLOSE)
    assert backward == pytest.approx(pwcca_by_definition(other, one), **CLOSE)
    assert abs(forward - backward) > 1e-3  # the weights are those of one view


@pytest.mark.parametrize(("n", "hidden"), [(40, 12), (12, 40), (15, 15)])
def test_components_are_those_of_the_singular_value_decomposition(n, hidden):
    generator = np.random.default_rng(n)
    view = (generator.normal(size=(n, hidden)) * 2.0 ** -np.arange(hidden) + 3).astype(np.float32)
    centred = view - view.mean(0, dtype=np.float64)
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    shares = np.cumsum(values**2) / (values**2).sum()
    for variance in (0.5, 0.9, 0.99, 0.999):
        k = next(number for number, share in enumerate(shares, 1) if share >= variance)
        found = principal_components(view, everyone(view), variance, min(n, hidden))
        assert len(found.shares) == k
        np.testing.assert_allclose(found.shares, shares[:k], atol=1e-6)
        expected = left[:, :k] * values[:k] @ right[:k]
        np.testing.assert_allclose(found.basis @ found.loadings, expected, atol=1e-5)
        np.testing.assert_allclose(found.basis.T @ found.basis, np.eye(k), atol=1e-5)
    capped = principal_components(view, everyone(view), 0.999, 2)
    np.testing.assert_allclose(capped.shares, shares[:2], atol=1e-6)


def test_components_beyond_the_rank_are_not_kept():
    generator = np.random.default_rng(4)
    view = (generator.normal(size=(50, 3)) @ generator.normal(size=(3, 20))).astype(np.float64)
    assert len(principal_components(view, everyone(view), 1.0, 20).shares) == 3


def test_truncation_is_by_variance():
    """Against the same views, projected by hand."""
    one, other = related(5, p=20, q=18, noise=0.3)
    projected = []
    for view in (one, other):
        centred = view - view.mean(0, dtype=np.float64)
        _, values, right = np.linalg.svd(centred, full_matrices=False)
        k = int(np.searchsorted(np.cumsum(values**2) / (values**2).sum(), 0.9)) + 1
        assert k < 10
        projected.append(centred @ right[:k].T)
    found, *_ = svcca_pwcca(whole(one, 0.9), whole(other, 0.9))
    assert found == pytest.approx(by_eigenproblem(*projected).mean(), **CLOSE)


@pytest.mark.parametrize("seed", range(3))
def test_invariances(seed):
    """CCA: invertible linear maps and shifts. PWCCA's weights know the neurons of their own view only."""
    one, other = related(seed)
    generator = np.random.default_rng(seed)
    linear = generator.normal(size=(5, 5)) + 3 * np.eye(5)
    mapped = (other @ linear - 7).astype(np.float32)
    before, after = svcca_pwcca(whole(one), whole(other)), svcca_pwcca(whole(one), whole(mapped))
    assert after[:2] == pytest.approx(before[:2], abs=2e-4)
    orthogonal, _ = np.linalg.qr(generator.normal(size=(5, 5)))
    for changed in (other @ orthogonal, 40 * other):
        # Truncated: what is kept is the same under rotation and scaling, though not under linear maps.
        expected = svcca_pwcca(whole(one, 0.9), whole(other, 0.9))
        found = svcca_pwcca(whole(one, 0.9), whole(changed.astype(np.float32), 0.9))
        assert found[:2] == pytest.approx(expected[:2], abs=1e-4)
    assert svcca_pwcca(whole(one), whole(40 * other))[2] == pytest.approx(before[2], abs=1e-4)


def test_symmetry_and_identity():
    one, other = (whole(view) for view in related(1))
    svcca, forward, backward = svcca_pwcca(one, other)
    assert svcca_pwcca(other, one) == pytest.approx((svcca, backward, forward), **CLOSE)
    assert svcca_pwcca(one, one) == pytest.approx((1, 1, 1), **CLOSE)


def part_of(view, rows, k):
    """The first k components of a view, and its part over some rows, by hand."""
    centred = view - view.mean(0, dtype=np.float64)
    right = np.linalg.svd(centred, full_matrices=False)[2][:k]
    return centred[rows] @ right.T @ right, centred[rows] @ right.T


@pytest.mark.parametrize("seed", range(3))
def test_a_part_of_the_sentences_is_projected_and_compared(seed):
    """Components are of all sentences of a view, correlations of those in common."""
    one, other = related(seed, p=12, q=10)
    rows = np.random.default_rng(seed).permutation(90)[:50]
    found = [
        principal_components(view, everyone(view), 1.0, 10).within(rows, 4) for view in (one, other)
    ]
    for (basis, loadings), view in zip(found, (one, other), strict=True):
        expected = part_of(view, rows, 4)[0]
        np.testing.assert_allclose(basis @ loadings, expected - expected.mean(0), atol=1e-4)
        np.testing.assert_allclose(basis.T @ basis, np.eye(4), atol=1e-5)
    scores = [part_of(view, rows, 4)[1] for view in (one, other)]
    assert svcca_pwcca(*found)[0] == pytest.approx(by_eigenproblem(*scores).mean(), **CLOSE)


def test_a_part_that_spans_less_has_fewer_components():
    """All but a few rows of the part are the same: no inverse, and no correlation of nothing."""
    generator = np.random.default_rng(2)
    view = generator.normal(size=(60, 8)).astype(np.float32)
    view[:40, 1:] = 0
    components = principal_components(view, everyone(view), 1.0, 8)
    basis, loadings = components.within(np.arange(40), 8)
    assert basis.shape == (40, 1)
    expected = view[:40] - view[:40].mean(0, dtype=np.float64)
    np.testing.assert_allclose(basis @ loadings, expected, atol=1e-4)


def test_rows_that_are_not_valid_are_not_read():
    view = related(3)[0]
    valid = np.arange(90) % 4 != 1
    spoilt = view.copy()
    spoilt[~valid] = np.nan
    found = principal_components(spoilt, valid, 1.0, 7)
    expected = principal_components(view[valid], everyone(view[valid]), 1.0, 7)
    np.testing.assert_allclose(found.shares, expected.shares, atol=1e-12)
    assert not found.basis[~valid].any()
    np.testing.assert_allclose(
        found.basis[valid] @ found.loadings, expected.basis @ expected.loadings, atol=1e-4
    )


def test_a_constant_view_is_an_error():
    with pytest.raises(ValueError, match="expected rows that differ, got 6 equal ones"):
        principal_components(np.full((6, 3), 2.5), np.ones(6, dtype=bool), 0.99, 3)


def test_what_is_one_by_construction_is_refused():
    """p + q > n - 1: independent noise has a correlation of 1 there, and nowhere below."""
    generator = np.random.default_rng(0)
    for p, q, refused in [(10, 10, True), (10, 9, False), (19, 1, True), (9, 9, False)]:
        one, other = (generator.normal(size=(20, width)).astype(np.float32) for width in (p, q))
        correlations, *_ = canonical_correlations(whole(one), whole(other))
        assert (correlations[0] > 1 - 1e-5) == refused
        assert bool(refusal(20, p, q)) == refused
    assert "10 + 10 components among 20 sentences" in refusal(20, 10, 10)
    assert refusal(3, 0, 0) == "no components: 3 sentences are too few"


def test_few_sentences_a_component_give_high_correlations_to_noise():
    """Why there is a baseline, and a limit: n = 5 p."""
    generator = np.random.default_rng(1)
    means = []
    for n in (25, 50, 500):
        one, other = (generator.normal(size=(n, 10)).astype(np.float32) for _ in range(2))
        means.append(svcca_pwcca(whole(one), whole(other))[0])
    assert means[0] > 0.5 > means[1] > 0.2 > means[2]


def test_float32_products_stay_near_float64():
    """At 1,000 sentences and 200 components, the largest that is asked for."""
    generator = np.random.default_rng(6)
    shared = generator.normal(size=(1000, 64))
    bases = []
    for _ in range(2):
        view = shared @ generator.normal(size=(64, 256)) + 4 * generator.normal(size=(1000, 256))
        bases.append(principal_components(view.astype(np.float32), everyone(view), 0.99, 200))
    single = svcca_pwcca(*(one.within(np.arange(1000), 200) for one in bases))
    double = [
        Components(one.valid, *np.linalg.qr(one.basis.astype(np.float64)), one.shares)
        for one in bases
    ]
    exact = svcca_pwcca(
        *(
            (two.basis, two.loadings @ one.loadings.astype(np.float64))
            for one, two in zip(bases, double, strict=True)
        )
    )
    assert single == pytest.approx(exact, abs=1e-5)
