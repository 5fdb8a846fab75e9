"""Bootstrap over utterances (D12): percentile intervals, seeded, paired across conditions.

A resample draws sentence ids with replacement, language by language; the same draw serves speech and
text, asr and tr, steered and unsteered, so that a difference between them is a paired one.
"""

import zlib

import numpy as np


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
