"""AP, medians and their bootstrap on any input: against scikit-learn, NumPy and exact fractions (D5)."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_stores import NEURONS, write_store
from property_settings import examples
from sklearn.metrics import average_precision_score
from slow_statistics import slow_ap, slow_separation

from steplens.comparison.compare_step import resampled_pairs
from steplens.ranking.resampled import resampled_average_precision
from steplens.ranking.scores.ap import average_precision, rank
from steplens.ranking.table import open_condition
from steplens.settings import Selection
from steplens.statistics.bootstrap import centred_interval, draw_counts, percentile_interval

DTYPES = (np.float16, np.float32)


def special(dtype):
    """Values that break sorts: the largest, the smallest, neighbours, both zeros."""
    info, one = np.finfo(dtype), dtype(1)
    positive = [info.max, info.tiny, info.smallest_subnormal, info.eps, one, np.nextafter(one, 2)]
    positive += [np.nextafter(info.max, dtype(0)), np.nextafter(info.tiny, dtype(0))]
    return [dtype(sign * value) for value in (0.0, *positive) for sign in (1, -1)]


@st.composite
def ranked(draw, max_neurons=3, max_classes=4):
    """(activations, labels, n_classes): ties from a handful of values, or any floats; tiny classes."""
    dtype = draw(st.sampled_from(DTYPES))
    n_classes = draw(st.integers(1, max_classes))
    more = draw(st.lists(st.integers(0, n_classes - 1), max_size=12))
    labels = np.array(draw(st.permutations([*range(n_classes), *more])))
    values = draw(
        st.sampled_from(
            [
                st.sampled_from(special(dtype)),
                st.sampled_from(special(dtype)[:3]),
                st.just(draw(st.sampled_from(special(dtype)))),  # constant
                st.floats(allow_nan=False, allow_infinity=False, width=np.finfo(dtype).bits),
            ]
        )
    )
    shape = (len(labels), draw(st.integers(1, max_neurons)))
    return draw(arrays(dtype, shape, elements=values, fill=st.nothing())), labels, n_classes


def exact_ap(values, positive):
    """The definition in fractions: precision at every value, weighted by the recall that it adds."""
    total, found = int(positive.sum()), Fraction(0)
    for threshold in set(values.tolist()):
        at, not_below = positive & (values == threshold), values >= threshold
        precision = Fraction(int((positive & not_below).sum()), int(not_below.sum()))
        found += precision * Fraction(int(at.sum()), total)
    return float(found)


@examples(40)
@given(ranked())
def test_ap_and_medians_are_those_of_scikit_learn_numpy_and_the_definition(given_):
    activations, labels, n_classes = given_
    ap, medians = rank(activations, labels, n_classes)
    doubles = activations.astype(np.float64)
    for c in range(n_classes):
        for j, values in enumerate(doubles.T):
            assert ap[c, j] == pytest.approx(exact_ap(values, labels == c), abs=1e-12)
            expected = average_precision_score(labels == c, values)
            assert ap[c, j] == pytest.approx(expected, abs=1e-12)
            assert medians[c, j] == np.median(values[labels == c]).astype(np.float32)


@examples(60)
@given(st.sampled_from(DTYPES), st.integers(2, 200), st.data())
def test_one_positive_has_the_precision_at_its_place(dtype, n, data):
    """AP is 1 / the number of examples that are not below it."""
    at = data.draw(st.integers(0, n - 1))
    values = np.array(data.draw(st.lists(st.sampled_from(special(dtype)), min_size=n, max_size=n)))
    labels = (np.arange(n) == at).astype(int)
    ap = average_precision(values[:, None].astype(dtype), labels)
    assert ap[1, 0] == pytest.approx(1 / (values >= values[at]).sum(), rel=1e-14)


@examples(60)
@given(ranked())
def test_ap_lies_between_the_worst_order_and_one(given_):
    activations, labels, n_classes = given_
    n = len(labels)
    for c, row in enumerate(average_precision(activations, labels, n_classes)):
        m = int((labels == c).sum())
        worst = np.mean([i / (n - m + i) for i in range(1, m + 1)])
        assert (row >= worst - 1e-12).all()
        assert (row <= 1 + 1e-12).all()
        constant = (activations == activations[:1]).all(axis=0)
        np.testing.assert_allclose(row[constant], m / n, rtol=1e-14)


@examples(60)
@given(ranked(), st.sampled_from([np.arctan, np.cbrt, lambda x: x**3 + x, lambda x: 5 * x - 7]))
def test_a_strictly_increasing_map_changes_no_ap_to_the_bit(given_, increasing):
    """Of the values' places, so that what was distinct stays distinct."""
    activations, labels, n_classes = given_
    distinct, place = np.unique(activations, return_inverse=True)
    mapped = increasing(np.arange(len(distinct)) - len(distinct) / 2).astype(np.float32)
    assert len(np.unique(mapped)) == len(distinct)
    np.testing.assert_array_equal(
        average_precision(mapped[place].reshape(activations.shape), labels, n_classes),
        average_precision(activations, labels, n_classes),
    )


@examples(60)
@given(ranked(), st.integers(-8, 8))
def test_a_power_of_two_scales_medians_and_leaves_ap(given_, power):
    activations, labels, n_classes = given_
    with np.errstate(over="ignore"):  # in float32, where no float16 overflows or is rounded
        plain = activations.astype(np.float16).astype(np.float32)
    plain[~np.isfinite(plain)] = 0
    scaled = np.ldexp(plain, power)
    ap, medians = rank(plain, labels, n_classes)
    scaled_ap, scaled_medians = rank(scaled, labels, n_classes)
    np.testing.assert_array_equal(scaled_ap, ap)
    np.testing.assert_array_equal(scaled_medians, np.ldexp(medians, power))


