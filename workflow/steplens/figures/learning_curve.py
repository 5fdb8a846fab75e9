"""Figure 20, beyond the paper: ratio, stability and corrected overlap over the number of sentences."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from steplens.figures.style import (
    GREY,
    MARKERS,
    legend_entries,
    light_grid,
    new_figure,
    step_colours,
    styled,
)

# Title, labels and measures of each panel, these with their lines.
_PANELS = (
    ("Diagonal ratio", "sentences", "diagonal ratio (%)", {"diagonal_ratio": "-"}),
    (
        "Do two halves of them agree?",
        "sentences, both halves together",
        "share of the top-{k} in both (%)",
        {"speech": "-", "text": ":"},
    ),
    (
        "Speech and text, corrected",
        "sentences, both halves together",
        "overlap, corrected for chance and noise (%)",
        {"corrected": "-"},
    ),
)
_OF_HALVES = _PANELS[1][-1]
_NAMES = {"speech": "within speech", "text": "within text"}


@styled
def draw(curve: pd.DataFrame) -> Figure:
    """Draw three panels over the number of sentences, one line a step.

    Parameters
    ----------
    curve : DataFrame
        ``comparison/learning_curve.csv``.

    Returns
    -------
    Figure
        Means over subsets, bars from the lowest to the highest subset, and chance. Hollow markers: some
        subsets are left out or have no value.
    """
    steps = sorted(curve["step"].unique())
    figure = new_figure(10.2, 4.2)
    panels = figure.subplots(1, len(_PANELS))
    for axes, (title, counted, label, measures) in zip(panels, _PANELS, strict=True):
        for place, step in enumerate(steps):
            own = curve[curve["step"] == step]
            for measure, dash in measures.items():
                _line(axes, own[own["measure"] == measure], place, len(steps), dash)
        axes.axhline(
            100 * curve.loc[curve["measure"].isin(measures), "chance"].iloc[0],
            color=GREY, linestyle="--", linewidth=0.9,
        )  # fmt: skip
        axes.set_title(title)
        axes.set_ylabel(label.format(k=f"{curve['k'].iloc[0]:,}"))
        axes.set_xlabel(f"{counted} (log scale)")
        _over_sentences(axes, sorted(curve["n_sentences"].unique()))
    _legend(figure, panels, curve, steps)
    return figure


def _line(axes: Axes, rows: pd.DataFrame, place: int, n_steps: int, dash: str) -> None:
    """A step's line, with a bar over subsets at each number of sentences."""
    rows = rows.sort_values("n_sentences")
    colour, marker = step_colours(n_steps)[place], MARKERS[place % len(MARKERS)]
    # Side by side, where bars of several steps would cover each other.
    at = rows["n_sentences"] * 1.035 ** (place - (n_steps - 1) / 2)
    ends = 100 * rows["value_low"], 100 * rows["value_high"]
    axes.vlines(at, *ends, color=colour, linewidth=1.3, alpha=0.55)
    axes.plot(at, 100 * rows["value"], color=colour, linestyle=dash, linewidth=1.5)
    whole = (rows["n_left_out"] + rows["n_without"]) == 0
    for those, face in ((whole, colour), (~whole, "white")):
        axes.plot(
            at[those], 100 * rows["value"][those], linestyle="none", marker=marker, markersize=5,
            color=colour, markerfacecolor=face,
        )  # fmt: skip


def _over_sentences(axes: Axes, sizes: list[int]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(sizes[0] / 1.25, sizes[-1] * 1.25)
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.0f}"))
    low, high = axes.get_ylim()
    axes.set_ylim(min(0, low), high)
    light_grid(axes)


def _legend(figure: Figure, panels: np.ndarray, curve: pd.DataFrame, steps: list[int]) -> None:
    """Under all panels: the steps, what lines are, and, if there are any, what hollow markers say."""
    first, second = panels[0], panels[1]
    for place, step in enumerate(steps):
        first.plot(
            [], [], color=step_colours(len(steps))[place], marker=MARKERS[place % len(MARKERS)],
            markersize=5, linewidth=1.5, label=f"t = {step}",
        )  # fmt: skip
    for measure, dash in _OF_HALVES.items():
        second.plot([], [], color=GREY, linestyle=dash, linewidth=1.5, label=_NAMES[measure])
    second.plot([], [], color=GREY, linestyle="--", linewidth=0.9, label="chance")
    if (curve["n_left_out"] + curve["n_without"]).any():
        second.plot(
            [], [], color=GREY, linestyle="none", marker="o", markersize=5, markerfacecolor="white",
            label="not all subsets have a value",
        )  # fmt: skip
    handles, labels = legend_entries(panels)
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 7))
