"""Means over utterances and over languages with intervals, and what languages of a script have in common.

A resample draws sentences, and with a sentence all of its utterances: in every language, task and step
alike, so that differences between them are paired ones (D12).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from steplens.statistics.bootstrap import SentenceDraws, percentile_interval

STEP_DEPENDENT = "step-dependent"  # in the column layer: all neurons but the step-invariant ones
DOMINANT = "Latin"
OTHERS = f"not {DOMINANT}"


@dataclass(frozen=True)
class Measured:
    """One store's Gini coefficients, of the utterances that take part.

    Attributes
    ----------
    path : where they were read
    module, task, step, language : the condition; task is the modality, step 0, for an encoder
    layers : names of the columns of ``gini``: every layer, ``step-dependent``, and ``all``
    stored : (n_stored,) sentence ids of the store, sorted
    sentences : (n,) sentence ids that take part
    gini : (n, n_layers + 1) float64; NaN where all of a layer is 0
    """

    path: Path
    module: str
    task: str
    step: int
    language: str
    layers: list[str]
    stored: np.ndarray
    sentences: np.ndarray
    gini: np.ndarray

    @property
    def condition(self) -> tuple[str, str, int]:
        """Module, task and step."""
        return self.module, self.task, self.step


class Resampler:
    """Draws of sentences of all languages together, for the means of whatever is known of them.

    Parameters
    ----------
    sentences : int array
        Ids of all that may be drawn; repeats count once.
    n_resamples, seed : int
    """

    def __init__(self, sentences: np.ndarray, n_resamples: int, seed: int):
        self._draws = SentenceDraws(sentences, n_resamples, seed)

    def means(self, values: np.ndarray, sentences: np.ndarray) -> np.ndarray:
        """Means of every resample: (n, n_columns) -> (n_resamples, n_columns), without what is NaN.

        NaN where nothing of a column was drawn.
        """
        counts = self._draws.of(sentences).astype(np.float64)
        known = np.isfinite(values)
        with np.errstate(invalid="ignore"):
            return (counts @ np.where(known, values, 0)) / (counts @ known.astype(np.float64))


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean of what is finite in every column; NaN without any."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis=0) / known.sum(axis=0)


def intervals(draws: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Ends of the interval of every column: (n_columns, 2); NaN for fewer than two utterances.

    Parameters
    ----------
    draws : (n_resamples, n_columns) array
    n : (n_columns,) int array
        Utterances behind each column: of one alone, every resample would be the same.
    """
    return np.array(
        [
            percentile_interval(column) if count > 1 else (np.nan, np.nan)
            for column, count in zip(draws.T, n, strict=True)
        ]
    )


def over_languages(
    members: Sequence[tuple[np.ndarray, np.ndarray]], resampler: Resampler
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over languages of the mean over utterances: a language counts the same with few of them.

    Parameters
    ----------
    members : sequence of ((n, n_columns) values, (n,) sentence ids)
        One a language; those without an utterance are left out.
    resampler : Resampler

    Returns
    -------
    estimate : (n_columns,) array
    draws : (n_resamples, n_columns) array
    n : (n_columns,) int array
        Utterances.
    """
    kept = [one for one in members if len(one[1])] or list(members[:1])
    estimate = np.mean([mean_of_known(values) for values, _ in kept], axis=0)
    draws = np.mean([resampler.means(*one) for one in kept], axis=0)
    n = np.sum([np.isfinite(values).sum(axis=0) for values, _ in kept], axis=0)
    return estimate, draws, n


def by_condition(measured: Sequence[Measured]) -> dict[tuple[str, str, int], list[Measured]]:
    """The languages of every condition, in order of first appearance."""
    groups: dict[tuple[str, str, int], list[Measured]] = {}
    for one in measured:
        groups.setdefault(one.condition, []).append(one)
    return groups


def condition_columns(condition: tuple[str, str, int]) -> dict[str, Any]:
    """The first columns of a table."""
    return dict(zip(("module", "task", "step"), condition, strict=True))


def script_rows(
    measured: Sequence[Measured], scripts: Mapping[str, str], resampler: Resampler
) -> Iterator[dict[str, Any]]:
    """Rows of ``scripts.csv``: languages by script, and how far each is from those in Latin script.

    Parameters
    ----------
    measured : sequence of Measured
    scripts : mapping
        Script of each language.
    resampler : Resampler
        Over the sentences of all languages.

    Yields
    ------
    dict
        module, task, step, layer, ``script`` (or ``not Latin``), ``n_languages``, ``n`` utterances,
        ``gini`` with ``ci_low`` and ``ci_high``, and ``difference``, the script minus Latin, with
        ``difference_low`` and ``difference_high``; no value for Latin itself, or without it.
    """
    for condition, members in by_condition(measured).items():
        groups: dict[str, list[Measured]] = {}
        for one in members:
            script = scripts[one.language]
            groups.setdefault(script, []).append(one)
            if script != DOMINANT:
                groups.setdefault(OTHERS, []).append(one)
        found = {
            script: over_languages([(one.gini, one.sentences) for one in group], resampler)
            for script, group in groups.items()
        }
        for script, (estimate, draws, n) in found.items():
            apart = np.full((len(estimate), 3), np.nan)
            if script != DOMINANT and DOMINANT in found:
                latin, drawn, n_latin = found[DOMINANT]
                apart[:, 0] = estimate - latin
                apart[:, 1:] = intervals(draws - drawn, np.minimum(n, n_latin))
            ends = intervals(draws, n)
            for column, layer in enumerate(members[0].layers):
                yield condition_columns(condition) | {
                    "layer": layer, "script": script, "n_languages": len(groups[script]),
                    "n": n[column], "gini": estimate[column],
                    "ci_low": ends[column, 0], "ci_high": ends[column, 1],
                    "difference": apart[column, 0], "difference_low": apart[column, 1],
                    "difference_high": apart[column, 2],
                }  # fmt: skip