@examples(60)
@given(ranked(), st.randoms(use_true_random=False))
def test_the_order_of_examples_and_the_names_of_classes_change_nothing(given_, random):
    activations, labels, n_classes = given_
    order = random.sample(range(len(labels)), len(labels))
    names = np.array(random.sample(range(n_classes), n_classes))
    ap, medians = rank(activations, labels, n_classes)
    other_ap, other_medians = rank(activations[order], names[labels[order]], n_classes)
    np.testing.assert_array_equal(other_ap[names], ap)
    np.testing.assert_array_equal(other_medians[names], medians)


@examples(60)
@given(ranked(), st.randoms(use_true_random=False))
def test_both_zeros_are_one_value(given_, random):
    activations, labels, n_classes = given_
    swapped = activations.copy()
    zeros = np.flatnonzero(swapped == 0)
    swapped.flat[zeros] *= [random.choice([-1, 1]) for _ in zeros]
    for one, other in zip(
        rank(swapped, labels, n_classes), rank(activations, labels, n_classes), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@examples(40)
@given(ranked(max_neurons=80), st.lists(st.integers(0, 80), max_size=4))
def test_blocks_of_columns_are_ranked_as_the_whole(given_, cuts):
    """Wherever the columns are cut, a kernel's own blocks of 32 included."""
    activations, labels, n_classes = given_
    whole = rank(activations, labels, n_classes)
    parts = [part for part in np.split(activations, sorted(cuts), axis=1) if part.shape[1]]
    blocks = [rank(part, labels, n_classes) for part in parts]
    for expected, found in zip(whole, zip(*blocks, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(found, axis=1), expected)


@examples(25)
@given(ranked(), st.data())
def test_weights_are_scikit_learns_and_zero_takes_an_example_out(given_, data):
    """Halves are weights of 0 and 1, the bootstrap's are counts."""
    activations, labels, n_classes = given_
    most = data.draw(st.sampled_from([1, 4]))
    weights = data.draw(arrays(np.int64, (2, len(labels)), elements=st.integers(0, most)))
    found = resampled_average_precision(activations, labels, weights, n_classes)
    for weight, by_class in zip(weights, found, strict=True):
        for c, row in enumerate(by_class):
            if not weight[labels == c].any():
                assert np.isnan(row).all()
                continue
            kept = weight > 0
            expected = [
                average_precision_score(labels[kept] == c, values, sample_weight=weight[kept])
                for values in activations[kept].astype(np.float64).T
            ]
            np.testing.assert_allclose(row, expected, rtol=0, atol=1e-12)


@examples(60)
@given(
    st.lists(st.floats(-1e6, 1e6) | st.sampled_from([np.nan, 0.5]), max_size=40),
    st.floats(-10, 10),
)
def test_intervals_are_percentiles_of_what_is_finite_and_centred_ones_as_wide(draws, estimate):
    known = sorted(one for one in draws if np.isfinite(one))
    low, high = percentile_interval(np.array(draws))
    centred = centred_interval(np.array(draws), estimate)
    if not known:
        assert np.isnan([low, high, *centred]).all()
        return

    def percentile(share):  # linear between the order statistics
        place = share * (len(known) - 1)
        below = int(place)
        above = min(below + 1, len(known) - 1)
        return known[below] + (place - below) * (known[above] - known[below])

    scale = 1 + max(map(abs, known))
    assert (low, high) == pytest.approx((percentile(0.025), percentile(0.975)), abs=1e-9 * scale)
    assert centred[1] - centred[0] == pytest.approx(high - low, abs=1e-9 * scale)
    assert np.mean(centred) - estimate == pytest.approx(
        (low + high) / 2 - np.mean(known), abs=1e-9 * scale
    )


# Some sentences stand in both languages, some in one.
IDS = {"deu": np.arange(0, 22, 2).tolist(), "jpn": np.arange(5, 16).tolist()}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_resample_of_two_conditions_is_that_of_scikit_learn_on_repeated_utterances(
    tmp_path, seed
):
    """One draw of sentence ids serves both languages, speech and text, valid in either or not."""
    generator = np.random.default_rng(seed)
    few, n, stores, kept = NEURONS[:9], 11, {}, {}
    for modality in ("speech", "text"):
        stores[modality] = {}
        for language in ("deu", "jpn"):
            values = generator.integers(-3, 4, (n, len(few))).astype(np.float16)
            valid = generator.random(n) < 0.8
            path = tmp_path / modality / f"{language}.zarr"
            write_store(path, values, valid, IDS[language], few)
            stores[modality][language] = path
            kept[modality, language] = values.astype(np.float64), valid
    conditions = [open_condition(stores[modality], True) for modality in stores]
    pairs = list(resampled_pairs(*conditions, Selection(), n_resamples=5, seed=seed))
    known = sorted({*IDS["deu"], *IDS["jpn"]})
    drawn = draw_counts(len(known), 5, seed, "sentences")
    counts = {
        language: np.array([[row[known.index(one)] for one in IDS[language]] for row in drawn])
        for language in IDS
    }
    assert len(pairs) == 5
    for draw, pair in enumerate(pairs):
        for modality, found in zip(stores, pair, strict=True):
            rows = []
            for language in ("deu", "jpn"):
                values, valid = kept[modality, language]
                rows.append(np.repeat(values, counts[language][draw] * valid, axis=0))
            labels = np.repeat([0, 1], [len(part) for part in rows])
            values = np.concatenate(rows)
            np.testing.assert_allclose(found.ap, slow_ap(values, labels, 2), rtol=0, atol=1e-6)
            np.testing.assert_allclose(
                found.tiebreak, slow_separation(values, labels, 2), rtol=1e-5, atol=1e-6
            )  # float32
