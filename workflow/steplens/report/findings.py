"""What a run found, in sentences; every number is read from its tables."""

import itertools

import numpy as np
import pandas as pd

from steplens.control import ALL_PAIRS
from steplens.report.formatting import (
    CONTROLS,
    how_many,
    interval,
    number,
    points,
    step_name,
    task_name,
    two_decimals,
)
from steplens.wording import percent

ALPHA = 0.05
# How ``ranking.ties`` reads.
TIE_RULES = {
    "separation": "those with the largest standardised difference of means were taken",
    "column": "the first by layer and submodule were taken",
    "random": "lots were drawn among them",
}
_MOST_DIRECTIONS = 6  # of steering, that are spoken of one by one


def sharing(summary: pd.DataFrame) -> list[str]:
    """Diagonal ratio by step, from ``comparison/overlap_summary.csv``."""
    sentences = []
    for row in summary.sort_values("step").itertuples():
        how = "exact" if row.exact else "Monte Carlo"
        verdict = "above" if row.p < ALPHA else "not distinguishable from"
        sentences.append(
            f"At {step_name(row.step)}, {percent(row.diagonal_ratio)} "
            f"{interval(row.ci_low, row.ci_high)} of the neurons that the top-{row.k:,} of speech "
            f"and of text share are shared within one language: {verdict} chance, "
            f"{percent(row.chance)} "
            f"(p = {number(row.p)}, {how}, {row.n_permutations:,} permutations)."
        )
    if len(summary) > 1:
        ordered = summary.sort_values("diagonal_ratio")
        sentences.append(
            f"The ratio is highest at {step_name(ordered['step'].iloc[-1])} "
            f"and lowest at {step_name(ordered['step'].iloc[0])}."
        )
    smallest = 1 / summary["n_permutations"].min()
    if summary["exact"].all() and smallest >= ALPHA:
        sentences.append(
            f"With {summary['n_languages'].max()} languages no p below {number(smallest)} "
            "is possible: more languages are needed for a test."
        )
    return sentences


def ties(rows: pd.DataFrame, what: str, by: str) -> str:
    """How many neurons of the sets of a figure or table ties decided, in one sentence.

    Parameters
    ----------
    rows : DataFrame
        A row per set: ``decided_by_tie`` and ``tied``; where known module, task, step and language.
    what : str
        What the sets are, for example ``"top 400"``.
    by : str
        ``ranking.ties``: what ordered the tied ones.
    """
    affected = rows[rows["decided_by_tie"] > 0]
    if affected.empty:
        return f"No neuron of any {what} was decided by a tie."
    worst = affected.sort_values(["decided_by_tie", "tied"]).iloc[-1]
    where = [str(worst[name]) for name in ("language", "task") if name in rows]
    where += [step_name(worst["step"])] if worst.get("step", 0) else []
    return (
        f"Ties of AP decided neurons of {len(affected)} of {len(rows)} sets ({what}), at most "
        f"{worst['decided_by_tie']:,} of one, among {worst['tied']:,} of equal AP "
        f"({', '.join(where)}); {TIE_RULES[by]}."
    )


def control_ties(table: pd.DataFrame, by: str) -> list[str]:
    """Ties among the steered neurons, from ``steering/ties.csv``."""
    counts = table.groupby(["step", "language"], sort=False)[["decided_by_tie", "tied"]].sum()
    k = table["k"].iloc[0]
    return [ties(counts.reset_index(), f"top {k:,} and bottom {k:,} of a language", by)]


def stability(table: pd.DataFrame) -> list[str]:
    """What halves of the sentences agree on, by step, from ``comparison/stability.csv``."""
    means = table[table["language"] == "mean"].set_index(["step", "measure"])
    sentences = []
    for step in sorted(table["step"].unique()):
        row = {name: means.loc[(step, name)] for name in ("speech", "text", "speech_text")}
        sentences.append(
            f"At {step_name(step)}, two halves of the sentences agree on "
            f"{percent(row['speech']['share'])} of a language's top-{row['speech']['k']:,} in speech and "
            f"on {percent(row['text']['share'])} in text (chance {percent(row['speech']['chance'])}). "
            f"A half of speech agrees with a half of text on {percent(row['speech_text']['share'])}; "
            + _corrected(means.loc[(step, "corrected")], table["language"].nunique() - 1)
        )
    return sentences


