"""The bootstrap counts examples as if they were repeated, and its draws are seeded (D12)."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from steplens.ranking.resampled import relabelled_average_precision, resampled_average_precision
from steplens.ranking.scores.ap import average_precision
from steplens.statistics.bootstrap import (
    SentenceDraws,
    centred_interval,
    draw_counts,
    percentile_interval,
)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("ties", [False, True])
def test_weights_equal_repeated_examples(dtype, ties):
    generator = np.random.default_rng(1)
    labels = generator.permutation(np.arange(30) % 3)
    activations = generator.integers(-3, 4, (30, 7)) if ties else generator.normal(size=(30, 7))
    activations = activations.astype(dtype)
    weights = generator.integers(0, 4, (10, 30))
    found = resampled_average_precision(activations, labels, weights, 3)
    for draw, weight in enumerate(weights):
        repeated = np.repeat(np.arange(30), weight)
        expected = average_precision(activations[repeated], labels[repeated], 3)
        np.testing.assert_allclose(found[draw], expected, rtol=0, atol=1e-12)


def test_weights_of_one_equal_the_plain_ap():
    generator = np.random.default_rng(2)
    activations, labels = generator.normal(size=(12, 5)).astype("f4"), np.arange(12) % 2
    found = resampled_average_precision(activations, labels, np.ones((1, 12), int), 2)
    np.testing.assert_allclose(found[0], average_precision(activations, labels), atol=1e-12)


def test_a_class_without_weight_is_nan_and_the_others_are_not():
    labels = np.array([0, 0, 1, 1, 2])
    activations = np.arange(10, dtype=np.float32).reshape(5, 2)
    found = resampled_average_precision(activations, labels, np.array([[1, 2, 0, 0, 1]]), 3)
    np.testing.assert_array_equal(np.isnan(found[0]).all(axis=1), [False, True, False])
    assert np.isfinite(found[0, [0, 2]]).all()


@pytest.mark.parametrize("weight", [3, 300, 70_000])
def test_large_weights_are_counted_in_full(weight):
    """They are kept in one byte where they fit into one."""
    labels, activations = np.array([0, 1, 0, 1]), np.arange(8, dtype="f4").reshape(4, 2)
    weights = np.array([[1, weight, 2, 1]])
    repeated = np.repeat(np.arange(4), weights[0])
    found = resampled_average_precision(activations, labels, weights, 2)
    expected = average_precision(activations[repeated], labels[repeated])
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_and_named(value):
    activations = np.zeros((4, 40), "f2")
    activations[2, 37] = value
    with pytest.raises(ValueError, match=f"got {value} at example 2, neuron 37"):
        resampled_average_precision(activations, np.arange(4) % 2, np.ones((1, 4), int), 2)


def test_negative_weights_are_refused():
    with pytest.raises(ValueError, match="counts, 0 or more, got -1"):
        resampled_average_precision(
            np.zeros((2, 1), "f4"), np.array([0, 1]), np.array([[1, -1]]), 2
        )


@pytest.mark.parametrize("shape", [(5,), (2, 4)])
def test_weights_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"weights: expected \(n_resamples, 5\)"):
        resampled_average_precision(
            np.zeros((5, 1), "f4"), np.array([0, 1, 0, 1, 0]), np.ones(shape, int), 2
        )


def test_each_draw_draws_as_many_as_there_are():
    counts = draw_counts(17, 200, seed=3, stream="deu")
    assert counts.shape == (200, 17)
    assert counts.min() >= 0
    np.testing.assert_array_equal(counts.sum(axis=1), 17)
    # Each utterance is drawn once on average; its mean over 200 draws has s.d. 0.07.
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.35)


def test_draws_repeat_with_the_seed_and_stream_and_differ_with_another():
    draws = draw_counts(17, 50, 3, "deu")
    np.testing.assert_array_equal(draw_counts(17, 50, 3, "deu"), draws)
    for other in (draw_counts(17, 50, 3, "fra"), draw_counts(17, 50, 4, "deu")):
        assert (other != draws).any(axis=1).mean() > 0.9


@pytest.mark.parametrize(("level", "low", "high"), [(0.95, 2.5, 97.5), (0.8, 10, 90)])
def test_the_interval_is_that_of_the_percentiles_without_nan(level, low, high):
    draws = np.random.default_rng(4).normal(size=101)
    found = percentile_interval(np.append(draws, np.nan), level)
    assert found == pytest.approx(tuple(np.percentile(draws, [low, high])), abs=1e-12)


@pytest.mark.parametrize(
    ("draws", "expected"),
    [
        ([1.0, 2.0, np.inf], (1.05, np.inf)),  # linear up to the last finite draw, infinite beyond
        ([*range(100), np.nan], (2.475, 96.525)),
        ([*range(99), np.inf], (2.475, 96.525)),  # an infinite draw out of a hundred is not reached
        ([np.inf] * 3, (np.inf, np.inf)),
        ([1.0, np.inf], (1.0, np.inf)),  # between the two: the outer one
        ([-np.inf, np.inf], (-np.inf, np.inf)),
        ([-np.inf, 0.0, np.inf], (-np.inf, np.inf)),
    ],
)
def test_infinite_draws_count_as_infinite(draws, expected):
    """A ratio to nothing is large, not missing: left out, it would make the interval too low."""
    assert percentile_interval(draws) == pytest.approx(expected)


def test_a_sentence_is_drawn_equally_often_in_every_language():
    draws = SentenceDraws(np.array([7, 3, 9, 3, 7, 40]), 30, seed=5)
    german, japanese = np.array([3, 7, 9]), np.array([40, 9, 3])
    counts = dict(zip(german, draws.of(german).T, strict=True))
    for sentence, drawn in zip(japanese, draws.of(japanese).T, strict=True):
        if sentence in counts:
            np.testing.assert_array_equal(drawn, counts[sentence])
    np.testing.assert_array_equal(draws.of(np.array([3, 7, 9, 40])).sum(1), 4)


def test_without_a_sentence_there_are_no_draws():
    with pytest.raises(ValueError, match="expected at least one sentence id, got none"):
        SentenceDraws(np.array([], int), 3, 1)


def test_a_centred_interval_reaches_to_its_estimate_whatever_a_few_draws_do():
    low, high = centred_interval(np.array([2.3] * 99 + [1e4]), 2.3)
    assert low < high == 2.3


def test_a_sentence_that_is_not_drawn_from_is_refused():
    with pytest.raises(ValueError, match="among the 2 sentences of the draws, got 5"):
        SentenceDraws(np.array([1, 2]), 3, 1).of(np.array([1, 5]))


@pytest.mark.parametrize("draws", [[], [np.nan, np.nan]])
def test_without_draws_there_is_no_interval(draws):
    assert np.isnan(percentile_interval(np.array(draws))).all()


def test_a_centred_interval_keeps_the_spread_and_moves_to_the_estimate():
    """As wide as the percentile interval of the draws, but about the estimate; NaN draws left out."""
    draws = np.random.default_rng(0).normal(5.0, 1.0, 2_000)
    low, high = percentile_interval(draws)
    moved_low, moved_high = centred_interval([*draws, np.nan], 2.0)
    shift = 2.0 - draws.mean()
    assert moved_low == pytest.approx(low + shift)
    assert moved_high == pytest.approx(high + shift)
    assert moved_low < 2.0 < moved_high
    assert np.isnan(centred_interval([np.nan], 2.0)).all()


def labellings_of(generator, n_labellings, n_examples, n_classes):
    """Random ones, with at least one example of each class."""
    labels = np.arange(n_examples) % n_classes
    return np.array([generator.permutation(labels) for _ in range(n_labellings)])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("values", ["distinct", "ties", "constant"])
@pytest.mark.parametrize(("n_examples", "n_classes", "n_labellings"), [(31, 3, 12), (700, 9, 5)])
def test_labellings_side_by_side_equal_one_after_the_other(
    dtype, values, n_examples, n_classes, n_labellings
):
    """To the last bit, with more neurons than one thread takes at a time."""
    generator = np.random.default_rng()
    activations = {
        "distinct": generator.normal(size=(n_examples, 70)),
        "ties": generator.integers(-3, 4, (n_examples, 70)) / 2,  # both zeros among them
        "constant": np.full((n_examples, 70), 1.5),
    }[values].astype(dtype)
    labels = labellings_of(generator, n_labellings, n_examples, n_classes)
    found = relabelled_average_precision(activations, labels, n_classes)
    expected = [average_precision(activations, one, n_classes) for one in labels]
    np.testing.assert_array_equal(found, expected)


def test_labellings_equal_scikit_learn():
    generator = np.random.default_rng()
    activations = np.round(generator.normal(size=(40, 6)), 1).astype("f2")
    labels = labellings_of(generator, 4, 40, 3)
    found = relabelled_average_precision(activations, labels, 3)
    for draw, one in enumerate(labels):
        for c in range(3):
            for neuron, column in enumerate(activations.T):
                expected = average_precision_score(one == c, column)
                assert found[draw, c, neuron] == pytest.approx(expected, abs=1e-12)


def test_no_labelling_gives_no_ap():
    found = relabelled_average_precision(np.ones((4, 3), "f2"), np.empty((0, 4), int), 2)
    assert found.shape == (0, 2, 3)


@pytest.mark.parametrize("shape", [(5,), (2, 4)])
def test_labellings_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"labels: expected \(n_labellings, 5\), got shape"):
        relabelled_average_precision(np.zeros((5, 1), "f4"), np.zeros(shape, int), 2)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[0, 1, 0, 1], [1, 1, 1, 1]], r"class \[0\] is empty"),
        ([[0, 1, 0, 1], [0, 1, 2, 1]], "expected 0 to 1, got 0 to 2"),
        ([[0.0, 1.0, 0.0, 1.0]], "expected integers, got float64"),
    ],
)
def test_a_labelling_that_cannot_be_ranked_is_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        relabelled_average_precision(np.zeros((4, 2), "f4"), np.array(labels), 2)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_under_any_labels_and_named(value):
    activations = np.zeros((4, 40), "f2")
    activations[2, 37] = value
    with pytest.raises(ValueError, match=f"got {value} at example 2, neuron 37"):
        relabelled_average_precision(activations, np.array([[0, 1, 0, 1]] * 3), 2)
