"""The standardised difference of means, which orders neurons of equal AP."""

import numpy as np
import pytest
from slow_statistics import slow_separation

from steplens.ranking.resampled import resampled_average_precision
from steplens.ranking.separation import relabelled_separation, resampled_separation, separation


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_is_the_textbooks_on_random_input(dtype, seed):
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(3), generator.integers(0, 3, 40)])
    values = generator.normal(generator.normal(0, 50, 37), generator.uniform(0.01, 9, 37), (43, 37))
    values = (values + labels[:, None] * generator.normal(0, 2, 37)).astype(dtype)
    np.testing.assert_allclose(
        separation(values, labels), slow_separation(values, labels, 3), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_a_weighted_one_is_that_of_the_repeated_examples(seed):
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(4), 9)
    values = generator.normal(3, 1, (36, 11)).astype(np.float16)
    weights = generator.multinomial(36, np.full(36, 1 / 36), size=6)
    found = resampled_separation(values, labels, weights, 4)
    for draw, weight in enumerate(weights):
        repeated = np.repeat(np.arange(36), weight)
        expected = slow_separation(values[repeated], labels[repeated], 4)
        np.testing.assert_allclose(found[draw], expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("seed", [1, 2])
def test_many_labellings_at_once_are_each_as_if_alone(seed):
    generator = np.random.default_rng(seed)
    values = generator.normal(3, 1, (30, 11)).astype(np.float32)
    labels = np.array([generator.permutation(np.repeat(np.arange(3), 10)) for _ in range(5)])
    found = relabelled_separation(values, labels, 3)
    np.testing.assert_array_equal(found, [separation(values, one) for one in labels])


def test_what_does_not_vary_is_infinitely_far_apart_and_equals_are_not():
    values = np.array([[1.1, 2.2, 0.1], [1.1, 2.2, 0.3], [0.7, 2.2, 0.1], [0.7, 2.2, 0.3]], "f4")
    found = separation(values, np.array([0, 0, 1, 1]))
    np.testing.assert_array_equal(found, [[np.inf, 0, 0], [-np.inf, 0, 0]])


def test_one_class_alone_has_nothing_to_differ_from():
    assert not separation(np.ones((3, 2), "f4"), np.zeros(3, int)).any()


def test_equal_neurons_are_equal_to_the_last_bit_wherever_they_stand():
    generator = np.random.default_rng(5)
    column = generator.normal(size=50).astype(np.float16)
    found = separation(np.tile(column[:, None], 5000), np.arange(50) % 5)
    assert (found == found[:, :1]).all()


def test_nan_is_refused_by_its_place():
    values = np.zeros((4, 3), "f4")
    values[2, 1] = np.nan
    with pytest.raises(ValueError, match="got nan at example 2, neuron 1"):
        separation(values, np.array([0, 1, 0, 1]))


def test_two_examples_leave_nothing_to_vary_within():
    assert separation(np.array([[1.0, 2.0], [0.0, 2.0]], "f4"), np.array([0, 1])).tolist() == [
        [np.inf, 0.0],
        [-np.inf, 0.0],
    ]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones((1, 1), int), r"expected \(n_resamples, 4\), got shape \(1, 1\)"),
        (np.ones(4, int), r"expected \(n_resamples, 4\), got shape \(4,\)"),
        (-np.ones((1, 4), int), "expected counts, 0 or more, got -1"),
        (np.full((1, 4), np.nan), "expected integers, got float64"),
    ],
)
@pytest.mark.parametrize("statistic", [resampled_separation, resampled_average_precision])
def test_weights_that_are_no_counts_are_refused(statistic, weights, message):
    with pytest.raises(ValueError, match=message):
        statistic(np.ones((4, 2), "f4"), np.array([0, 0, 1, 1]), weights, 2)