def _corrected(row: pd.Series, n_languages: int) -> str:
    """What speech and text share once chance and unreliability are taken out, and where that is unknown."""
    n_pairs, n_without = row["n_splits"] * n_languages, row["n_without"]
    none = "a half of speech or of text agrees with the other half no better than chance"
    if n_without == n_pairs:
        return f"what they share beyond chance and noise has no value: everywhere {none}."
    without = (
        f" (without {n_without:,} of {n_pairs:,} halvings of a language, where {none})"
        if n_without
        else ""
    )
    return (
        "corrected for chance and for how far halves agree with themselves, speech and text share "
        f"{percent(row['share'])}{without}."
    )


def null(table: pd.DataFrame) -> list[str]:
    """The diagonal ratio beside that of shuffled labels, from ``comparison/null_ratio.csv``."""
    sentences = []
    for step, part in table.groupby("step", sort=True):
        rows = {row.null: row for row in part.itertuples()}
        apart, together = rows["apart"], rows["together"]
        sentence = (
            f"At {step_name(step)} the ratio is {percent(apart.diagonal_ratio)}. With language labels "
            f"shuffled in speech and in text apart it is {_drawn(apart)}: the ratio is "
            f"{_above(apart)} what chance gives. With the same shuffled label for an utterance in both "
            f"it is {_drawn(together)}: the ratio is {_above(together)} what speech and text share "
            "about any groups of the same utterances."
        )
        sentences.append(sentence)
    lowest = 1 / (1 + table["n_shuffles"].min())
    if lowest >= ALPHA:
        sentences.append(
            f"With {table['n_shuffles'].min()} shuffles no p below {number(lowest)} is possible: "
            "raise comparison.shuffles for a test."
        )
    return sentences


def learning_curve(table: pd.DataFrame) -> list[str]:
    """Whether the steps stand in one order at every number of sentences, and whether ratios still move.

    From ``comparison/learning_curve.csv``.
    """
    ratios = table[table["measure"] == "diagonal_ratio"]
    by_size = ratios.pivot(index="fraction", columns="step", values="value").sort_index()
    sizes = ratios.groupby("fraction")["n_sentences"].first()
    sentences = []
    if by_size.shape[1] > 1:
        sentences.append(_order(by_size, sizes))
        sentences += _unsure(ratios, by_size, sizes)
    if len(by_size) > 1:
        moved = by_size.iloc[-1] - by_size.iloc[-2]
        sentences.append(
            f"From {sizes.iloc[-2]:,} to {sizes.iloc[-1]:,} sentences the ratio changes by "
            + _listed([f"{points(one)} points at {step_name(step)}" for step, one in moved.items()])
            + f": every ratio here is the ratio at {sizes.iloc[-1]:,} sentences, not that of ever more."
        )
    few = ratios[ratios["n_left_out"] > 0].sort_values(["fraction", "step"])
    if len(few):
        parts = [
            f"{row.n_left_out:,} of {how_many(row.n_subsets, 'subset')} of {row.n_sentences:,} at "
            f"{step_name(row.step)}"
            for row in few.itertuples()
        ]
        sentences.append(
            f"Left out, since a language has fewer than two valid utterances there: {_listed(parts)}."
        )
    return sentences


_MOST_IN_ORDER = 6  # steps, whose order is written out


def _order(by_size: pd.DataFrame, sizes: pd.Series) -> str:
    """In which order the steps stand at each number of sentences: (fraction, step) ratios."""
    orders = {
        fraction: tuple(row.dropna().sort_values(ascending=False, kind="stable").index)
        for fraction, row in by_size.iterrows()
    }
    whole = by_size.index[-1]
    same = [fraction for fraction in orders if orders[fraction] == orders[whole]]
    written = len(orders[whole]) <= _MOST_IN_ORDER
    order = f" ({_ordered(orders[whole])})" if written else ""
    at = _listed([f"{sizes[fraction]:,}" for fraction in same])
    if len(same) == len(orders):
        return f"The order of the steps by diagonal ratio{order} is the same at {at} sentences."
    others = [fraction for fraction in orders if fraction not in same]
    how = [
        f"{_ordered(orders[fraction])} at {sizes[fraction]:,}"
        if written
        else f"{_inversions(by_size.loc[fraction], by_size.loc[whole])} at {sizes[fraction]:,}"
        for fraction in others
    ]
    return (
        f"The order of the steps by diagonal ratio changes with the number of sentences: "
        f"{_ordered(orders[whole]) if written else 'one order'} at {at}, {_listed(how)}."
    )


