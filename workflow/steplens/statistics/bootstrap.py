"""Bootstrap over sentences (D12): percentile intervals, seeded, paired across all conditions.

The corpus is parallel: a sentence id stands for the same content in every language. One draw of sentence
ids therefore serves all languages, modalities, tasks and steps. Drawing the sentences of each language
apart would give each language contents of its own, and make content look like language.
"""

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from steplens.files.atomic import read_parquet


class SentenceDraws:
    """Bootstrap draws of sentence ids, shared by all languages, modalities, tasks and steps.

    Parameters
    ----------
    sentences : int array
        Ids of all sentences of the statistic, in whatever order and however often: those of every language
        together, whether valid or not, so that conditions with the same corpus get the same draws.
    n_resamples, seed : int
    """

    def __init__(self, sentences: np.ndarray, n_resamples: int, seed: int):
        self.sentences = np.unique(sentences)
        if not len(self.sentences):
            raise ValueError("sentences: expected at least one sentence id, got none")
        self._counts = draw_counts(len(self.sentences), n_resamples, seed, "sentences")

    def of(self, utterances: np.ndarray) -> np.ndarray:
        """How often the sentence of each utterance is drawn.

        Parameters
        ----------
        utterances : (n,) int array
            Sentence ids, each among ``sentences``. An id that a language lacks counts for nothing there.

        Returns
        -------
        (n_resamples, n) int64 array

        Raises
        ------
        ValueError
            An id that is not among the sentences.
        """
        utterances = np.asarray(utterances)
        known = np.isin(utterances, self.sentences)
        if not known.all():
            raise ValueError(
                f"utterances: expected ids among the {len(self.sentences)} sentences of the draws, got "
                f"{utterances[~known][0]}"
            )
        return self._counts[:, np.searchsorted(self.sentences, utterances)]


def sentences_in(tables: Iterable[Path]) -> np.ndarray:
    """Sentence ids of all tables together, each once; of a table only the column ``utterance`` is read.

    Raises
    ------
    TableError
        A table is damaged.
    """
    found = []
    for path in tables:
        try:
            found.append(pd.read_parquet(path, columns=["utterance"])["utterance"].to_numpy())
        except Exception:
            read_parquet(path)  # says what is wrong with the table
            raise
    return np.unique(np.concatenate(found)) if found else np.array([], dtype=np.int64)


def percentile_interval(draws: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap draws; (NaN, NaN) without a draw.

    NaN draws, which have no value (0 / 0), are left out. Infinite ones (a ratio to nothing) count as
    infinite: an interval that they reach has an infinite end.
    """
    draws = np.asarray(draws, dtype=np.float64)
    draws = draws[~np.isnan(draws)]
    if not len(draws):
        return np.nan, np.nan
    tail = 50 * (1 - level)
    return _percentile(draws, tail), _percentile(draws, 100 - tail)


def _percentile(draws: np.ndarray, percent: float) -> float:
    """As ``np.percentile``, which gives NaN beside an infinity: there the outer of the two draws."""
    below, above = (np.percentile(draws, percent, method=side) for side in ("lower", "higher"))
    if below == above or np.isinf(below) or np.isinf(above):
        return float(below if percent < 50 else above)
    return float(np.percentile(draws, percent))


def centred_interval(
    draws: np.ndarray,
    estimate: float,
    level: float = 0.95,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> tuple[float, float]:
    """Percentile interval of the draws about their mean, moved to the estimate.

    For statistics of rankings. A resample holds some sentences several times and others not at all, about
    63 % of them: its AP is noisier, so that the draws of a ratio lie below the estimate, as the estimate
    lies below what more sentences would give. The spread of the draws is about that of the estimator;
    where they lie is not. The interval covers the statistic at this number of sentences, not that of
    infinitely many (docs/methods/intervals.md).

    Parameters
    ----------
    draws : array
        What is not finite is left out.
    estimate, level : float
    within : (float, float)
        Where the statistic can lie: ends beyond are cut.

    Notes
    -----
    A few draws far out on one side move the mean beyond the percentiles of the rest; the interval then
    reaches to the estimate.
    """
    draws = np.asarray(draws, dtype=np.float64)
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return np.nan, np.nan
    low, high = percentile_interval(draws - draws.mean() + estimate, level)
    low, high = min(low, estimate), max(high, estimate)
    return float(np.clip(low, *within)), float(np.clip(high, *within))


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
