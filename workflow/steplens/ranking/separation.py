"""How far apart a neuron holds a language and the rest: the standardised difference of means (D6).

It orders neurons of equal AP. Average precision sees ranks alone: of two neurons that each rank all
utterances of a language above all others, one may do so by a hair and the other by ten deviations.
"""

import numpy as np
from numba import prange

from steplens.ranking.kernels import kernel
from steplens.ranking.scores.ap import checked, checked_weights
from steplens.ranking.sorting import NEURONS_AT_A_TIME, require_finite

DECIMALS = 9  # what sums in another order may change lies far below
# A variance within the groups below this share of the sum of squares is a rounding error of zero.
_NOTHING = 1e-13
_COLUMNS_AT_A_TIME = 2048  # in double precision


def separation(
    activations: np.ndarray, labels: np.ndarray, n_classes: int | None = None
) -> np.ndarray:
    """Standardised difference of means of each neuron, each class against all other examples.

    Parameters
    ----------
    activations : (n_examples, n_neurons) float16 or float32 array
    labels : (n_examples,) int array
        Class of each example, from 0.
    n_classes : int, optional
        By default the highest label + 1.

    Returns
    -------
    (n_classes, n_neurons) float64 array, to 9 decimals
        (mean of the class - mean of the rest) / pooled standard deviation within the two, with n - 2
        degrees of freedom: Cohen's d. Positive where the class lies higher; infinite where the two differ
        and neither varies; 0 where they do not differ, or there is no rest.

    Raises
    ------
    ValueError
        As ``average_precision``.

    References
    ----------
    Cohen, "Statistical Power Analysis for the Behavioral Sciences" (1988), section 2.2; D6 of
    docs/methods/definitions.md.

    Examples
    --------
    >>> import numpy as np
    >>> separation(np.array([[3.0], [1.0], [0.0], [-2.0]], "f4"), np.array([0, 0, 1, 1]))
    array([[ 2.12132034],
           [-2.12132034]])
    """
    weights = np.ones((1, len(np.asarray(labels))), dtype=np.uint8)
    return resampled_separation(activations, labels, weights, n_classes)[0]


def resampled_separation(
    activations: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    n_classes: int | None = None,
) -> np.ndarray:
    """``separation`` with each example counted ``weights`` times, for many weightings at once.

    Parameters
    ----------
    activations, labels, n_classes
        As in ``separation``.
    weights : (n_resamples, n_examples) int array

    Returns
    -------
    (n_resamples, n_classes, n_neurons) float64 array, to 9 decimals; 0 where a class has no weight.
    """
    activations, labels, n_classes = checked(activations, labels, n_classes)
    weights = checked_weights(weights, len(labels))
    by_example = np.ascontiguousarray(weights.T, dtype=np.float64)
    sizes = np.zeros((n_classes, len(weights)))
    np.add.at(sizes, labels, by_example)
    return _separation(activations, labels[:, None], by_example, sizes.T)


def relabelled_separation(
    activations: np.ndarray, labels: np.ndarray, n_classes: int
) -> np.ndarray:
    """``separation`` under many labellings of the same examples.

    Parameters
    ----------
    activations : (n_examples, n_neurons) float16 or float32 array
    labels : (n_draws, n_examples) int array
    n_classes : int

    Returns
    -------
    (n_draws, n_classes, n_neurons) float64 array, to 9 decimals
    """
    for one in labels:
        activations, _, n_classes = checked(activations, one, n_classes)
    sizes = np.array([np.bincount(one, minlength=n_classes) for one in labels], dtype=np.float64)
    return _separation(activations, labels.T, np.empty((0, 0)), sizes)


def _separation(
    activations: np.ndarray, labels: np.ndarray, weights: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """Separation in every draw; labels and weights as in ``_sum_moments``, sizes (n_draws, n_classes)."""
    n_neurons = activations.shape[1]
    labels = np.ascontiguousarray(labels, dtype=np.uint16)
    found = np.empty((*sizes.shape, n_neurons))
    for start in range(0, n_neurons, _COLUMNS_AT_A_TIME):
        columns = slice(start, start + _COLUMNS_AT_A_TIME)
        part = activations[:, columns].astype(np.float64)
        middle = part.mean(0)  # sums of squares about it lose nothing to a large common mean
        if not np.isfinite(middle).all():
            require_finite(activations)
        values = np.ascontiguousarray((part - middle).T)
        moments = np.empty((2, *sizes.shape, len(values)))
        _sum_moments(values, labels, weights, moments)
        found[:, :, columns] = _standardised(moments, sizes)
    return np.round(found, DECIMALS)


def _standardised(moments: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(2, n_resamples, n_classes, n) sums and sums of squares -> (n_resamples, n_classes, n)."""
    first, second = moments
    n = sizes[:, :, None]
    rest_n = n.sum(1, keepdims=True) - n
    rest_first = first.sum(1, keepdims=True) - first
    squares = second.sum(1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = first / n - rest_first / rest_n
        within = squares - first**2 / n - rest_first**2 / rest_n
        within = np.where(within <= _NOTHING * squares, 0.0, within)
        # Two examples leave no degree of freedom, and nothing within either group to vary.
        found = difference / np.sqrt(within / np.maximum(n + rest_n - 2, 1))
    # No difference, or nothing to differ from.
    nothing = np.isnan(found) | (np.abs(difference) <= _NOTHING * np.sqrt(squares))
    return np.where(nothing, 0.0, found)


@kernel(parallel=True, nogil=True)
def _sum_moments(values, labels, weights, moments):
    """Sums and sums of squares of every class, all draws side by side.

    ``weights`` is (n_examples, n_draws) with ``labels`` (n_examples, 1); or it is empty, every example
    counts once, and ``labels`` is (n_examples, n_draws).
    """
    n_neurons, n_examples = values.shape
    n_draws, n_classes = moments.shape[1:3]
    for block in prange(-(-n_neurons // NEURONS_AT_A_TIME)):
        first = np.empty((n_classes, n_draws))
        second = np.empty((n_classes, n_draws))
        stop = min((block + 1) * NEURONS_AT_A_TIME, n_neurons)
        for neuron in range(block * NEURONS_AT_A_TIME, stop):
            first[:] = 0.0
            second[:] = 0.0
            for i in range(n_examples):
                value = values[neuron, i]
                square = value * value
                if weights.size:
                    own_first, own_second = first[labels[i, 0]], second[labels[i, 0]]
                    for draw in range(n_draws):
                        own_first[draw] += weights[i, draw] * value
                        own_second[draw] += weights[i, draw] * square
                else:
                    for draw in range(n_draws):
                        first[labels[i, draw], draw] += value
                        second[labels[i, draw], draw] += square
            for c in range(n_classes):
                for draw in range(n_draws):
                    moments[0, draw, c, neuron] = first[c, draw]
                    moments[1, draw, c, neuron] = second[c, draw]
