"""Average precision in many resamples or labellings at once: every neuron is sorted once.

Resamples are those of the bootstrap (D12, ``statistics/bootstrap.py``) and parts of the sentences,
labellings those of shuffled labels (``statistics/relabelling.py``).
"""

import numpy as np
from numba import prange

from steplens.ranking.kernels import kernel
from steplens.ranking.scores.ap import checked, checked_weights, infinity
from steplens.ranking.sorting import (
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
    weights = checked_weights(weights, len(labels))
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


@kernel(parallel=True, nogil=True)
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
@kernel(nogil=True, error_model="numpy")
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


def relabelled_average_precision(
    activations: np.ndarray, labels: np.ndarray, n_classes: int
) -> np.ndarray:
    """Average precision of each neuron under many labellings of the same examples at once.

    Equal to ``average_precision`` under each of them, to the last bit, but each neuron is sorted only once.

    Parameters
    ----------
    activations : (n_examples, n_neurons) float16 or float32 array
    labels : (n_labellings, n_examples) int array
    n_classes : int
        Every labelling has at least one example of each.

    Returns
    -------
    (n_labellings, n_classes, n_neurons) float64 array in (0, 1]

    Raises
    ------
    ValueError
        As ``average_precision``, under any of the labellings.
    """
    activations, labels = np.ascontiguousarray(activations), np.asarray(labels)
    n_examples = len(activations)
    if labels.ndim != 2 or labels.shape[1] != n_examples:
        raise ValueError(f"labels: expected (n_labellings, {n_examples}), got shape {labels.shape}")
    for one in labels:
        checked(activations, one, n_classes)
    bits = bit_patterns(activations)
    ap = np.empty((len(labels), n_classes, activations.shape[1]))
    finite = np.ones(-(-activations.shape[1] // NEURONS_AT_A_TIME), dtype=bool)
    _relabelled_kernel(
        bits,
        # In as few bytes as they fit into: all of them are read again for every neuron.
        np.ascontiguousarray(labels.T, dtype=np.min_scalar_type(n_classes - 1)),
        1 / np.arange(n_examples, 0, -1.0),
        infinity(activations),
        ap,
        finite,
    )
    if not finite.all():
        require_finite(activations)
    return ap


@kernel(parallel=True, nogil=True)
def _relabelled_kernel(bits, labels, inverse, infinity, ap, finite):
    """Sort each neuron once; then all labellings move up the order side by side.

    ``inverse[g]`` is 1 / (how many are not below g), as in ``scores/ap.py``.
    """
    n_examples, n_neurons = bits.shape
    n_labellings, n_classes = ap.shape[:2]
    number = np.arange(n_examples).astype(np.uint32)
    counts = np.zeros((n_labellings, n_classes))
    for i in range(n_examples):
        for draw in range(n_labellings):
            counts[draw, labels[i, draw]] += 1
    for block in prange(len(finite)):
        first = block * NEURONS_AT_A_TIME
        width = min(NEURONS_AT_A_TIME, n_neurons - first)
        columns = np.empty((width, n_examples), dtype=bits.dtype)
        gather(bits, first, columns)
        ordered = np.empty(n_examples, dtype=np.uint64)
        scratch = np.empty(n_examples, dtype=np.uint64)
        digits = np.empty((bits.itemsize, 256), dtype=np.uint32)
        not_below = np.empty((n_labellings, n_classes))
        total = np.empty((n_labellings, n_classes))
        for column in range(width):
            if make_sortable(columns[column]) >= infinity:
                finite[block] = False
            sort_packed(columns[column], number, _INDEX_BITS, ordered, scratch, digits)
            not_below[:] = counts
            _sum_relabelled_precision(ordered, labels, inverse, not_below, total)
            for draw in range(n_labellings):
                for c in range(n_classes):
                    ap[draw, c, first + column] = total[draw, c] / counts[draw, c]


@kernel(nogil=True, error_model="numpy")
def _sum_relabelled_precision(ordered, labels, inverse, not_below, total):
    """``total[draw, c]``: the sum of precision over a class's examples, in the order of ``scores/ap.py``.

    ``not_below[draw, c]``, at first how many are in the class, is counted down.
    """
    n_labellings = len(total)
    n_examples = len(ordered)
    total[:] = 0.0
    begin = 0
    while begin < n_examples:  # from the lowest activation up
        key = ordered[begin] >> np.uint64(_INDEX_BITS)
        end = begin + 1
        while end < n_examples and ordered[end] >> np.uint64(_INDEX_BITS) == key:
            end += 1
        inverse_not_below = inverse[begin]
        if end == begin + 1:
            own = labels[np.uint32(ordered[begin] & np.uint64(_INDEX_MASK))]
            for draw in range(n_labellings):
                c = own[draw]
                left = not_below[draw, c]
                total[draw, c] += left * inverse_not_below
                not_below[draw, c] = left - 1.0
        else:  # none of a tie is below another
            for at in range(begin, end):
                own = labels[np.uint32(ordered[at] & np.uint64(_INDEX_MASK))]
                for draw in range(n_labellings):
                    c = own[draw]
                    total[draw, c] += not_below[draw, c] * inverse_not_below
            for at in range(begin, end):
                own = labels[np.uint32(ordered[at] & np.uint64(_INDEX_MASK))]
                for draw in range(n_labellings):
                    not_below[draw, own[draw]] -= 1.0
        begin = end
