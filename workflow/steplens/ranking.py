"""Average precision and medians of every neuron, for all languages in one pass (D5).

For one neuron and n utterances a kernel sorts the activations once (a radix sort of their bit
patterns, the language carried along) and sweeps once from the highest down, keeping count of every
language at a time. Ties are exact: precision and recall move only where the activation changes, as
scikit-learn's ``average_precision_score`` has it.
"""

import numpy as np
from numba import get_num_threads, njit, prange, set_num_threads

_LABEL_BITS = 16
_LABEL_MASK = np.uint64((1 << _LABEL_BITS) - 1)
_BLOCK = 32  # neurons that a thread gathers at a time, so that rows are read by cache line


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
    scikit-learn, ``sklearn.metrics.average_precision_score``; DESIGN.md D5.

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
    activations, labels, n_classes = _checked(activations, labels, n_classes)
    unsigned = np.uint16 if activations.dtype == np.float16 else np.uint32
    ap = np.empty((n_classes, activations.shape[1]))
    middle = np.empty((2, n_classes, activations.shape[1]), dtype=unsigned)
    counts = np.bincount(labels, minlength=n_classes)
    _rank_kernel(activations.view(unsigned), labels.astype(np.uint16), counts, ap, middle)
    low, high = middle.view(activations.dtype).astype(np.float64)
    return ap, ((low + high) / 2).astype(np.float32)


def use_threads(n: int) -> None:
    """Let the kernels use up to ``n`` threads."""
    set_num_threads(max(1, min(n, get_num_threads())))


def _checked(activations, labels, n_classes):
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
    if labels.min() < 0 or labels.max() >= n_classes or n_classes > _LABEL_MASK:
        raise ValueError(
            f"labels: expected 0 to {n_classes - 1}, got {labels.min()} to {labels.max()}"
        )
    counts = np.bincount(labels, minlength=n_classes)
    if not counts.all():
        empty = np.flatnonzero(counts == 0).tolist()
        raise ValueError(f"labels: class {empty} is empty; every class needs an example")
    if not np.isfinite(activations).all():
        row, column = np.argwhere(~np.isfinite(activations))[0]
        raise ValueError(
            f"activations: expected finite values, got {activations[row, column]} at example "
            f"{row}, neuron {column}"
        )
    return activations, labels, n_classes


@njit(cache=True)
def _sortable(bits, sign):
    """Bit pattern of a float -> unsigned integer in the same order; both zeros are one."""
    if bits == sign:
        bits = bits ^ sign  # -0.0 is 0.0
    return bits ^ sign if bits < sign else ~bits


@njit(cache=True)
def _bits(key, sign):
    """The inverse of ``_sortable``."""
    return key ^ sign if key >= sign else ~key


@njit(cache=True)
def _radix_sort(packed, scratch, first_bit, n_passes):
    """Sort in place by ``8 * n_passes`` bits from ``first_bit`` on; ``n_passes`` is even."""
    count = np.empty(256, dtype=np.int64)
    source, target = packed, scratch
    for step in range(n_passes):
        shift = np.uint64(first_bit + 8 * step)
        count[:] = 0
        for i in range(len(source)):
            count[(source[i] >> shift) & np.uint64(255)] += 1
        position = 0
        for digit in range(256):
            size = count[digit]
            count[digit] = position
            position += size
        for i in range(len(source)):
            digit = (source[i] >> shift) & np.uint64(255)
            target[count[digit]] = source[i]
            count[digit] += 1
        source, target = target, source


@njit(cache=True, parallel=True)
def _rank_kernel(bits, labels, counts, ap, middle):
    n_examples, n_neurons = bits.shape
    n_classes = len(counts)
    sign = bits.dtype.type(1 << (8 * bits.itemsize - 1))
    n_passes = bits.itemsize
    n_blocks = (n_neurons + _BLOCK - 1) // _BLOCK
    for block in prange(n_blocks):
        first = block * _BLOCK
        last = min(first + _BLOCK, n_neurons)
        packed = np.empty((last - first, n_examples), dtype=np.uint64)
        for row in range(n_examples):
            for column in range(first, last):
                key = np.uint64(_sortable(bits[row, column], sign))
                packed[column - first, row] = (key << np.uint64(_LABEL_BITS)) | np.uint64(
                    labels[row]
                )
        scratch = np.empty(n_examples, dtype=np.uint64)
        seen = np.empty(n_classes, dtype=np.int64)
        tied = np.empty(n_classes, dtype=np.int64)
        for column in range(first, last):
            ordered = packed[column - first]
            _radix_sort(ordered, scratch, _LABEL_BITS, n_passes)
            seen[:] = 0
            tied[:] = 0
            ap[:, column] = 0.0
            for i in range(n_examples - 1, -1, -1):
                label = np.int64(ordered[i] & _LABEL_MASK)
                key = ordered[i] >> np.uint64(_LABEL_BITS)
                rank_in_class = seen[label] + tied[label]
                tied[label] += 1
                if rank_in_class == (counts[label] - 1) // 2:
                    middle[0, label, column] = _bits(bits.dtype.type(key), sign)
                if rank_in_class == counts[label] // 2:
                    middle[1, label, column] = _bits(bits.dtype.type(key), sign)
                if i > 0 and ordered[i - 1] >> np.uint64(_LABEL_BITS) == key:
                    continue
                above = n_examples - i
                for c in range(n_classes):
                    if tied[c]:
                        seen[c] += tied[c]
                        ap[c, column] += tied[c] / counts[c] * (seen[c] / above)
                        tied[c] = 0