def _unsure(ratios: pd.DataFrame, by_size: pd.DataFrame, sizes: pd.Series) -> list[str]:
    """Which steps that follow each other in the order are not told apart by the subsets."""
    order = by_size.iloc[-1].dropna().sort_values(ascending=False, kind="stable").index
    if len(order) > _MOST_IN_ORDER:
        return []
    ends = ratios.set_index(["fraction", "step"])[["value_low", "value_high"]]
    sentences = []
    for higher, lower in itertools.pairwise(order):
        at = [
            f"{sizes[fraction]:,}"
            for fraction in by_size.index[:-1]  # of all sentences there is one set, and no range
            if ends.loc[(fraction, higher), "value_low"]
            <= ends.loc[(fraction, lower), "value_high"]
        ]
        if at:
            sentences.append(
                f"Ranges over subsets of {step_name(higher)} and {step_name(lower)} overlap at "
                f"{_listed(at)} sentences: with other sentences these two might change places."
            )
    return sentences


def _ordered(steps: tuple[int, ...]) -> str:
    """``1 > 11 > 6``; steps without a ratio are not in it."""
    return " > ".join(map(str, steps)) or "no step has a ratio"


def _inversions(one: pd.Series, other: pd.Series) -> str:
    """How many pairs of steps stand the other way round."""
    signs = [np.sign(np.subtract.outer(row.to_numpy(), row.to_numpy())) for row in (one, other)]
    pairs = np.triu(np.isfinite(signs[0]) & np.isfinite(signs[1]), 1)
    turned = (signs[0] != signs[1]) & pairs
    return f"{turned.sum():,} of {how_many(int(pairs.sum()), 'pair')} of steps the other way round"


