"""AP equals scikit-learn's and medians equal NumPy's, one neuron at a time (D5)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numba import config, get_num_threads
from sklearn.metrics import average_precision_score

from steplens.ranking.scores.ap import average_precision, rank, use_threads

DTYPES = [np.float16, np.float32]


def slow_average_precision(activations, labels, n_classes):
    columns = activations.astype(np.float64).T
    return np.array(
        [
            [average_precision_score(labels == c, column) for column in columns]
            for c in range(n_classes)
        ]
    )


def slow_medians(activations, labels, n_classes):
    doubles = activations.astype(np.float64)
    medians = [np.median(doubles[labels == c], axis=0) for c in range(n_classes)]
    return np.array(medians).astype(np.float32)


def assert_as_slow(activations, labels, n_classes):
    ap, medians = rank(activations, labels, n_classes)
    expected = slow_average_precision(activations, labels, n_classes)
    np.testing.assert_allclose(ap, expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(medians, slow_medians(activations, labels, n_classes))


def _normal(generator, shape, _dtype):
    return generator.normal(size=shape)


def _heavy_ties(generator, shape, _dtype):
    return generator.integers(-1, 2, shape)


def _both_zeros(generator, shape, _dtype):
    return generator.choice([-0.0, 0.0, 1.0, -1.0], shape, p=[0.4, 0.4, 0.1, 0.1])


def _subnormal(generator, shape, dtype):
    return generator.integers(-3, 4, shape) * np.finfo(dtype).smallest_subnormal


def _extreme(generator, shape, dtype):
    info = np.finfo(dtype)
    return generator.choice([info.max, info.min, info.tiny, -info.tiny, 0.0, 1.0], shape)


def _constant(_generator, shape, _dtype):
    return np.full(shape, -0.5)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "values", [_normal, _heavy_ties, _both_zeros, _subnormal, _extreme, _constant]
)
def test_ap_and_medians_equal_the_slow_ones(values, dtype):
    """Ties, both zeros, subnormals and the largest floats included; more neurons than one block."""
    generator = np.random.default_rng(7)
    labels = generator.permutation(np.arange(61) % 4)
    activations = np.asarray(values(generator, (61, 40), dtype), dtype=dtype)
    assert_as_slow(activations, labels, 4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_classes_of_one_example_are_ranked(dtype):
    generator = np.random.default_rng(8)
    labels = generator.permutation([0, 1] + [2] * 30)
    assert_as_slow(generator.integers(-4, 5, (32, 9)).astype(dtype), labels, 3)


def test_one_class_alone_has_ap_one():
    activations = np.random.default_rng(9).normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_array_equal(average_precision(activations, np.zeros(5, int)), np.ones((1, 3)))


def test_closed_forms_best_worst_and_all_tied():
    """Positives first: 1. Positives last of n: the mean of i / (n - m + i). All tied: m / n."""
    labels = np.array([0, 0, 1, 1, 1])
    activations = np.array([[5, 4, 3, 2, 1], [1, 2, 3, 4, 5], [0] * 5], dtype=np.float32).T
    expected = [1.0, (1 / 4 + 2 / 5) / 2, 2 / 5]
    np.testing.assert_allclose(average_precision(activations, labels)[0], expected, rtol=1e-15)


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.int64, np.uint8, np.uint64])
def test_labels_may_be_of_any_integer_type(kind):
    activations = np.random.default_rng(10).normal(size=(12, 4)).astype(np.float32)
    labels = np.arange(12) % 3
    expected = average_precision(activations, labels)
    np.testing.assert_array_equal(average_precision(activations, labels.astype(kind)), expected)


@pytest.mark.parametrize("view", [np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2]])
def test_memory_layout_does_not_matter_and_the_input_stays(view):
    activations = np.random.default_rng(11).normal(size=(20, 6)).astype(np.float16)
    labels = np.arange(20) % 2
    viewed = view(activations)
    np.testing.assert_array_equal(
        average_precision(viewed, labels), average_precision(activations, labels)
    )
    np.testing.assert_array_equal(viewed, activations)


def test_order_of_examples_does_not_matter():
    generator = np.random.default_rng(12)
    activations = generator.integers(-5, 6, (50, 8)).astype(np.float32)
    labels = generator.permutation(np.arange(50) % 3)
    order = generator.permutation(50)
    for one, other in zip(
        rank(activations, labels), rank(activations[order], labels[order]), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@st.composite
def _ranked(draw):
    """(activations, labels, n_classes) with every class there and any finite floats."""
    n_classes = draw(st.integers(1, 4))
    extra = draw(st.lists(st.integers(0, n_classes - 1), max_size=8))
    labels = np.array(draw(st.permutations([*range(n_classes), *extra])))
    dtype = draw(st.sampled_from(DTYPES))
    few = st.sampled_from([-1.0, -0.0, 0.0, 1.0])
    floats = st.floats(
        allow_nan=False, allow_infinity=False, width=16 if dtype is np.float16 else 32
    )
    shape = (len(labels), draw(st.integers(1, 3)))
    return draw(arrays(dtype, shape, elements=few | floats)), labels, n_classes


@settings(deadline=None, max_examples=40)
@given(_ranked())
def test_any_finite_input_gives_what_scikit_learn_and_numpy_give(ranked):
    assert_as_slow(*ranked)


@settings(deadline=None, max_examples=40)
@given(_ranked(), st.integers(0, 2**32 - 1))
def test_a_strictly_increasing_map_changes_no_ap(ranked, seed):
    activations, labels, n_classes = ranked
    distinct, code = np.unique(activations, return_inverse=True)
    increasing = np.random.default_rng(seed).integers(1, 9, len(distinct)).cumsum() - 20
    mapped = increasing.astype(np.float32)[code].reshape(activations.shape)
    np.testing.assert_array_equal(
        average_precision(mapped, labels, n_classes),
        average_precision(activations, labels, n_classes),
    )


def _with(value):
    activations = np.zeros((4, 3), dtype=np.float32)
    activations[2, 1] = value
    return activations


GOOD = _with(1.0)
LABELS = np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("activations", "labels", "n_classes", "message"),
    [
        (_with(np.nan), LABELS, None, "finite values, got nan at example 2, neuron 1"),
        (_with(np.inf), LABELS, None, "finite values, got inf at example 2, neuron 1"),
        (_with(-np.inf).astype("f2"), LABELS, None, "finite values, got -inf at example 2"),
        (GOOD, np.array([0, 2, 0, 2]), None, r"class \[1\] is empty"),
        (GOOD, LABELS, 4, r"class \[2, 3\] is empty"),
        (GOOD, LABELS[:3], None, r"labels: expected 4, one an example, got shape \(3,\)"),
        (GOOD, LABELS[:, None], None, r"labels: expected 4, .* got shape \(4, 1\)"),
        (GOOD.astype("f8"), LABELS, None, "expected a float16 or float32 array .* got float64"),
        (GOOD.astype("i4"), LABELS, None, "expected a float16 or float32 array .* got int32"),
        (GOOD[0], LABELS, None, r"float32 \(3,\)"),
        (GOOD, LABELS - 1, None, "labels: expected 0 to 0, got -1 to 0"),
        (GOOD, LABELS, 1, "labels: expected 0 to 0, got 0 to 1"),
        (GOOD, LABELS, 70_000, "labels: expected 0 to 69999"),
        (GOOD, LABELS.astype(float), None, "labels: expected integers, got float64"),
        (GOOD, LABELS.astype(bool), None, "labels: expected integers, got bool"),
        (GOOD[:0], LABELS[:0], None, "at least one example, got none"),
    ],
)
@pytest.mark.parametrize("function", [average_precision, rank])
def test_what_cannot_be_ranked_is_refused_and_named(
    function, activations, labels, n_classes, message
):
    with pytest.raises(ValueError, match=message):
        function(activations, labels, n_classes)


def test_threads_can_be_raised_again():
    """Up to those that numba started with."""
    before = get_num_threads()
    use_threads(1)
    assert get_num_threads() == 1
    use_threads(10_000)
    assert get_num_threads() == config.NUMBA_NUM_THREADS
    use_threads(0)
    assert get_num_threads() == 1
    use_threads(before)


def test_the_number_of_threads_changes_nothing():
    generator = np.random.default_rng()
    activations = generator.standard_normal((200, 300)).astype(np.float16)
    labels = generator.permutation(np.arange(200) % 3)
    before, found = get_num_threads(), []
    for n in (1, 10_000):
        use_threads(n)
        found.append(rank(activations, labels))
    use_threads(before)
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
