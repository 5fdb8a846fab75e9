"""Overlap, ratio, permutation p, Spearman, concentration and effect ratios on any input (D6, D7, D11)."""

import itertools
import math
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from property_settings import examples

from steplens.comparison.measures import (
    diagonal_concentration,
    diagonal_ratio,
    overlap_matrix,
    permutation_p,
    spearman_matrix,
)
from steplens.control import effect_ratios

FEW = st.sampled_from([0.1, 0.2, 0.25, 0.5, 1.0])  # AP with heavy ties


@st.composite
def counts(draw, least=2, most=6):
    """Overlap matrices of small counts, so that matchings tie."""
    n = draw(st.integers(least, most))
    return draw(arrays(np.int64, (n, n), elements=st.integers(0, 3)))


UNITS = st.sampled_from(
    [1, 0.1, 1e-12, 1e12]
)  # times a tenth, equal sums differ in their last bits


@st.composite
def ap_pairs(draw, elements=FEW):
    """AP of speech and of text: (n_languages, n_neurons) each."""
    shape = (draw(st.integers(1, 5)), draw(st.integers(2, 25)))
    return [draw(arrays(np.float64, shape, elements=elements)) for _ in range(2)]


@examples(80)
@given(counts(), UNITS)
def test_p_is_the_share_of_all_matchings_that_reach_the_trace(matrix, unit):
    n = len(matrix)
    traces = [sum(matrix[i, j] for i, j in enumerate(p)) for p in itertools.permutations(range(n))]
    p = permutation_p(matrix * unit)
    reached = sum(trace >= matrix.trace() for trace in traces)
    assert p == pytest.approx(reached / math.factorial(n), rel=1e-12)
    assert 1 / math.factorial(n) - 1e-12 <= p <= 1


@examples(60)
@given(counts(), UNITS, st.randoms(use_true_random=False))
def test_p_and_ratio_do_not_depend_on_the_order_of_languages_nor_on_the_unit(matrix, unit, random):
    order = random.sample(range(len(matrix)), len(matrix))
    for other in (matrix[np.ix_(order, order)], matrix.T, unit * matrix):
        assert permutation_p(other) == pytest.approx(permutation_p(matrix), rel=1e-12)
        assert diagonal_ratio(other) == pytest.approx(diagonal_ratio(matrix), nan_ok=True)


@pytest.mark.parametrize("n", range(2, 9))
def test_p_of_the_identity_is_the_lowest_that_there_is(n):
    assert permutation_p(np.eye(n, dtype=int)) == pytest.approx(1 / math.factorial(n), rel=1e-12)
    assert permutation_p(np.eye(n)[::-1]) == pytest.approx(
        1.0 if n % 2 == 0 else _reaching_middle(n), rel=1e-12
    )


def _reaching_middle(n):
    """Share of matchings that share at least one place with the reverse, for odd n with trace 1."""
    none = sum((-1) ** i / math.factorial(i) for i in range(n + 1))
    return 1 - none


@examples(60)
@given(counts(least=1))
def test_the_diagonal_ratio_is_a_share(matrix):
    ratio = diagonal_ratio(matrix)
    assert math.isnan(ratio) == (not matrix.any())
    if matrix.any():
        assert 0 <= ratio <= 1
        of_each = [matrix[p, range(len(matrix))].sum() / matrix.sum() for p in _latin(len(matrix))]
        assert sum(of_each) == pytest.approx(1)  # 1 / n on average over the shifts of languages
        assert of_each[0] == pytest.approx(ratio)


def _latin(n):
    return [[(i + shift) % n for i in range(n)] for shift in range(n)]


