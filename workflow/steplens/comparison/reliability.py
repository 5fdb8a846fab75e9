"""Stage ``reliability``: how stable the top-k sets are, and what ratio shuffled labels would give.

Split halves: each half of the sentences is ranked by itself, and the top-k sets of both are set side by
side. Shuffled labels: everything is ranked again as if the languages were others. The formulas, and what
they test, are in docs/methods/reliability.md.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from steplens.comparison.compare_step import most_tied, open_ranked, overlap_of
from steplens.comparison.measures import diagonal_ratio, shared_neurons
from steplens.files.atomic import write_csv
from steplens.ranking.resampled import relabelled_average_precision, resampled_average_precision
from steplens.ranking.scores.ap import use_threads
from steplens.ranking.selection import best_of_cells, shares, top_k
from steplens.ranking.separation import relabelled_separation, resampled_separation
from steplens.ranking.sorting import NEURONS_AT_A_TIME
from steplens.ranking.table import AP_DECIMALS, Condition
from steplens.settings import DEFAULT_SELECTION, Selection
from steplens.statistics.bootstrap import percentile_interval
from steplens.statistics.relabelling import Examples, draw_halves, shuffle_labels

log = logging.getLogger(__name__)

MEASURES = ("speech", "text", "speech_text", "corrected")
MEAN = "mean"  # in the column language
_AP_BYTES = 200_000_000


def reliability(
    ranking_speech: Path,
    ranking_text: Path,
    stores_speech: dict[str, Path],
    stores_text: dict[str, Path],
    step: int,
    k: int,
    include_step_invariant: bool,
    n_splits: int,
    n_shuffles: int,
    seed: int,
    threads: int,
    tables: dict[str, Path],
    left_out: Path | None = None,
    tasks: tuple[str, str] | None = None,
    selection: Selection = DEFAULT_SELECTION,
) -> None:
    """Split-half stability and the null of shuffled labels at one step.

    The stores are read once, in column blocks: all splits and shuffles of a block are ranked together,
    and of each no more than the k best neurons are kept.

    Parameters
    ----------
    ranking_speech, ranking_text : paths
        Rankings of s2t and t2t at this step: the observed ratio.
    stores_speech, stores_text : dict
        Language to store.
    step, k : int
    include_step_invariant : bool
    n_splits, n_shuffles, seed, threads : int
    tables : dict
        Outputs, by name: ``stability`` and ``null_ratio``.
    selection : Selection
    left_out : path, optional
        ``tables/speech_quality.csv``: what it leaves out takes no part.
    tasks : (str, str), optional
        As in ``compare_step``.

    Raises
    ------
    StoreError
        As in ``compare_step``.
    ValueError
        Too few valid utterances of a language for two halves.
    """
    use_threads(threads)
    (speech, text), conditions = open_ranked(
        (ranking_speech, ranking_text),
        (stores_speech, stores_text),
        step,
        include_step_invariant,
        left_out,
        tasks,
    )
    examples = [
        examples_of(name, condition)
        for name, condition in zip(("speech", "text"), conditions, strict=True)
    ]
    halves = draw_halves(examples, n_splits, seed)
    shuffles = shuffle_labels(examples, n_shuffles, seed)
    best = [
        best_neurons(condition, k, *draws, selection)
        for condition, *draws in zip(conditions, halves, shuffles, strict=True)
    ]
    (half_speech, null_speech), (half_text, null_text) = best
    shares = stability(half_speech, half_text, len(conditions[0].columns))
    counts = [np.bincount(one.labels) for one in examples]
    write_csv(
        _stability_table(shares, conditions[0].languages, counts, step, k, n_splits),
        tables["stability"],
    )
    scores = speech.scores(selection), text.scores(selection)
    observed = diagonal_ratio(overlap_of(*scores, k))
    rows = []
    for null, drawn in null_ratios(null_speech, null_text).items():
        row = {"step": step, "k": k, "n_languages": len(speech.languages), "null": null}
        rows.append(row | null_summary(observed, drawn) | most_tied(scores, k))
        log.info("step %d: diagonal ratio %.3f, labels shuffled %s %.3f on average, p = %.3g", step,
                 observed, null, rows[-1]["null_ratio"], rows[-1]["p"])  # fmt: skip
    write_csv(pd.DataFrame(rows), tables["null_ratio"])


def examples_of(name: str, condition: Condition) -> Examples:
    """The valid utterances of a condition, in the order of its labels.

    Parameters
    ----------
    name : str
        For messages: ``"speech"`` or ``"text"``.
    condition : Condition
    """
    sentences = [
        data["utterance"].to_numpy()[mask]
        for data, mask in zip(condition.data, condition.valid, strict=True)
    ]
    return Examples(name, condition.languages, np.concatenate(sentences), condition.labels)


class TopColumns:
    """The k best columns of many rankings that come block by block, ordered as ``top_k`` does (D6).

    Parameters
    ----------
    shape : tuple of int
        Of the rankings, for example (n_draws, n_languages).
    k : int
    cells : (n_neurons,) int array, optional
        Of all neurons, as in ``top_k``.
    """

    def __init__(self, shape: tuple[int, ...], k: int, cells: np.ndarray | None = None):
        self.k = k
        self._ap = np.empty((*shape, 0))
        self._order = np.empty((*shape, 0))
        self._columns = np.empty((*shape, 0), dtype=np.int64)
        self._cells = cells
        self._quota = None if cells is None else shares(cells, k)

    def add(self, ap: np.ndarray, start: int, tiebreak: np.ndarray | None = None) -> None:
        """Take the columns from ``start`` on, after all that came before.

        Parameters
        ----------
        ap : (\\*shape, width) array
        start : int
        tiebreak : (\\*shape, width) array, optional
            As in ``top_k``.
        """
        columns = np.broadcast_to(np.arange(start, start + ap.shape[-1]), ap.shape)
        order = np.zeros(ap.shape) if tiebreak is None else np.broadcast_to(tiebreak, ap.shape)
        # As ranking/table.py has it: equal AP is equal to the last bit.
        ap = np.concatenate([self._ap, np.round(ap, AP_DECIMALS)], axis=-1)
        order = np.concatenate([self._order, order], axis=-1)
        columns = np.concatenate([self._columns, columns], axis=-1)
        best = self._best(ap, order, columns)
        self._ap, self._order, self._columns = (
            np.take_along_axis(values, best, axis=-1) for values in (ap, order, columns)
        )

    def _best(self, ap: np.ndarray, order: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Places of what may still be among the k, best first."""
        # Those kept are in front, by AP, what breaks ties, and column: a stable order stays so.
        if self._quota is None:
            return top_k(ap, min(self.k, ap.shape[-1]), order)
        rows = zip(*(one.reshape(-1, ap.shape[-1]) for one in (ap, order, columns)), strict=True)
        kept = [
            best_of_cells(values, by, self._cells[where], self._quota) for values, by, where in rows
        ]
        return np.array(kept, dtype=np.int64).reshape(*ap.shape[:-1], -1)

    @property
    def columns(self) -> np.ndarray:
        """(\\*shape, k) int64 array, best first.

        Raises
        ------
        ValueError
            There were fewer columns than k.
        """
        if self._columns.shape[-1] < self.k:
            raise ValueError(
                f"k: expected 1 to {self._columns.shape[-1]} (the number of neurons), got {self.k}"
            )
        return self._columns


