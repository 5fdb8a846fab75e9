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


def centred_interval(
    draws: np.ndarray, estimate: float, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the draws about their mean, moved to the estimate.

    For statistics of rankings. A resample holds some sentences several times, in speech and in text
    alike; that by itself makes the two rankings more alike than those of the sample, so that all
    draws may lie above the estimate. Their spread says how far the estimate may be off; where they
    lie does not.
    """
    draws = np.asarray(draws, dtype=np.float64)
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return np.nan, np.nan
    low, high = percentile_interval(draws - draws.mean() + estimate, level)
    return low, high


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
    """Sort each neuron once; then all resamples move down the order side by side."""
    n_examples, n_neurons = bits.shape
    n_resamples, n_classes = ap.shape[:2]
    sign = bits.dtype.type(1 << (8 * bits.itemsize - 1))
    by_example = weights.T.astype(np.float64).copy()  # (n_examples, n_resamples), contiguous
    totals = np.zeros((n_classes, n_resamples))
    for i in range(n_examples):
        totals[labels[i]] += by_example[i]
    for neuron in prange(n_neurons):
        ordered = np.empty(n_examples, dtype=np.uint64)
        for i in range(n_examples):
            key = np.uint64(_sortable(bits[i, neuron], sign))
            ordered[i] = (key << np.uint64(_INDEX_BITS)) | np.uint64(i)
        _radix_sort(ordered, np.empty_like(ordered), _INDEX_BITS, bits.itemsize)
        seen = np.zeros((n_classes, n_resamples))
        tied = np.zeros((n_classes, n_resamples))
        total = np.zeros((n_classes, n_resamples))
        above = np.zeros(n_resamples)
        in_tie = np.zeros(n_classes, dtype=np.bool_)
        for rank in range(n_examples - 1, -1, -1):  # from the highest activation down
            key = ordered[rank] >> np.uint64(_INDEX_BITS)
            i = np.int64(ordered[rank] & _INDEX_MASK)
            label = labels[i]
            in_tie[label] = True
            for draw in range(n_resamples):
                tied[label, draw] += by_example[i, draw]
                above[draw] += by_example[i, draw]
            if rank > 0 and ordered[rank - 1] >> np.uint64(_INDEX_BITS) == key:
                continue
            for c in range(n_classes):
                if in_tie[c]:
                    in_tie[c] = False
                    for draw in range(n_resamples):
                        seen[c, draw] += tied[c, draw]
                        # Nothing was drawn yet where `above` is 0, and then `tied` is 0 too.
                        total[c, draw] += tied[c, draw] * seen[c, draw] / max(above[draw], 1.0)
                        tied[c, draw] = 0.0
        for c in range(n_classes):
            for draw in range(n_resamples):
                weight = totals[c, draw]
                ap[draw, c, neuron] = total[c, draw] / weight if weight > 0 else np.nan