@examples(80)
@given(ap_pairs(), st.data())
def test_overlap_counts_sets_and_has_their_symmetries(pair, data):
    speech, text = pair
    n, n_neurons = speech.shape
    k = data.draw(st.integers(1, n_neurons))

    def tops(ap):
        return [set(sorted(range(n_neurons), key=lambda j: (-row[j], j))[:k]) for row in ap]

    found = overlap_matrix(speech, text, k)
    assert found.tolist() == [[len(a & b) for b in tops(text)] for a in tops(speech)]
    np.testing.assert_array_equal(overlap_matrix(text, speech, k), found.T)
    assert (np.diag(overlap_matrix(speech, speech, k)) == k).all()
    assert found.min() >= max(0, 2 * k - n_neurons)
    assert found.max() <= k
    # A neuron counts in a row at most once for each text language that has it.
    assert (found.sum(1) <= n * k).all()
    union = [len(set().union(*tops(text)) & top) for top in tops(speech)]
    assert (found.sum(1) >= union).all()
    order = data.draw(st.permutations(range(n)))
    np.testing.assert_array_equal(
        overlap_matrix(speech[order], text[order], k), found[np.ix_(order, order)]
    )


@examples(60)
@given(ap_pairs(st.integers(0, 2**20).map(float)), st.data())
def test_overlap_does_not_depend_on_the_order_of_neurons_without_ties(pair, data):
    speech, text = (ap + np.arange(ap.shape[1]) / 64 for ap in pair)
    k = data.draw(st.integers(1, speech.shape[1]))
    order = data.draw(st.permutations(range(speech.shape[1])))
    distinct = all(len(set(row)) == len(row) for ap in (speech, text) for row in ap.tolist())
    if distinct:
        np.testing.assert_array_equal(
            overlap_matrix(speech[:, order], text[:, order], k), overlap_matrix(speech, text, k)
        )


@examples(60)
@given(ap_pairs(st.one_of(FEW, st.floats(0, 1))))
def test_spearman_is_scipys_and_nan_for_a_constant(pair):
    """With all AP of a language equal there are no ranks to correlate: NaN, as in SciPy."""
    speech, text = pair
    found = spearman_matrix(speech, text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.ConstantInputWarning)
        expected = [
            [scipy.stats.spearmanr(one, other).statistic for other in text] for one in speech
        ]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    constant = [(ap == ap[:, :1]).all(axis=1) for ap in pair]
    np.testing.assert_array_equal(np.isnan(found), constant[0][:, None] | constant[1][None])
    np.testing.assert_allclose(spearman_matrix(text, speech), found.T, rtol=0, atol=1e-12)
    known = found[np.isfinite(found)]
    assert ((known >= -1) & (known <= 1)).all()


@examples(40)
@given(ap_pairs(), st.integers(1, 5))
def test_spearman_sees_ranks_alone(pair, power):
    speech, text = pair
    np.testing.assert_allclose(
        spearman_matrix(speech**power, text), spearman_matrix(speech, text), rtol=0, atol=1e-12
    )


@examples(80)
@given(arrays(np.float64, st.integers(1, 5).map(lambda n: (n, n)), elements=st.floats(-1, 1)))
def test_concentration_warns_exactly_where_a_correlation_is_negative(matrix):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = diagonal_concentration(matrix)
    assert len(caught) == int((matrix < 0).any())
    total = matrix.sum()
    expected = np.trace(matrix) / total if total else math.nan
    assert found == pytest.approx(expected, nan_ok=True)
    if (matrix >= 0).all() and matrix.any() and total > 1e-300:
        assert -1e-12 <= found <= 1 + 1e-12


CODES = ("deu", "fra", "jpn")
CONDITIONS = list(itertools.product(CODES, CODES, (1, 6), ("asr", "tr", "s2t")))


@examples(60)
@given(
    st.dictionaries(st.sampled_from(CONDITIONS), st.sampled_from([0, 0.05, 0.1, 0.5, 1, math.nan]))
)
def test_effect_ratios_are_those_of_a_plain_loop(rates):
    frame = pd.DataFrame(
        [(*key, rate) for key, rate in rates.items()],
        columns=["source", "target", "step", "task", "rate"],
    )
    found = effect_ratios(frame, 0.10)
    expected = {}
    for (source, target, step, task), asr in rates.items():
        tr = rates.get((source, target, step, "tr"), math.nan)
        if task == "asr" and asr >= 0.10 and not math.isnan(tr):
            expected[source, target, step] = (asr, tr, tr / asr)
    got = {
        (row.source, row.target, row.step): (row.asr, row.tr, row.ratio)
        for row in found.itertuples()
    }
    assert got == expected
    assert found["step"].is_monotonic_increasing
