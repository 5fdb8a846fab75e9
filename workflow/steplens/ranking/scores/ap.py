"""Average precision and medians of every neuron, for all languages in one pass (D5).

For one neuron and n utterances a kernel sorts the activations once (``ranking/sorting.py``, the language
carried along), deals them out to their languages in that order, and sums the precision at every utterance
of a language. Ties are exact: precision and recall move only where the activation changes, as
scikit-learn's ``average_precision_score`` has it.
"""

import numpy as np
from numba import config, prange, set_num_threads

from steplens.ranking.kernels import kernel
from steplens.ranking.sorting import (
    NEURONS_AT_A_TIME,
    bit_patterns,
    gather,
    make_sortable,
    packed_type,
    pattern_of,
    require_finite,
    sort_packed,
)

_LABEL_BITS = 16
_LABEL_MASK = (1 << _LABEL_BITS) - 1


def average_precision(
    activations: np.ndarray, labels: np.ndarray, n_classes: int | None = None
) -> np.ndarray:
    """Average precision of each neuron's signed activation for each class against the others.

    Parameters
    ----------
    activations : (n_examples, n_neurons) float16 or float32 array
    labels : (n_examples,) int array
        Class of each example, from 0.
    n_classes : int, optional
        By default the highest label + 1.

    Returns
    -------
    (n_classes, n_neurons) float64 array
        In (0, 1]; best 1. Chance is about the share of the class among the examples.

    Raises
    ------
    ValueError
        NaN or infinity among the activations, an empty class, a length mismatch, another dtype.

    References
    ----------
    scikit-learn, ``sklearn.metrics.average_precision_score``; D5 of docs/methods/definitions.md.

    Examples
    --------
    >>> import numpy as np
    >>> average_precision(np.array([[3.0], [2.0], [1.0]], "f4"), np.array([0, 1, 0]))
    array([[0.83333333],
           [0.5       ]])
    """
    return rank(activations, labels, n_classes)[0]


