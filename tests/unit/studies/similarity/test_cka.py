"""CKA of all pairs at once is that of the kernel form, and debiased, of the sum over distinct indices."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from math import perm

import numpy as np
import pytest

from steplens.studies.similarity.cka import cka, gram


def by_kernels(one, other):
    """tr(KHLH), Kornblith et al. 2019."""
    n = len(one)
    centring = np.eye(n) - 1 / n
    k, q = (centring @ (view @ view.T) @ centring for view in (one, other))
    return np.trace(k @ q) / np.sqrt(np.trace(k @ k) * np.trace(q @ q))


def unbiased_hsic(k, q):
    """Song et al. 2012: averages of products over i, j, r, s that are all distinct."""
    n = len(k)
    two = sum(k[i, j] * q[i, j] for i, j in itertools.permutations(range(n), 2)) / perm(n, 2)
    three = sum(k[i, j] * q[i, r] for i, j, r in itertools.permutations(range(n), 3)) / perm(n, 3)
    four = sum(k[i, j] * q[r, s] for i, j, r, s in itertools.permutations(range(n), 4)) / perm(n, 4)
    return two + four - 2 * three


def by_distinct_indices(one, other):
    k, q = one @ one.T, other @ other.T
    return unbiased_hsic(k, q) / np.sqrt(unbiased_hsic(k, k) * unbiased_hsic(q, q))


def compare(views_1, views_2, valid_1=None, valid_2=None):
    valid = [
        np.ones(np.shape(views)[:2], dtype=bool) if mask is None else mask
        for views, mask in ((views_1, valid_1), (views_2, valid_2))
    ]
    grams = [
        np.array([gram(np.asarray(view), one) for view, one in zip(views, mask, strict=True)])
        for views, mask in zip((views_1, views_2), valid, strict=True)
    ]
    return cka(*grams, *valid)


def make_views(seed, n_views, n, hidden):
    generator = np.random.default_rng(seed)
    shared = generator.normal(size=(n, 3))
    return [
        shared @ generator.normal(size=(3, hidden)) + generator.normal(size=(n, hidden)) + 4
        for _ in range(n_views)
    ]


@pytest.mark.parametrize("n", [4, 5, 8])
def test_both_forms_equal_the_direct_sums(n):
    one, other = make_views(n, 3, n, 6), make_views(n + 50, 2, n, 9)
    biased, debiased = compare(one, other)
    for (i, x), (j, y) in itertools.product(enumerate(one), enumerate(other)):
        assert biased[i, j] == pytest.approx(by_kernels(x, y), abs=1e-6)
        # Up to the factor 1 / (m (m - 3)), which cancels, the estimator is the sum itself.
        assert debiased[i, j] == pytest.approx(by_distinct_indices(x, y), abs=1e-5)


def test_common_sentences_differ_from_pair_to_pair():
    """Against every pair cut down to what it has in common, and centred anew."""
    generator = np.random.default_rng(8)
    one, other = np.array(make_views(1, 3, 14, 5)), np.array(make_views(2, 2, 14, 7))
    valid_1, valid_2 = generator.random((3, 14)) < 0.7, generator.random((2, 14)) < 0.8
    assert len({tuple(a & b) for a in valid_1 for b in valid_2}) == 6
    spoilt_1, spoilt_2 = one.copy(), other.copy()
    spoilt_1[~valid_1], spoilt_2[~valid_2] = np.nan, 1e6
    biased, debiased = compare(spoilt_1, spoilt_2, valid_1, valid_2)
    for i, j in np.ndindex(3, 2):
        rows = np.flatnonzero(valid_1[i] & valid_2[j])[:9]
        common = valid_1[i] & valid_2[j]
        assert biased[i, j] == pytest.approx(by_kernels(one[i][common], other[j][common]), abs=1e-5)
        assert debiased[i, j] == pytest.approx(
            by_distinct_indices(one[i][common], other[j][common]), abs=1e-5
        )
        assert len(rows) >= 4


def test_threads_change_nothing():
    views = make_views(3, 4, 300, 20)  # 90,000 elements: several blocks
    valid = np.ones((4, 300), dtype=bool)
    grams = np.array([gram(view, mask) for view, mask in zip(views, valid, strict=True)])
    alone = cka(grams, grams, valid, valid)
    with ThreadPoolExecutor(2) as executor:
        together = cka(grams, grams, valid, valid, executor.map)
    for found, expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_float32_gram_matrices_stay_near_float64():
    """Many sentences, and means a hundred times the spread, as residual streams have them."""
    views = [100 + view for view in make_views(4, 3, 400, 64)]
    biased, debiased = compare(views, views)
    for i, j in itertools.combinations(range(3), 2):
        x, y = (views[place] - views[place].mean(0) for place in (i, j))
        assert biased[i, j] == pytest.approx(by_kernels(x, y), abs=2e-6)
        assert debiased[i, j] == pytest.approx(u_centred(x, y), abs=2e-6)


def u_centred(one, other):
    """Székely and Rizzo 2014: the unbiased estimator as an inner product of U-centred matrices."""
    centred = []
    for view in (one, other):
        k = view @ view.T
        np.fill_diagonal(k, 0)
        n = len(k)
        k = k - k.sum(0) / (n - 2) - k.sum(1)[:, None] / (n - 2) + k.sum() / ((n - 1) * (n - 2))
        np.fill_diagonal(k, 0)
        centred.append(k)
    k, q = centred
    return (k * q).sum() / np.sqrt((k * k).sum() * (q * q).sum())


@pytest.mark.parametrize("seed", range(3))
def test_invariances(seed):
    """Orthogonal maps, isotropic scaling, shifts; not linear maps."""
    one, other = make_views(seed, 1, 12, 6), make_views(seed + 9, 1, 12, 6)
    generator = np.random.default_rng(seed)
    orthogonal, _ = np.linalg.qr(generator.normal(size=(6, 6)))
    linear = generator.normal(size=(6, 6)) * [9, 1, 1, 1, 1, 0.1]
    before = compare(one, other)
    for changed in (other[0] @ orthogonal, 1e3 * other[0], other[0] + 50):
        for found, expected in zip(compare(one, [changed]), before, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-5)
    for found, expected in zip(compare(one, [other[0] @ linear]), before, strict=True):
        assert abs(found - expected).max() > 1e-2


def test_symmetry_and_identity():
    views = make_views(6, 4, 30, 8)
    for found in compare(views, views):
        np.testing.assert_allclose(found, found.T, atol=1e-6)
        np.testing.assert_allclose(found.diagonal(), 1, atol=1e-6)


def test_independent_views_are_near_zero_debiased_where_biased_is_near_one():
    generator = np.random.default_rng(7)
    views = generator.normal(size=(12, 40, 2000))
    biased, debiased = (found[np.triu_indices(12, 1)] for found in compare(views, views))
    assert biased.min() > 0.9
    assert abs(debiased).max() < 0.15
    assert abs(debiased.mean()) < 0.01
    assert debiased.min() < 0  # unbiased: on either side of 0


def test_too_few_sentences_or_no_variance_over_them_have_no_value():
    views = np.array(make_views(5, 2, 12, 4))
    views[1, :6] = views[1, 0]  # constant over the first six
    first = np.arange(12) < 6
    everyone = np.ones(12, dtype=bool)
    for masks, known in [
        ([everyone, np.arange(12) > 8], False),  # three sentences
        ([first, everyone], False),  # six equal ones
        ([everyone, everyone], True),
    ]:
        found = compare(views[:1], views[1:], np.array(masks[:1]), np.array(masks[1:]))
        assert [bool(np.isfinite(one[0, 0])) for one in found] == [known, known]


def test_a_constant_view_is_an_error():
    with pytest.raises(ValueError, match="expected rows that differ, got 5 equal ones"):
        gram(np.full((5, 3), 0.1), np.ones(5, dtype=bool))
