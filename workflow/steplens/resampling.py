"""Bootstrap over utterances (D12): percentile intervals, seeded, paired across conditions.

A resample draws sentence ids with replacement, language by language; the same draw serves speech and
text, asr and tr, steered and unsteered, so that a difference between them is a paired one.
"""

import zlib

import numpy as np
from numba import njit, prange

from .ranking import _checked, _radix_sort, _sortable

_INDEX_BITS = 32
_INDEX_MASK = np.uint64((1 << _INDEX_BITS) - 1)


def percentile_interval(draws: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap draws, NaN draws left out; (NaN, NaN) with none left."""
    draws = np.asarray(draws, dtype=np.float64)
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return np.nan, np.nan
    tail = 50 * (1 - level)
    low, high = np.percentile(draws, [tail, 100 - tail])
    return float(low), float(high)


def draw_counts(n_units: int, n_resamples: int, seed: int, stream: str) -> np.ndarray:
    """How often each of ``n_units`` utterances is drawn: (n_resamples, n_units) int64.

    Parameters
    ----------
    n_units, n_resamples, seed : int
    stream : str
        Names an independent stream of random numbers, for example a language.
    """
    generator = np.random.default_rng([seed, zlib.crc32(stream.encode())])
    return generator.multinomial(n_units, np.full(n_units, 1 / n_units), size=n_resamples)


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
    activations, labels, n_classes = _checked(activations, labels, n_classes)
    if weights.ndim != 2 or weights.shape[1] != len(labels):
        raise ValueError(
            f"weights: expected (n_resamples, {len(labels)}), got shape {weights.shape}"
        )
    unsigned = np.uint16 if activations.dtype == np.float16 else np.uint32
    ap = np.empty((len(weights), n_classes, activations.shape[1]))
    _kernel(activations.view(unsigned), labels, np.ascontiguousarray(weights, np.int32), ap)
    return ap


@njit(cache=True, parallel=True)
def _kernel(bits, labels, weights, ap):
    n_examples, n_neurons = bits.shape
    n_resamples, n_classes = ap.shape[:2]
    sign = bits.dtype.type(1 << (8 * bits.itemsize - 1))
    totals = np.zeros((n_resamples, n_classes))
    for draw in range(n_resamples):
        for i in range(n_examples):
            totals[draw, labels[i]] += weights[draw, i]
    for neuron in prange(n_neurons):
        ordered = np.empty(n_examples, dtype=np.uint64)
        for i in range(n_examples):
            key = np.uint64(_sortable(bits[i, neuron], sign))
            ordered[i] = (key << np.uint64(_INDEX_BITS)) | np.uint64(i)
        _radix_sort(ordered, np.empty_like(ordered), _INDEX_BITS, bits.itemsize)
        index = np.empty(n_examples, dtype=np.int64)
        last_of_tie = np.empty(n_examples, dtype=np.bool_)
        for rank in range(n_examples):  # from the highest activation down
            here = ordered[n_examples - 1 - rank]
            index[rank] = np.int64(here & _INDEX_MASK)
            last_of_tie[rank] = rank == n_examples - 1 or (
                ordered[n_examples - 2 - rank] >> np.uint64(_INDEX_BITS)
            ) != (here >> np.uint64(_INDEX_BITS))
        seen = np.empty(n_classes)
        tied = np.empty(n_classes)
        for draw in range(n_resamples):
            seen[:] = 0
            tied[:] = 0
            above = 0.0
            for c in range(n_classes):
                ap[draw, c, neuron] = 0.0 if totals[draw, c] > 0 else np.nan
            for rank in range(n_examples):
                i = index[rank]
                weight = weights[draw, i]
                if weight:
                    tied[labels[i]] += weight
                    above += weight
                if last_of_tie[rank]:
                    for c in range(n_classes):
                        if tied[c] > 0:
                            seen[c] += tied[c]
                            ap[draw, c, neuron] += tied[c] / totals[draw, c] * (seen[c] / above)
                            tied[c] = 0
