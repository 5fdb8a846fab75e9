"""Overlaps, ratios, permutations and correlations equal their definitions, spelled out (D6, D7)."""

import itertools
import math
import warnings

import numpy as np
import pytest
import scipy.stats

from steplens.comparison.measures import (
    diagonal_concentration,
    diagonal_ratio,
    overlap_matrix,
    permutation_p,
    shared_neurons,
    spearman_matrix,
)
from steplens.ranking.selection import bottom_k, top_k


def tied_ap(seed, shape=(4, 60)):
    """AP values with many ties."""
    return np.random.default_rng(seed).integers(1, 9, shape) / 8


def slow_top(row, k):
    return [column for _, column in sorted((-ap, column) for column, ap in enumerate(row))][:k]


@pytest.mark.parametrize("k", [1, 7, 30, 60])
def test_top_and_bottom_k_order_ties_by_column(k):
    ap = tied_ap(1)
    assert top_k(ap, k).tolist() == [slow_top(row, k) for row in ap]
    assert bottom_k(ap, k).tolist() == [slow_top(-row, k) for row in ap]
    assert top_k(ap[0], k).tolist() == slow_top(ap[0], k)


@pytest.mark.parametrize("k", [-1, 0, 61])
@pytest.mark.parametrize("select", [top_k, bottom_k, lambda ap, k: overlap_matrix(ap, ap, k)])
def test_k_out_of_range_is_refused(select, k):
    with pytest.raises(ValueError, match=rf"k: expected 1 to 60 .* got {k}"):
        select(tied_ap(1), k)


@pytest.mark.parametrize("k", [1, 5, 20, 60])
def test_overlap_counts_shared_members_of_python_sets(k):
    speech, text = tied_ap(2), tied_ap(3)
    expected = [
        [len(set(slow_top(one, k)) & set(slow_top(other, k))) for other in text] for one in speech
    ]
    found = overlap_matrix(speech, text, k)
    assert found.tolist() == expected
    assert np.issubdtype(found.dtype, np.integer)


def test_overlap_of_equal_rankings_has_k_on_the_diagonal():
    ap = tied_ap(4)
    assert (np.diag(overlap_matrix(ap, ap, 13)) == 13).all()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_diagonal_ratio_is_one_for_identity_and_chance_for_uniform(n):
    assert diagonal_ratio(10 * np.eye(n, dtype=int)) == 1
    assert diagonal_ratio(np.full((n, n), 3)) == pytest.approx(1 / n)


def test_diagonal_ratio_of_no_overlap_is_nan():
    assert math.isnan(diagonal_ratio(np.zeros((3, 3), int)))


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("kind", ["counts", "floats"])
def test_permutation_p_is_the_share_of_matchings_that_reach_the_trace(n, kind):
    generator = np.random.default_rng(n)
    for _ in range(5):
        whole = generator.integers(0, 4, (n, n))  # small counts: ties between matchings
        traces = [
            sum(whole[i][j] for i, j in enumerate(p)) for p in itertools.permutations(range(n))
        ]
        expected = sum(trace >= whole.trace() for trace in traces) / math.factorial(n)
        # Tenths sum to slightly other floats in another order; equal sums must still count as equal.
        matrix = whole if kind == "counts" else whole * 0.1
        assert permutation_p(matrix) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 7])
def test_the_lowest_p_is_one_over_n_factorial(n):
    assert permutation_p(np.eye(n)) == pytest.approx(1 / math.factorial(n), rel=1e-12)


def test_without_preference_p_is_one():
    assert permutation_p(np.full((5, 5), 0.1)) == 1


def test_past_eight_languages_p_is_drawn_with_the_seed():
    """One cell counts: a random matching of nine languages holds it with probability 1/9."""
    matrix = np.zeros((9, 9))
    matrix[4, 4] = 1
    p = permutation_p(matrix, seed=5)
    assert p == permutation_p(matrix, seed=5)
    assert p != permutation_p(matrix, seed=6)
    assert p == pytest.approx(1 / 9, abs=5 * math.sqrt(1 / 9 * 8 / 9 / 100_000))


def test_past_eight_languages_p_is_never_zero():
    assert 1 / 100_001 <= permutation_p(np.eye(9)) < 1e-4


@pytest.mark.parametrize("values", ["ties", "floats"])
def test_spearman_equals_scipy(values):
    generator = np.random.default_rng(8)
    speech, text = (tied_ap(6), tied_ap(7)) if values == "ties" else generator.random((2, 4, 60))
    expected = [[scipy.stats.spearmanr(one, other).statistic for other in text] for one in speech]
    np.testing.assert_allclose(spearman_matrix(speech, text), expected, rtol=0, atol=1e-12)


def test_spearman_is_one_with_itself_and_minus_one_reversed():
    ap = np.random.default_rng(9).random((3, 40))
    np.testing.assert_allclose(np.diag(spearman_matrix(ap, ap**3)), 1, rtol=1e-12)
    np.testing.assert_allclose(np.diag(spearman_matrix(ap, -ap)), -1, rtol=1e-12)


def test_spearman_of_a_constant_is_nan():
    ap = np.random.default_rng(10).random((2, 10))
    flat = ap.copy()
    flat[1] = 0.5
    np.testing.assert_array_equal(
        np.isnan(spearman_matrix(flat, ap)), [[False, False], [True, True]]
    )


def test_diagonal_concentration_is_trace_over_sum_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert diagonal_concentration([[0.6, 0.1], [0.2, 0.3]]) == pytest.approx(0.9 / 1.2)
        assert math.isnan(diagonal_concentration(np.zeros((2, 2))))


def test_diagonal_concentration_warns_of_negative_correlations():
    with pytest.warns(UserWarning, match="some correlations are negative"):
        assert diagonal_concentration([[0.5, -0.1], [0.1, 0.5]]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("speech", "text", "message"),
    [
        (np.ones((2, 5)), np.ones((3, 5)), r"got \(2, 5\) and \(3, 5\)"),
        (np.ones((2, 5)), np.ones((2, 6)), r"got \(2, 5\) and \(2, 6\)"),
        (np.ones(5), np.ones(5), r"got \(5,\) and \(5,\)"),
        (np.full((2, 5), np.nan), np.ones((2, 5)), "expected finite values"),
        (np.ones((2, 5)), np.full((2, 5), np.inf), "expected finite values"),
    ],
)
@pytest.mark.parametrize("compare", [lambda a, b: overlap_matrix(a, b, 2), spearman_matrix])
def test_ap_of_another_shape_or_not_finite_is_refused(compare, speech, text, message):
    with pytest.raises(ValueError, match=message):
        compare(speech, text)


@pytest.mark.parametrize("matrix", [np.ones((2, 3)), np.ones(4), np.ones((0, 0))])
@pytest.mark.parametrize("measure", [diagonal_ratio, permutation_p, diagonal_concentration])
def test_a_matrix_that_is_not_square_is_refused(measure, matrix):
    with pytest.raises(ValueError, match=r"matrix: expected \(n_languages, n_languages\)"):
        measure(matrix)


def test_p_of_a_matrix_with_nan_is_nan():
    assert math.isnan(permutation_p(np.array([[math.nan, 1], [1, 1]])))


def test_sets_of_neurons_are_rows():
    with pytest.raises(
        ValueError, match=r"expected two arrays \(n_languages, k\), got shapes \(3,\)"
    ):
        shared_neurons(np.arange(3), np.arange(3))
