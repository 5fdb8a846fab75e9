"""Average precision in many resamples at once: every neuron is sorted once (D12, ``bootstrap.py``)."""

import numpy as np
from numba import njit, prange

from .ranking import checked, infinity
from .sorting import (
    NEURONS_AT_A_TIME,
    bit_patterns,
    gather,
    make_sortable,
    require_finite,
    sort_packed,
)

_INDEX_BITS = 32
_INDEX_MASK = (1 << _INDEX_BITS) - 1


def resampled_average_precision(
    activations: np.ndarray, labels: np.ndarray, weights: np.ndarray, n_classes: int
) -> np.ndarray:
    """Average precision with each example counted ``weights`` times, for many weightings at once.

    Equal to ``average_precision`` on the repeated examples, but each neuron is sorted only once.

    Parameters
    ----------
    activations : (n_examples, n_neurons) float16 or float32 array
    labels : (n_examples,) int array
    weights : (n_resamples, n_examples) int array
    n_classes : int

    Returns
    -------
    (n_resamples, n_classes, n_neurons) float64 array; NaN where a class has no weight.
    """
    activations, labels, n_classes = checked(activations, labels, n_classes)
    if weights.ndim != 2 or weights.shape[1] != len(labels):
        raise ValueError(
            f"weights: expected (n_resamples, {len(labels)}), got shape {weights.shape}"
        )
    if weights.size and weights.min() < 0:
        raise ValueError(f"weights: expected counts, 0 or more, got {weights.min()}")
    # In as few bytes as they fit into: all of them are read again for every neuron.
    small = np.min_scalar_type(weights.max(initial=0))
    bits = bit_patterns(activations)
    ap = np.empty((len(weights), n_classes, activations.shape[1]))
    finite = np.ones(-(-activations.shape[1] // NEURONS_AT_A_TIME), dtype=bool)
    _kernel(
        bits,
        labels.astype(np.uint16),
        np.ascontiguousarray(weights.T, dtype=small),
        infinity(activations),
        ap,
        finite,
    )
    if not finite.all():
        require_finite(activations)
    return ap


@njit(cache=True, parallel=True, nogil=True)
def _kernel(bits, labels, weights, infinity, ap, finite):
    """Sort each neuron once; then all resamples move down the order side by side."""
    n_examples, n_neurons = bits.shape
    n_resamples, n_classes = ap.shape[:2]
    number = np.arange(n_examples).astype(np.uint32)
    in_class = np.zeros((n_classes, n_resamples))
    for i in range(n_examples):
        for draw in range(n_resamples):
            in_class[labels[i], draw] += weights[i, draw]
    for block in prange(len(finite)):
        first = block * NEURONS_AT_A_TIME
        width = min(NEURONS_AT_A_TIME, n_neurons - first)
        columns = np.empty((width, n_examples), dtype=bits.dtype)
        gather(bits, first, columns)
        ordered = np.empty(n_examples, dtype=np.uint64)
        scratch = np.empty(n_examples, dtype=np.uint64)
        digits = np.empty((bits.itemsize, 256), dtype=np.uint32)
        total = np.empty((n_classes, n_resamples))
        for column in range(width):
            if make_sortable(columns[column]) >= infinity:
                finite[block] = False
            sort_packed(columns[column], number, _INDEX_BITS, ordered, scratch, digits)
            _sum_precision(ordered, labels, weights, total)
            for c in range(n_classes):
                for draw in range(n_resamples):
                    weight = in_class[c, draw]
                    ap[draw, c, first + column] = total[c, draw] / weight if weight > 0 else np.nan


# Without the numpy error model, a check for division by zero keeps the loops from being vectorised.
@njit(cache=True, nogil=True, error_model="numpy")
def _sum_precision(ordered, labels, weights, total):
    """``total[c, draw]``: the sum of precision over the examples of a class, each ``weights`` times."""
    n_classes, n_resamples = total.shape
    # So little that counts are exact beside it; where nothing was drawn yet, 0 / above is 0.
    above = np.full(n_resamples, 1e-300)
    seen = np.zeros((n_classes, n_resamples))
    tied = np.zeros((n_classes, n_resamples))
    in_tie = np.zeros(n_classes, dtype=np.bool_)
    total[:] = 0.0
    last = len(ordered) - 1
    while last >= 0:  # from the highest activation down
        key = ordered[last] >> np.uint64(_INDEX_BITS)
        begin = last
        while begin > 0 and ordered[begin - 1] >> np.uint64(_INDEX_BITS) == key:
            begin -= 1
        if begin == last:
            i = np.uint32(ordered[last] & np.uint64(_INDEX_MASK))
            own_weights, own_seen, own_total = weights[i], seen[labels[i]], total[labels[i]]
            for draw in range(n_resamples):
                weight = np.float64(own_weights[draw])
                above[draw] += weight
                own_seen[draw] += weight
                own_total[draw] += weight * own_seen[draw] / above[draw]
        else:
            for at in range(begin, last + 1):
                i = np.uint32(ordered[at] & np.uint64(_INDEX_MASK))
                in_tie[labels[i]] = True
                own_weights, own_tied = weights[i], tied[labels[i]]
                for draw in range(n_resamples):
                    weight = np.float64(own_weights[draw])
                    above[draw] += weight
                    own_tied[draw] += weight
            for c in range(n_classes):
                if in_tie[c]:
                    in_tie[c] = False
                    own_seen, own_tied, own_total = seen[c], tied[c], total[c]
                    for draw in range(n_resamples):
                        own_seen[draw] += own_tied[draw]
                        own_total[draw] += own_tied[draw] * own_seen[draw] / above[draw]
                        own_tied[draw] = 0.0
        last = begin - 1
