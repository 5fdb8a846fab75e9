"""Figure 11, beyond the paper: how stable the top-k sets are, and the ratio with shuffled labels."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steplens.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    SKY,
    VERMILION,
    light_grid,
    new_figure,
    styled,
)
from steplens.wording import percent

# Label, colour, marker and line of each measure.
_MEASURES = {
    "speech": ("speech, two halves", BLUE, "o", "-"),
    "text": ("text, two halves", ORANGE, "s", "-"),
    "speech_text": ("a half of speech, a half of text", VERMILION, "D", "-"),
    "corrected": ("the same, corrected for chance and noise", VERMILION, "D", ":"),
}
_NULLS = {
    "together": ("shuffled, speech and text together", SKY, "v"),
    "apart": ("shuffled, speech and text apart", GREY, "^"),
}
_MEAN = "mean"
_LEGEND = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2)}


@styled
def draw(stability: pd.DataFrame, null: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Draw both by step, side by side.

    Parameters
    ----------
    stability, null, summary : DataFrame
        ``comparison/stability.csv``, ``null_ratio.csv`` and ``overlap_summary.csv``.

    Returns
    -------
    Figure
        Left, the share of the top k that halves have in common: lines are means over languages, bars their
        range over splits, dots single languages; the legend says how many halvings of a language have no
        corrected value, if any. Right, the diagonal ratio with its interval, and the
        means of shuffled labels with the range of 95 % of the shuffles.
    """
    figure = new_figure(9.2, 4.6)
    left, right = figure.subplots(1, 2)
    _stability(left, stability)
    _null(right, null, summary)
    for axes in (left, right):
        steps = sorted(summary["step"])
        margin = 6 * _apart(summary["step"])
        axes.set_xticks(steps)
        axes.set_xlim(steps[0] - margin, steps[-1] + margin)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("step t")
        light_grid(axes)
        axes.legend(**_LEGEND)
    return figure


def _apart(steps: pd.Series) -> float:
    """Distance between two measures at one step, in steps: where they are equal, all stay visible."""
    return 0.04 * np.diff(np.unique(steps)).min(initial=5)


def _stability(axes: Axes, table: pd.DataFrame) -> None:
    for place, (measure, (label, colour, marker, dash)) in enumerate(_MEASURES.items()):
        shift = _apart(table["step"]) * (place - 1.5)
        rows = table[table["measure"] == measure].sort_values("step")
        single, mean = rows[rows["language"] != _MEAN], rows[rows["language"] == _MEAN]
        axes.plot(
            single["step"] + shift, 100 * single["share"], linestyle="none", marker=".", alpha=0.45,
            color=colour, markersize=4, markeredgewidth=0,
        )  # fmt: skip
        ends = (mean["share_low"], mean["share_high"])
        if n_without := mean["n_without"].sum():
            label += f"\n(no value in {n_without:,} of {single['n_splits'].sum():,})"
        _line(axes, mean["step"] + shift, mean["share"], ends, colour, marker, dash, label)
    chance = table.loc[table["measure"] == "speech", "chance"].iloc[0]
    _dashed(axes, chance)
    k = f"{table['k'].iloc[0]:,}"
    axes.set_title(f"Split halves: is the top-{k} the same?")
    axes.set_ylabel(f"share of the top-{k} in both (%)")


def _null(axes: Axes, null: pd.DataFrame, summary: pd.DataFrame) -> None:
    for place, (name, (label, colour, marker)) in enumerate(_NULLS.items()):
        shift = _apart(summary["step"]) * (place - 1)
        rows = null[null["null"] == name].sort_values("step")
        ends = (rows["null_ratio_low"], rows["null_ratio_high"])
        _line(axes, rows["step"] + shift, rows["null_ratio"], ends, colour, marker, "--", label)
    rows = summary.sort_values("step")
    ends = (rows["ci_low"], rows["ci_high"])
    steps = rows["step"] + _apart(summary["step"])
    _line(axes, steps, rows["diagonal_ratio"], ends, VERMILION, "D", "-", "observed")
    _dashed(axes, summary["chance"].iloc[0])
    axes.set_title("Shuffled labels: would they give the same ratio?")
    axes.set_ylabel("diagonal ratio (%)")


def _line(axes, steps, values, ends, colour, marker, dash, label) -> None:
    """A line through values, with a bar from end to end at each."""
    axes.vlines(steps, 100 * ends[0], 100 * ends[1], color=colour, linewidth=1.4, alpha=0.6)
    hollow = {"markerfacecolor": "white"} if dash == ":" else {}
    axes.plot(
        steps, 100 * values, color=colour, marker=marker, markersize=5, linewidth=1.4,
        linestyle=dash, label=label, **hollow,
    )  # fmt: skip


def _dashed(axes: Axes, chance: float) -> None:
    axes.axhline(
        100 * chance, color=GREY, linestyle="--", linewidth=0.8, label=f"chance, {percent(chance)}"
    )
