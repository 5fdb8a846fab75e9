"""Figure 6: does the diagonal ratio depend on how many neurons are taken?"""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from steplens.figures.style import GREY, MARKERS, light_grid, new_figure, step_colours, styled
from steplens.wording import percent

_ALPHA = 0.05


@styled
def draw(sensitivity: pd.DataFrame) -> Figure:
    """Draw the diagonal ratio over k, one line a step with its interval as a band, and chance.

    Parameters
    ----------
    sensitivity : DataFrame
        ``comparison/sensitivity.csv``.
    """
    figure = new_figure(5.6, 3.6)
    axes = figure.add_subplot()
    colours = step_colours(sensitivity["step"].nunique())
    for index, (step, line) in enumerate(sensitivity.sort_values("k").groupby("step")):
        colour, marker = colours[index], MARKERS[index % len(MARKERS)]
        axes.plot(
            line["k"], 100 * line["diagonal_ratio"], color=colour, marker=marker, markersize=5,
            linewidth=1.6, label=f"t = {step}",
        )  # fmt: skip
        axes.fill_between(
            line["k"], 100 * line["ci_low"], 100 * line["ci_high"],
            color=colour, alpha=0.12, linewidth=0,
        )  # fmt: skip
        weak = line[line["p"] >= _ALPHA]
        axes.plot(
            weak["k"], 100 * weak["diagonal_ratio"], linestyle="none", marker=marker, markersize=5,
            markerfacecolor="white", markeredgecolor=colour,
        )  # fmt: skip
    chance = sensitivity["chance"].iloc[0]
    axes.axhline(
        100 * chance, color=GREY, linestyle="--", linewidth=1, label=f"chance, {percent(chance)}"
    )
    if (sensitivity["p"] >= _ALPHA).any():
        axes.plot([], [], "o", color=GREY, markerfacecolor="white", label=f"p ≥ {_ALPHA}")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(_readable(sorted(sensitivity["k"].unique()))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda k, _: f"{k:,.0f}"))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("k, neurons taken for each language (log scale)")
    axes.set_ylabel("diagonal ratio (%)")
    light_grid(axes)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _readable(sizes: list[int]) -> list[int]:
    """The k to label: all but those that would touch the label before them."""
    labelled = sizes[:1]
    gap = (sizes[-1] / sizes[0]) ** (1 / 12)
    for size in sizes[1:]:
        if size >= labelled[-1] * gap:
            labelled.append(size)
    return labelled