def best_neurons(
    condition: Condition,
    k: int,
    halves: np.ndarray,
    shuffles: np.ndarray,
    selection: Selection = DEFAULT_SELECTION,
) -> tuple[np.ndarray, np.ndarray]:
    """Top-k neurons of every half and of every shuffle, in one pass over the stores.

    Parameters
    ----------
    condition : Condition
    k : int
    halves : (n_splits, n_examples) bool array
        Whether an example is in the first half.
    shuffles : (n_shuffles, n_examples) int array
        Labels of every shuffle.
    selection : Selection
        What orders equal AP is computed from each half and shuffle, too.

    Returns
    -------
    halves : (2, n_splits, n_languages, k) int64 array
        Columns of the first and of the second halves' top k.
    shuffles : (n_shuffles, n_languages, k) int64 array
    """
    weights = np.concatenate([halves, ~halves]).astype(np.uint8)
    columns, shuffled = top_columns(condition, k, weights, shuffles, selection)
    return columns.reshape(2, len(halves), *columns.shape[1:]), shuffled


def top_columns(
    condition: Condition,
    k: int,
    weights: np.ndarray,
    labellings: np.ndarray | None = None,
    selection: Selection = DEFAULT_SELECTION,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Top-k neurons with some utterances counted more than others, or under other labels: one pass.

    Parameters
    ----------
    condition : Condition
    k : int
    weights : (n_weightings, n_examples) int array
        How often each example counts.
    labellings : (n_labellings, n_examples) int array, optional
        Other languages of the examples, each of which counts once.
    selection : Selection
        What orders equal AP is computed from each weighting and labelling, too.

    Returns
    -------
    weighted : (n_weightings, n_languages, k) int64 array
        Columns, best first. Of a language without weight, in no order that means anything.
    relabelled : (n_labellings, n_languages, k) int64 array, or None without labellings
    """
    n_languages, labels = len(condition.languages), condition.labels
    cells, lots = condition.cells(selection), condition.random_order(selection)
    separated = selection.ties == "separation"
    best = TopColumns((len(weights), n_languages), k, cells)
    relabelled = None
    if labellings is not None:
        relabelled = TopColumns((len(labellings), n_languages), k, cells)
    # The AP of all draws is in memory at once: of fewer columns where there are many.
    n_draws = max(len(weights), 0 if labellings is None else len(labellings))
    width = max(NEURONS_AT_A_TIME, _AP_BYTES // (8 * n_languages * n_draws))
    for where, block in condition.blocks():
        for start in range(0, block.shape[1], width):
            activations = np.ascontiguousarray(block[:, start : start + width])
            first = where.start + start
            order = None if lots is None else lots[:, first : first + activations.shape[1]]
            ap = resampled_average_precision(activations, labels, weights, n_languages)
            if separated:
                order = resampled_separation(activations, labels, weights, n_languages)
            best.add(ap, first, order)
            if relabelled is not None:
                ap = relabelled_average_precision(activations, labellings, n_languages)
                if separated:
                    order = relabelled_separation(activations, labellings, n_languages)
                relabelled.add(ap, first, order)
    return best.columns, None if relabelled is None else relabelled.columns


def stability(speech: np.ndarray, text: np.ndarray, n_neurons: int) -> dict[str, np.ndarray]:
    """Which share of the top k both halves have: within speech, within text, and across.

    Parameters
    ----------
    speech, text : (2, n_splits, n_languages, k) int arrays
        Top-k columns of the first and second halves.
    n_neurons : int

    Returns
    -------
    dict
        Of (n_splits, n_languages) arrays: ``speech`` and ``text``, between the halves of one modality;
        ``speech_text``, between a half of speech and the other half of text, mean of both ways;
        ``corrected``, what the last is beyond chance over the geometric mean of what the first two are:
        NaN where the halves of a modality agree no better than chance.
        With ``_chance``, what sets drawn at random would give: k / n_neurons, and 0 for ``corrected``.
    """
    chance = speech.shape[-1] / n_neurons
    within = [_shared_of_each(one[0], one[1]) for one in (speech, text)]
    across = (_shared_of_each(speech[0], text[1]) + _shared_of_each(speech[1], text[0])) / 2
    beyond = [np.where(share > chance, share - chance, np.nan) for share in within]
    corrected = (across - chance) / np.sqrt(beyond[0] * beyond[1])
    shares = dict(zip(MEASURES, (*within, across, corrected), strict=True))
    by_chance = dict.fromkeys(MEASURES, chance) | {"corrected": 0.0}
    return shares | {
        f"{name}_chance": np.full(across.shape, one) for name, one in by_chance.items()
    }


def _shared_of_each(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Share of the k columns that both have: (..., k), (..., k) -> (...)."""
    k = one.shape[-1]
    pairs = zip(one.reshape(-1, k), other.reshape(-1, k), strict=True)
    shared = [len(np.intersect1d(a, b, assume_unique=True)) for a, b in pairs]
    return np.reshape(shared, one.shape[:-1]) / k


def _stability_table(
    shares: dict[str, np.ndarray],
    languages: list[str],
    counts: list[np.ndarray],
    step: int,
    k: int,
    n_splits: int,
) -> pd.DataFrame:
    """A row a measure and language, and their mean: the mean over splits, and their range.

    ``n_without`` counts the splits without a value, of ``mean`` those of all languages together; they take
    no part in the mean and the range.
    """
    groups = [([place], code) for place, code in enumerate(languages)]
    groups.append((list(range(len(languages))), MEAN))
    rows = []
    for measure in MEASURES:
        for places, language in groups:
            share, chance = (
                mean_of_known(shares[name][:, places], axis=1)
                for name in (measure, f"{measure}_chance")
            )
            rows.append(
                {
                    "step": step, "k": k, "measure": measure, "language": language,
                    "share": mean_of_known(share),
                    "share_low": np.fmin.reduce(share), "share_high": np.fmax.reduce(share),
                    "chance": mean_of_known(chance), "n_splits": n_splits,
                    "n_without": np.isnan(shares[measure][:, places]).sum(),
                    "n_speech": counts[0][places].sum(), "n_text": counts[1][places].sum(),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def mean_of_known(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """The mean of what is finite; NaN without any."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis) / known.sum(axis)


def null_ratios(speech: np.ndarray, text: np.ndarray) -> dict[str, np.ndarray]:
    """Diagonal ratios of the top-k sets of shuffled labels.

    Parameters
    ----------
    speech, text : (n_shuffles, n_languages, k) int arrays
        Top-k columns; both modalities had the same shuffles.

    Returns
    -------
    dict
        Of (n_shuffles,) arrays: ``together``, speech against text of the same shuffle; ``apart``, against
        text of the next shuffle, so that speech and text have nothing in common but chance.
    """
    texts = {"together": text, "apart": np.roll(text, -1, axis=0)}
    return {
        null: np.array(
            [diagonal_ratio(shared_neurons(*pair)) for pair in zip(speech, other, strict=True)]
        )
        for null, other in texts.items()
    }


def null_summary(observed: float, drawn: np.ndarray) -> dict[str, float]:
    """The observed ratio beside those of shuffled labels.

    Parameters
    ----------
    observed : float
    drawn : (n_shuffles,) array
        NaN where top-k sets have nothing in common at all; counted as not below the observed.

    Returns
    -------
    dict
        ``diagonal_ratio``; ``null_ratio``, the mean of the draws, with ``null_ratio_low`` and
        ``null_ratio_high``, their 2.5th and 97.5th percentile; ``p`` = (1 + number of draws that reach the
        observed) / (1 + n_shuffles), NaN without an observed ratio; ``n_shuffles``.
    """
    reached = (~(drawn < observed)).sum()
    low, high = percentile_interval(drawn)
    return {
        "diagonal_ratio": observed,
        "null_ratio": float(mean_of_known(drawn)),
        "null_ratio_low": low,
        "null_ratio_high": high,
        "p": float((1 + reached) / (1 + len(drawn))) if np.isfinite(observed) else np.nan,
        "n_shuffles": len(drawn),
    }