def _listed(parts: list[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _drawn(row) -> str:
    return (
        f"{percent(row.null_ratio)} {interval(row.null_ratio_low, row.null_ratio_high)} "
        f"(p = {number(row.p)}, {row.n_shuffles} shuffles)"
    )


def _above(row) -> str:
    return "above" if row.p < ALPHA else "not distinguishable from"


def steering(effects: pd.DataFrame) -> list[str]:
    """Effect of steering by task and direction, from ``steering/effects.csv``.

    Of more than six directions the six with the largest effects whose interval excludes 0, or with the
    largest effects where there are none; how many others there are is said.
    """
    if effects.empty:
        return ["No steered pair is of two scripts, so there is no target-script rate."]
    present = set(effects["baseline"])
    baseline = next(name for name in ("random", "unsteered", "other_language") if name in present)
    chosen = effects[effects["baseline"] == baseline].sort_values("step")
    sentences = []
    for task, of_task in chosen.groupby("task", sort=False):
        rated = of_task.dropna(subset="difference")
        shown = _largest(rated)
        for direction in shown:
            part = rated[rated["direction"] == direction]
            sentences.append(_effect(task_name(task), direction, part, CONTROLS[baseline]))
        sentences += _others(task_name(task), of_task, rated, len(shown))
    return [sentence[0].upper() + sentence[1:] for sentence in sentences]


def _largest(rated: pd.DataFrame) -> list[str]:
    """The directions to speak of, those with clear and large effects first where there are many."""
    directions = list(dict.fromkeys(rated["direction"]))
    if len(directions) <= _MOST_DIRECTIONS:
        return directions
    size = rated["difference"].abs().where(_is_clear(rated), rated["difference"].abs() - 2)
    largest = size.groupby(rated["direction"]).max().sort_values(ascending=False, kind="stable")
    return list(largest.index[:_MOST_DIRECTIONS])


def _is_clear(part: pd.DataFrame) -> pd.Series:
    return (part["ci_low"] > 0) | (part["ci_high"] < 0)


def _effect(task: str, direction: str, part: pd.DataFrame, baseline: str) -> str:
    by_step = ", ".join(
        f"{points(row.difference)} {interval(row.ci_low, row.ci_high, points)} at {step_name(row.step)}"
        for row in part.itertuples()
    )
    where = " and ".join(step_name(step) for step in part[_is_clear(part)]["step"])
    return (
        f"{task}, {direction}: steering changes the target-script rate by {by_step} percentage points "
        f"against {baseline} (mean over {how_many(part['n_pairs'].max(), 'pair')}); "
        + (f"the interval excludes 0 at {where}." if where else "every interval includes 0.")
    )


def _others(task: str, of_task: pd.DataFrame, rated: pd.DataFrame, n_shown: int) -> list[str]:
    """What is said of directions that are not shown: how many, and how many have no rate."""
    n_rated = rated["direction"].nunique()
    without = of_task["direction"].nunique() - n_rated
    sentences = []
    if n_rated > n_shown:
        clear = rated[_is_clear(rated)]["direction"].nunique()
        sentences.append(
            f"{task}: these are the largest of {n_rated} directions; of all, {clear} have an interval that "
            "excludes 0 at some step, as a few would by chance (table of effects)."
        )
    if without:
        sentences.append(
            f"{task}: {how_many(without, 'direction')} without a rate, since no output has tokens in "
            "either script."
        )
    return sentences


def collapse(quality: pd.DataFrame) -> list[str]:
    """How many steered outputs are degenerate, from ``steering/quality.csv``."""
    if quality.empty:
        return []
    shares = quality.groupby(["task", "step", "control"])["degenerate_share"].mean()
    sentences = []
    for task in dict.fromkeys(quality["task"]):
        parts = [
            f"{percent(shares[task, step, 'steered'])} at {step_name(step)}"
            + (
                f" (random neurons {percent(shares[task, step, 'random'])})"
                if (task, step, "random") in shares.index
                else ""
            )
            for step in sorted(quality["step"].unique())
            if (task, step, "steered") in shares.index
        ]
        sentences.append(
            f"{task_name(task)}: outputs that collapse into repetition when steered: "
            f"{', '.join(parts)}. A rate reached by collapsed outputs shows which script the "
            "neurons favour, not that the model speaks the target language."
        )
    return [sentence[0].upper() + sentence[1:] for sentence in sentences]


def transfer(means: pd.DataFrame) -> list[str]:
    """Mean effect ratio by step, from ``steering/mean_effect_ratios.csv``."""
    if means.empty:
        return ["No pair reaches the asr control rate from which an effect ratio is formed."]
    parts = [
        f"{two_decimals(row.ratio)} {interval(row.ci_low, row.ci_high, two_decimals)} "
        f"at {step_name(row.step)} ({how_many(row.n_pairs, 'pair')})"
        for row in means[means["pairs"] == ALL_PAIRS].sort_values("step").itertuples()
    ]
    return [
        "How far neurons found in speech steer text too (effect ratio: tr rate over asr rate; "
        f"1 = as far as speech, 0 = not at all): on average {', '.join(parts)}."
    ]


def sources(table: pd.DataFrame) -> list[str]:
    """What two sources of speech share, from ``comparison/speech_sources.csv``."""
    sentences = []
    for row in table[table["other"] != "text"].itertuples():
        where = (
            "In the speech encoder"
            if row.module != "decoder"
            else f"In the decoder, {task_name(row.task)}, at {step_name(row.step)}"
        )
        sentence = (
            f"{where}, {row.one} and {row.other} speech share {percent(row.shared)} "
            f"{interval(row.shared_low, row.shared_high)} of a language's top {row.k:,}"
        )
        with_text = table[
            (table["other"] == "text") & (table["task"] == row.task) & (table["step"] == row.step)
        ].set_index("one")["shared"]
        if row.module == "decoder" and {row.one, row.other} <= set(with_text.index):
            sentence += (
                f"; with text, {row.one} shares {percent(with_text[row.one])} and {row.other} "
                f"{percent(with_text[row.other])}"
            )
        sentences.append(sentence + ".")
    return sentences
