"""Stage ``learning_curve``: the comparison over an eighth, a quarter, a half and all of the sentences.

Top-k sets from few sentences are noisy, so the diagonal ratio lies below the one that more sentences would
give, the more the weaker a step's neurons tell languages apart. Whether steps differ is therefore looked at
at several numbers of sentences (docs/methods/reliability.md).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from steplens.comparison.measures import diagonal_ratio, shared_neurons
from steplens.comparison.reliability import (
    MEASURES,
    examples_of,
    mean_of_known,
    stability,
    top_columns,
)
from steplens.errors import TooFewUtterances
from steplens.files.atomic import write_csv
from steplens.ranking.scores.ap import use_threads
from steplens.ranking.table import open_condition
from steplens.settings import DEFAULT_SELECTION, Selection
from steplens.statistics.relabelling import MIN_A_HALF, Examples, draw_halves, random_generator

log = logging.getLogger(__name__)

FRACTIONS = (1 / 8, 1 / 4, 1 / 2, 1)
RATIO = "diagonal_ratio"  # in the column measure, beside those of stability.csv


def learning_curve(
    stores_speech: dict[str, Path],
    stores_text: dict[str, Path],
    step: int,
    k: int,
    include_step_invariant: bool,
    n_subsets: int,
    n_splits: int,
    seed: int,
    threads: int,
    output: Path,
    left_out: Path | None = None,
    tasks: tuple[str, str] | None = None,
    selection: Selection = DEFAULT_SELECTION,
) -> None:
    """Diagonal ratio and split-half stability at one step, over growing subsets of the sentences.

    The stores are read once, in column blocks: all subsets and halves of a block are ranked together, and
    of each no more than the k best neurons are kept.

    Parameters
    ----------
    stores_speech, stores_text : dict
        Language to store, of s2t and of t2t.
    step, k : int
    include_step_invariant : bool
    n_subsets : int
        Subsets of every fraction but the whole.
    n_splits : int
        Halvings of the whole, the same as those of ``reliability``; a subset is halved once.
    seed, threads : int
    output : path
        A CSV with a row a fraction and measure, ``curve_table``.
    left_out : path, optional
        ``tables/speech_quality.csv``: what it leaves out takes no part.
    tasks : (str, str), optional
        Of speech and of text: stores must say that they are of these, and of the step.
    selection : Selection

    Raises
    ------
    StoreError
        A store is damaged, or of something else.
    ValueError
        Stores do not belong together, or a language has fewer than two valid utterances among all.
    """
    use_threads(threads)
    conditions = []
    for place, stores in enumerate((stores_speech, stores_text)):
        of = {} if tasks is None else {"module": "decoder", "task": tasks[place], "step": step}
        conditions.append(open_condition(stores, include_step_invariant, left_out, **of))
    examples = [
        examples_of(name, condition)
        for name, condition in zip(("speech", "text"), conditions, strict=True)
    ]
    # All of the corpus, valid or not, so that all steps have the same subsets.
    sentences = np.concatenate(
        [one["utterance"].to_numpy() for condition in conditions for one in condition.data]
    )
    curve, weights = weigh(examples, sentences, n_subsets, n_splits, seed)
    speech, text = (
        top_columns(condition, k, np.array(of_modality, dtype=np.uint8), selection=selection)[0]
        for condition, of_modality in zip(conditions, zip(*weights, strict=True), strict=True)
    )
    table = curve_table(curve, speech, text, len(conditions[0].columns))
    write_csv(pd.concat([pd.DataFrame({"step": step, "k": k}, table.index), table], axis=1), output)
    for row in table[table["measure"] == RATIO].itertuples():
        log.info("step %d: diagonal ratio %.3f with %d sentences, %d of %d subsets left out", step,
                 row.value, row.n_sentences, row.n_left_out, row.n_subsets)  # fmt: skip


def draw_subsets(sentences: np.ndarray, n_subsets: int, seed: int) -> dict[float, list[np.ndarray]]:
    """Random subsets of sentence ids for every fraction; of a draw, the smaller lie in the larger.

    Parameters
    ----------
    sentences : int array
        Ids, in whatever order and however often.
    n_subsets, seed : int

    Returns
    -------
    dict of fraction to list of (n_sentences,) int arrays
        The fraction of the ids, to the nearest whole number, at least 1; one set of all ids.
    """
    known = np.unique(sentences)
    generator = random_generator(seed, "subsets")
    orders = [generator.permutation(known) for _ in range(n_subsets)]
    sizes = {fraction: max(1, int(fraction * len(known) + 0.5)) for fraction in FRACTIONS[:-1]}
    subsets = {fraction: [order[:size] for order in orders] for fraction, size in sizes.items()}
    return subsets | {FRACTIONS[-1]: [known]}


@dataclass(frozen=True)
class Point:
    """One fraction of the sentences: which rows of the weights are its subsets and their halves.

    Attributes
    ----------
    fraction : float
    n_sentences : int
    wholes : list of int
        Row of each subset; None where it has too few utterances of a language to be ranked.
    halves : list of (int, int)
        Rows of the first and second halves; None where there are too few to be halved.
    """

    fraction: float
    n_sentences: int
    wholes: list[int | None] = field(default_factory=list)
    halves: list[tuple[int, int] | None] = field(default_factory=list)


def weigh(
    examples: Sequence[Examples], sentences: np.ndarray, n_subsets: int, n_splits: int, seed: int
) -> tuple[list[Point], list[tuple[np.ndarray, ...]]]:
    """Every subset and half as weights of the examples.

    Parameters
    ----------
    examples : sequence of Examples
        Of speech and of text.
    sentences : int array
        Ids to draw from.
    n_subsets, n_splits, seed : int

    Returns
    -------
    curve : list of Point
    weights : list of tuples of (n_examples,) bool arrays
        A row: whether each example of speech, and of text, is counted.
    """
    curve, weights = [], []

    def row(inside: Sequence[np.ndarray]) -> int:
        weights.append(tuple(inside))
        return len(weights) - 1

    for fraction, subsets in draw_subsets(sentences, n_subsets, seed).items():
        point = Point(fraction, len(subsets[0]))
        for number, subset in enumerate(subsets):
            inside = [np.isin(one.sentences, subset) for one in examples]
            point.wholes.append(row(inside) if _has_enough(examples, inside) else None)
            # All sentences are halved as ``reliability`` does.
            how = (n_splits, "halves") if fraction == 1 else (1, f"halves of subset {number}")
            for halves in _halved(examples, inside, how, seed):
                point.halves.append(None if halves is None else (row(halves[0]), row(halves[1])))
        curve.append(point)
    return curve, weights


def _has_enough(examples: Sequence[Examples], inside: Sequence[np.ndarray]) -> bool:
    """Whether speech and text have the utterances of every language that a ranking needs."""
    return all(
        np.bincount(one.labels[mask], minlength=len(one.languages)).min() >= MIN_A_HALF
        for one, mask in zip(examples, inside, strict=True)
    )


def _halved(
    examples: Sequence[Examples], inside: Sequence[np.ndarray], how: tuple[int, str], seed: int
) -> list[tuple[list[np.ndarray], list[np.ndarray]] | None]:
    """First and second halves of a subset, in speech and in text, once a split; None where it is too small.

    ``how`` is the number of splits and the stream of random numbers that draws them.
    """
    n_splits, stream = how
    subset = [
        replace(one, sentences=one.sentences[mask], labels=one.labels[mask])
        for one, mask in zip(examples, inside, strict=True)
    ]
    try:
        drawn = draw_halves(subset, n_splits, seed, stream)
    except TooFewUtterances:
        return [None] * n_splits
    found = []
    for split in zip(*drawn, strict=True):
        halves = [mask.copy() for mask in inside], [mask.copy() for mask in inside]
        for first, second, is_first in zip(*halves, split, strict=True):
            first[first], second[second] = is_first, ~is_first
        found.append(halves)
    return found


def curve_table(
    curve: Sequence[Point], speech: np.ndarray, text: np.ndarray, n_neurons: int
) -> pd.DataFrame:
    """What is measured at every number of sentences.

    Parameters
    ----------
    curve : sequence of Point
    speech, text : (n_rows, n_languages, k) int arrays
        Top-k columns under every row of the weights.
    n_neurons : int

    Returns
    -------
    DataFrame
        ``fraction``, ``n_sentences``; ``measure``: ``diagonal_ratio``, and those of ``stability``, mean over
        languages; ``value``, its mean over subsets, with ``value_low`` and ``value_high``, the lowest and
        the highest; ``chance``; ``n_subsets`` (of all sentences, halvings), ``n_left_out``, how many of them
        have too few utterances of a language; ``n_without``: subsets without a ratio, or languages of
        subsets without a corrected overlap, among the others.
    """
    rows = []
    for point in curve:
        wholes = [one for one in point.wholes if one is not None]
        halves = np.array([one for one in point.halves if one is not None], dtype=np.int64)
        halves = halves.reshape(-1, 2).T
        ratios = [diagonal_ratio(shared_neurons(speech[one], text[one])) for one in wholes]
        shares = stability(speech[halves], text[halves], n_neurons)
        measured = {RATIO: (np.reshape(ratios, (-1, 1)), 1 / speech.shape[1], point.wholes)}
        for name in MEASURES:
            chance = 0.0 if name == "corrected" else speech.shape[2] / n_neurons
            measured[name] = shares[name], chance, point.halves
        for measure, (values, chance, subsets) in measured.items():
            of_subset = mean_of_known(values, axis=1)
            rows.append(
                {
                    "fraction": point.fraction, "n_sentences": point.n_sentences, "measure": measure,
                    "value": mean_of_known(of_subset),
                    "value_low": np.fmin.reduce(of_subset, initial=np.nan),
                    "value_high": np.fmax.reduce(of_subset, initial=np.nan),
                    "chance": chance, "n_subsets": len(subsets),
                    "n_left_out": len(subsets) - len(values), "n_without": np.isnan(values).sum(),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)
