"""Figures 7 and 8, beyond the paper: what steering does to the output, beside its controls."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steplens.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    VERMILION,
    light_grid,
    new_figure,
    no_data,
    styled,
)
from steplens.wording import TASK_NAMES, in_order

# Steered last: it is drawn over the others.
_CONTROLS = {
    "unsteered": ("unsteered", GREY, "o", ":"),
    "random": ("random neurons", BLUE, "s", "--"),
    "other_language": ("another language's neurons", ORANGE, "^", "-."),
    "steered": ("steered", VERMILION, "D", "-"),
}
_MEASURES = {
    "cer": "character error rate\nagainst the unsteered output (%)",
    "degenerate_share": "degenerate outputs (%)",
}
_LABEL_GAP = 5.0  # percentage points between two pair labels: one line of 6 pt
_MOST_NAMES = 20  # pairs in one panel that can be named
_MOST_COLUMNS = 6  # with more directions, those that lead to one script share a panel


@styled
def draw(rates: pd.DataFrame, languages: Sequence[str]) -> Figure:
    """Figure 7: the target-script rate under steering and its controls, by step.

    Parameters
    ----------
    rates : DataFrame
        ``steering/control_rates.csv`` with a column ``direction``, for example "Latin to CJK".
    languages : sequence of str
        Codes in the order of the language table; pairs are listed in this order.

    Returns
    -------
    Figure
        One row a task, one column a direction; of more than six directions a panel for each script that
        they lead to, in as many rows as that takes. Thick lines are means over the pairs that have a
        rate, thin ones single pairs, steered. Bars at random neurons: each pair's lowest and highest
        seed, averaged over pairs.
    """
    if rates.empty:
        return no_data(new_figure(5, 2), "no steered pair of languages with different scripts")
    if rates["direction"].nunique() > _MOST_COLUMNS:
        rates = rates.assign(direction="to " + rates["direction"].str.split(" to ").str[-1])
    tasks, directions = _tasks(rates), in_order(rates["direction"])
    columns = min(len(directions), _MOST_COLUMNS)
    lines = -(-len(directions) // columns)  # of panels, a task
    figure = new_figure(0.6 + 3.3 * columns, 0.6 + 2.5 * lines * len(tasks))
    grid = figure.subplots(lines * len(tasks), columns, squeeze=False, sharex=True, sharey=True)
    for task, line in zip(tasks, grid.reshape(len(tasks), -1), strict=True):
        for extra in line[len(directions) :]:
            extra.remove()
        for direction, axes in zip(directions, line, strict=False):
            part = rates[(rates["task"] == task) & (rates["direction"] == direction)]
            _pairs(axes, part[part["control"] == "steered"], languages)
            _means(axes, part, "rate", seeds="seed_low" in part)
            pairs = len(part[["source", "target"]].drop_duplicates())
            axes.set_title(f"{TASK_NAMES.get(task, task)}, {direction}, {pairs} pairs")
        for first in line[: len(directions) : columns]:
            first.set_ylabel("target-script rate (%)")
    for axes in figure.axes:
        axes.set_ylim(-4, 104)
    _steps(grid, rates)
    _legend(figure, grid[0, 0])
    return figure


@styled
def draw_quality(quality: pd.DataFrame) -> Figure:
    """Figure 8: how much steering changes and damages the output, by step.

    Parameters
    ----------
    quality : DataFrame
        ``steering/quality.csv``.

    Returns
    -------
    Figure
        One row a measure (character error rate against the unsteered output; share of degenerate
        outputs), one column a task. Lines are means over pairs, dots single pairs.
    """
    if quality.empty:
        return no_data(new_figure(5, 2), "no steered output")
    tasks = _tasks(quality)
    figure = new_figure(0.6 + 3.3 * len(tasks), 5.6)
    grid = figure.subplots(len(_MEASURES), len(tasks), squeeze=False, sharex=True, sharey="row")
    for (measure, label), line in zip(_MEASURES.items(), grid, strict=True):
        for task, axes in zip(tasks, line, strict=True):
            part = quality[quality["task"] == task]
            _means(axes, part, measure, dots=True)
            if measure == "cer":
                axes.set_title(TASK_NAMES.get(task, task))
        line[0].set_ylabel(label)
        values = quality[measure].to_numpy(dtype=float)
        top = 100 * values[np.isfinite(values)].max(initial=0.1)
        line[0].set_ylim(-0.04 * top, 1.08 * top)
    _steps(grid, quality)
    _legend(figure, grid[0, 0])
    return figure


def _tasks(frame: pd.DataFrame) -> list[str]:
    return sorted(frame["task"].unique(), key=list(TASK_NAMES).index)


def _means(
    axes: Axes, part: pd.DataFrame, value: str, dots: bool = False, seeds: bool = False
) -> None:
    """One line a control: the mean over pairs at each step, in percent; bars: range over seeds.

    Controls stand a little apart at each step: where they are equal, all stay visible.
    """
    apart = _apart(part["step"])
    for place, (control, (label, colour, marker, dash)) in enumerate(_CONTROLS.items()):
        rows = part[part["control"] == control]
        if rows.empty:
            continue
        shift = apart * (place - (len(_CONTROLS) - 1) / 2)
        if dots:
            axes.plot(
                rows["step"] + shift, 100 * rows[value], linestyle="none", marker=".", alpha=0.45,
                color=colour, markersize=4, markeredgewidth=0,
            )  # fmt: skip
        if seeds and (rows["n_seeds"] > 1).any():
            ends = 100 * rows.groupby("step")[["seed_low", "seed_high"]].mean()
            axes.vlines(ends.index + shift, *ends.to_numpy().T, color=colour, linewidth=1.4)
        mean = 100 * rows.groupby("step")[value].mean()
        axes.plot(
            mean.index + shift, mean, color=colour, marker=marker, linestyle=dash, markersize=5,
            linewidth=2 if control == "steered" else 1.4, label=label,
        )  # fmt: skip


def _apart(steps: pd.Series) -> float:
    """Distance between two controls at one step, in steps."""
    return 0.03 * np.diff(np.unique(steps)).min(initial=5)


def _pairs(axes: Axes, steered: pd.DataFrame, languages: Sequence[str]) -> None:
    """A thin line for each pair, named at its right unless all end in one place."""
    order = {code: place for place, code in enumerate(languages)}
    pairs = sorted(
        steered.dropna(subset="rate").sort_values("step").groupby(["source", "target"]),
        key=lambda item: [order.get(code, len(order)) for code in item[0]],
    )
    faint = 0.35 if len(pairs) <= _MOST_NAMES else 0.1
    ends = []
    for (source, target), line in pairs:
        axes.plot(line["step"], 100 * line["rate"], color=VERMILION, alpha=faint, linewidth=0.8)
        last = line.iloc[-1]
        ends.append((100 * last["rate"], last["step"], f"{source} → {target}"))
    ends.sort(key=lambda end: end[0])
    if not 0 < len(ends) <= _MOST_NAMES or ends[-1][0] - ends[0][0] < _LABEL_GAP:
        return
    for placed, (height, step, text) in zip(_spread([end[0] for end in ends]), ends, strict=True):
        axes.annotate(
            text, (step, height), (1.02, placed), textcoords=axes.get_yaxis_transform(),
            fontsize=6, color=VERMILION, va="center", annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "color": VERMILION, "alpha": 0.35, "linewidth": 0.5,
                "linestyle": ":", "shrinkA": 0, "shrinkB": 0, "relpos": (0, 0.5),
            },
        )  # fmt: skip


def _spread(heights: Sequence[float]) -> list[float]:
    """Places for labels near ascending heights, ``_LABEL_GAP`` apart; near ones move together."""
    groups: list[list[float]] = []  # of heights whose labels stand as one block about their mean
    for height in heights:
        groups.append([height])
        while len(groups) > 1 and _ends(groups[-2])[1] + _LABEL_GAP > _ends(groups[-1])[0]:
            groups[-2:] = [groups[-2] + groups[-1]]
    return [_ends(group)[0] + place * _LABEL_GAP for group in groups for place in range(len(group))]


def _ends(group: list[float]) -> tuple[float, float]:
    """Lowest and highest label of a block, moved to stay within the axes."""
    length = _LABEL_GAP * (len(group) - 1)
    lowest = min(max(sum(group) / len(group) - length / 2, 0), 100 - length)
    return lowest, lowest + length


def _steps(grid: np.ndarray, frame: pd.DataFrame) -> None:
    steps = sorted(frame["step"].unique())
    margin = 4 * _apart(frame["step"])
    for column in grid.T:
        drawn = [axes for axes in column if axes.figure is not None]  # not removed
        for axes in drawn:
            axes.set_xticks(steps)
            axes.set_xlim(steps[0] - margin, steps[-1] + margin)
            light_grid(axes)
        drawn[-1].set_xlabel("step t at which neurons were found")
        drawn[-1].tick_params(labelbottom=True)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), handlelength=3)
