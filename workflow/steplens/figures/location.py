"""Figures 2 and 3: in which layers and submodules the language-representation neurons lie.

A cell is the number of a language's top-k neurons in one submodule of one layer over the number
that chance would put there (k times the cell's share of all neurons). The colour scale is
logarithmic with 1, chance, in its middle, so that twice and half are equally far from it.

Of more than eight languages all are drawn as one: their numbers are added up, found and expected.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FixedLocator, NullLocator

from steplens.figures.style import DIVERGING, GREY, new_figure, styled
from steplens.tasks import ALL
from steplens.wording import TASK_NAMES, full_name, in_order

_ROW_HEIGHT = 0.155  # inches a submodule: the least at which 7 pt labels do not touch
_LABEL_SIZE = 7
_MOST_TICKS = 6
_MOST_LANGUAGES = 8  # with a panel each
_LEAST_WIDTH = 5.6  # inches, for the label of the colour bar
_FOOTNOTE = "* projections of encoder states: the same at every step"
_ENCODERS = {"speech_encoder": "speech encoder", "text_encoder": "text encoder"}


@styled
def draw_encoders(location: pd.DataFrame, names: dict[str, str]) -> Figure:
    """Figure 2: both encoders.

    Parameters
    ----------
    location : DataFrame
        ``comparison/location.csv``.
    names : dict
        Name of each language code.

    Returns
    -------
    Figure
        One row an encoder, one column a language, or one for all of more than eight.
    """
    languages = in_order(location["language"])
    titles = _titles(languages, names)
    if len(languages) > _MOST_LANGUAGES:
        location, titles = _together(location), {ALL: f"all {len(languages)} languages"}
    rows = [
        (label, location[location["module"] == module])
        for module, label in _ENCODERS.items()
        if (location["module"] == module).any()
    ]
    if not rows:
        raise ValueError(f"location.csv: module: expected rows of {', '.join(_ENCODERS)}, got none")
    return draw_grid(rows, "language", titles)


@styled
def draw_decoder(
    location: pd.DataFrame, names: dict[str, str], tasks: Sequence[str] = ("s2t", "t2t")
) -> Figure:
    """Figure 3: the decoder, by step and task.

    Parameters
    ----------
    location : DataFrame
        ``comparison/location.csv``.
    names : dict
        Name of each language code.
    tasks : sequence of str
        Which tasks to show; ("asr",) shows the language-control neurons.

    Returns
    -------
    Figure
        One row a step and task, one column a language; of more than eight languages one row a task,
        one column a step.
    """
    decoder = location[(location["module"] == "decoder") & location["task"].isin(tasks)]
    if decoder.empty:
        raise ValueError(f"location.csv: task: expected decoder rows of {', '.join(tasks)}")
    present = [task for task in tasks if (decoder["task"] == task).any()]
    shown = "; ".join(TASK_NAMES.get(task, task) for task in present)
    steps = sorted(decoder["step"].unique())
    languages = in_order(decoder["language"])
    if len(languages) > _MOST_LANGUAGES:
        decoder = _together(decoder).sort_values("step", kind="stable")
        rows = [(task, decoder[decoder["task"] == task]) for task in present]
        note = f"{shown}; all {len(languages)} languages"
        return draw_grid(rows, "step", {step: f"t = {step}" for step in steps}, note)
    rows = [
        (f"t = {step}\n{task}", part)
        for step in steps
        for task in present
        if len(part := decoder[(decoder["step"] == step) & (decoder["task"] == task)])
    ]
    return draw_grid(rows, "language", _titles(languages, names), shown)


def _titles(languages: list[str], names: dict[str, str]) -> dict[str, str]:
    """In two lines: columns are narrow."""
    return {code: full_name(code, names).replace(" (", "\n(") for code in languages}


def _together(location: pd.DataFrame) -> pd.DataFrame:
    """All languages as one: neurons found and expected are added up."""
    cell = ["module", "task", "step", "layer", "submodule", "step_invariant"]
    sums = location.groupby(cell, sort=False, dropna=False)[["count", "expected"]].sum()
    return sums.reset_index().assign(language=ALL)


def draw_grid(
    rows: list[tuple[str, pd.DataFrame]], column: str, titles: dict, note: str = ""
) -> Figure:
    """Heatmaps on a grid: found over expected.

    Parameters
    ----------
    rows : list of (str, DataFrame)
        Label and part of a table like ``location.csv``, for each row of the grid.
    column : str
        Of the table: each of its values has a column of the grid.
    titles : dict
        Title of every value.
    note : str
        For the line below.
    """
    values = in_order(value for _, part in rows for value in part[column])
    submodules = [in_order(part["submodule"]) for _, part in rows]
    heights = [len(names_) * _ROW_HEIGHT for names_ in submodules]
    figure = new_figure(
        max(2.1 + 1.25 * len(values), _LEAST_WIDTH), sum(heights) + 0.22 * len(rows) + 1.3
    )
    grid = figure.subplots(len(rows), len(values), squeeze=False, height_ratios=heights)
    limit = _limit(pd.concat([part for _, part in rows]))
    image = None
    # The two modules of figure 2 need not have the same number of layers.
    shared = len({part["layer"].nunique() for _, part in rows}) == 1
    for number, ((label, part), order, line) in enumerate(
        zip(rows, submodules, grid, strict=True), 1
    ):
        for value, axes in zip(values, line, strict=True):
            image = _panel(axes, part[part[column] == value], order, limit)
            last = number == len(rows) or not shared
            axes.tick_params(labelleft=axes is line[0], labelbottom=last, bottom=last)
        line[-1].yaxis.set_label_position("right")
        line[-1].set_ylabel(label, fontsize=9, fontweight="bold", labelpad=6)
    for value, axes in zip(values, grid[0], strict=True):
        axes.set_title(titles[value], fontsize=8)
    invariant = any(part["step_invariant"].astype(bool).any() for _, part in rows)
    notes = ["layer", " · ".join(filter(None, [note, _FOOTNOTE if invariant else ""]))]
    figure.supxlabel("\n".join(filter(None, notes)), fontsize=8)
    _colour_bar(figure, image, grid, limit)
    return figure


def _panel(axes: Axes, part: pd.DataFrame, submodules: list[str], limit: float) -> AxesImage:
    """One language in one module: submodule x layer."""
    # No neuron has no logarithm. Taken as half of one, it is dark where many were expected and pale
    # where less than one was, so that a lack that means nothing does not fill the figure.
    ratio = part.assign(ratio=part["count"].clip(lower=0.5) / part["expected"])
    wide = ratio.pivot(index="submodule", columns="layer", values="ratio").reindex(submodules)
    layers = list(wide.columns)
    image = axes.imshow(
        wide.to_numpy(),
        cmap=DIVERGING, norm=LogNorm(1 / limit, limit), aspect="auto", interpolation="none",
    )  # fmt: skip
    starred = set(part.loc[part["step_invariant"].astype(bool), "submodule"])
    labels = [f"{name}*" if name in starred else name for name in submodules]
    axes.set_yticks(range(len(submodules)), labels, fontsize=_LABEL_SIZE)
    every = -(-len(layers) // _MOST_TICKS)
    axes.set_xticks(range(0, len(layers), every), layers[::every], fontsize=_LABEL_SIZE)
    axes.tick_params(axis="x", length=2)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set(visible=True, linewidth=0.4, edgecolor=GREY)
    return image


def _limit(location: pd.DataFrame) -> float:
    """Where the colours end: the power of two above 98 % of the cells, from 2 to 16.

    A few cells with a small expected count would otherwise take all of the scale.
    """
    ratio = location["count"] / location["expected"]
    distance = np.abs(np.log2(ratio[ratio > 0]))
    if distance.empty:
        return 2.0
    return float(2 ** np.clip(np.ceil(distance.quantile(0.98)), 1, 4))


def _colour_bar(figure: Figure, image: AxesImage, grid: np.ndarray, limit: float) -> None:
    bar = figure.colorbar(
        image, ax=grid, location="top", extend="both", aspect=60, shrink=0.6, pad=0.01
    )
    exponents = range(-round(np.log2(limit)), round(np.log2(limit)) + 1)
    bar.ax.xaxis.set_major_locator(FixedLocator([2.0**power for power in exponents]))
    bar.ax.xaxis.set_minor_locator(NullLocator())
    bar.ax.set_xticklabels([f"{2**p}" if p >= 0 else f"1/{2**-p}" for p in exponents])
    bar.ax.tick_params(labelsize=_LABEL_SIZE)
    bar.set_label("top-k neurons found / expected by chance (1 = chance)", fontsize=8)