def rank(
    activations: np.ndarray, labels: np.ndarray, n_classes: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and medians of every neuron for every class, in one pass.

    Parameters and errors are those of ``average_precision``.

    Returns
    -------
    ap : (n_classes, n_neurons) float64 array
    medians : (n_classes, n_neurons) float32 array
        Median activation over the examples of the class (mean of the middle two where even).
    """
    activations, labels, n_classes = checked(activations, labels, n_classes)
    n_examples, n_neurons = activations.shape
    bits = bit_patterns(activations)
    counts = np.bincount(labels, minlength=n_classes)
    ap = np.empty((n_classes, n_neurons))
    middle = np.empty((2, n_classes, n_neurons), dtype=bits.dtype)
    finite = np.ones(-(-n_neurons // NEURONS_AT_A_TIME), dtype=bool)
    _kernel(
        bits,
        labels.astype(np.uint16),
        counts,
        1 / np.arange(n_examples, 0, -1.0),
        infinity(activations),
        np.empty(0, packed_type(activations, _LABEL_BITS)),
        ap,
        middle,
        finite,
    )
    if not finite.all():
        require_finite(activations)
    low, high = middle.view(activations.dtype).astype(np.float64)
    return ap, ((low + high) / 2).astype(np.float32)


def use_threads(n: int) -> None:
    """Let the kernels use up to ``n`` threads."""
    set_num_threads(max(1, min(n, config.NUMBA_NUM_THREADS)))


def checked(
    activations: np.ndarray, labels: np.ndarray, n_classes: int | None
) -> tuple[np.ndarray, np.ndarray, int]:
    """What is to be ranked, contiguous; ValueError as in ``average_precision``, but for NaN."""
    activations = np.ascontiguousarray(activations)
    labels = np.asarray(labels)
    if activations.ndim != 2 or activations.dtype not in (np.float16, np.float32):
        raise ValueError(
            "activations: expected a float16 or float32 array (n_examples, n_neurons), got "
            f"{activations.dtype} {activations.shape}"
        )
    if labels.ndim != 1 or len(labels) != len(activations):
        raise ValueError(
            f"labels: expected {len(activations)}, one an example, got shape {labels.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels: expected integers, got {labels.dtype}")
    if not len(labels):
        raise ValueError("activations: expected at least one example, got none")
    if n_classes is None:
        n_classes = int(labels.max()) + 1
    if n_classes < 1:
        raise ValueError(f"n_classes: expected 1 or more, got {n_classes}")
    if labels.min() < 0 or labels.max() >= n_classes or n_classes > _LABEL_MASK:
        raise ValueError(
            f"labels: expected 0 to {n_classes - 1}, got {labels.min()} to {labels.max()}"
        )
    counts = np.bincount(labels, minlength=n_classes)
    if not counts.all():
        empty = np.flatnonzero(counts == 0).tolist()
        raise ValueError(f"labels: class {empty} is empty; every class needs an example")
    return activations, labels, n_classes


def checked_weights(weights: np.ndarray, n_examples: int) -> np.ndarray:
    """How often each example counts, per resample: (n_resamples, n_examples) integers, 0 or more."""
    weights = np.asarray(weights)
    if weights.ndim != 2 or weights.shape[1] != n_examples:
        raise ValueError(
            f"weights: expected (n_resamples, {n_examples}), got shape {weights.shape}"
        )
    if not np.issubdtype(weights.dtype, np.integer):
        raise ValueError(f"weights: expected integers, got {weights.dtype}")
    if weights.size and weights.min() < 0:
        raise ValueError(f"weights: expected counts, 0 or more, got {weights.min()}")
    return weights


def infinity(activations: np.ndarray) -> np.unsignedinteger:
    """The bit pattern of infinity: no float's magnitude reaches it."""
    return bit_patterns(np.array([np.inf], dtype=activations.dtype))[0]


@kernel(parallel=True, nogil=True)
def _kernel(bits, labels, counts, inverse, infinity, packed_like, ap, middle, finite):
    """Fill ``ap``, ``middle`` and ``finite``; ``inverse[g]`` is 1 / (how many are not below g)."""
    n_examples, n_neurons = bits.shape
    n_classes = len(counts)
    begin = np.zeros(n_classes, dtype=np.uint32)  # of each class, where examples are dealt out to
    for c in range(1, n_classes):
        begin[c] = begin[c - 1] + counts[c - 1]
    for block in prange(len(finite)):
        first = block * NEURONS_AT_A_TIME
        width = min(NEURONS_AT_A_TIME, n_neurons - first)
        columns = np.empty((width, n_examples), dtype=bits.dtype)
        gather(bits, first, columns)
        ordered = np.empty(n_examples, dtype=packed_like.dtype)
        scratch = np.empty(n_examples, dtype=packed_like.dtype)
        digits = np.empty((bits.itemsize, 256), dtype=np.uint32)
        ties = np.empty(n_examples, dtype=np.uint32)
        keys = np.empty(n_examples, dtype=bits.dtype)
        free = np.empty(n_classes, dtype=np.uint32)
        for column in range(width):
            if make_sortable(columns[column]) >= infinity:
                finite[block] = False
            sort_packed(columns[column], labels, _LABEL_BITS, ordered, scratch, digits)
            _deal_out(ordered, begin, free, ties, keys)
            for c in range(n_classes):
                of_class = slice(begin[c], begin[c] + counts[c])
                ap[c, first + column] = _mean_precision(ties[of_class], inverse)
                low = keys[begin[c] + (counts[c] - 1) // 2]
                high = keys[begin[c] + counts[c] // 2]
                middle[0, c, first + column] = pattern_of(low, keys)
                middle[1, c, first + column] = pattern_of(high, keys)


@kernel(nogil=True)
def _deal_out(ordered, begin, free, ties, keys):
    """Class by class, ascending: the key of every example, and where the run of its equals begins."""
    free[:] = begin
    tie = np.uint32(0)
    previous = ordered[0] >> np.uint64(_LABEL_BITS)
    for i in range(len(ordered)):
        key = ordered[i] >> np.uint64(_LABEL_BITS)
        label = np.uint32(ordered[i] & np.uint64(_LABEL_MASK))
        tie = tie if key == previous else np.uint32(i)
        previous = key
        at = free[label]
        ties[at] = tie
        keys[at] = key
        free[label] = at + np.uint32(1)


@kernel(nogil=True)
def _mean_precision(ties, inverse):
    """Mean over a class's examples of: those of the class not below it / all that are not below it."""
    total, not_below, previous = 0.0, len(ties), ties[0]
    for i in range(len(ties)):
        not_below = not_below if ties[i] == previous else len(ties) - i
        previous = ties[i]
        total += not_below * inverse[ties[i]]
    return total / len(ties)
