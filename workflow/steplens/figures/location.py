"""Figures 2 and 3: in which layers and submodules the language-representation neurons lie.

A cell is the number of a language's top-k neurons in one submodule of one layer over the number
that chance would put there (k times the cell's share of all neurons). The colour scale is
logarithmic with 1, chance, in its middle, so that twice and half are equally far from it.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FixedLocator, NullLocator

from .style import DIVERGING, GREY, TASK_NAMES, full_name, in_order, new_figure, styled

_ROW_HEIGHT = 0.155  # inches a submodule: the least at which 7 pt labels do not touch
_LABEL_SIZE = 7
_MOST_TICKS = 6
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
        One row an encoder, one column a language.
    """
    rows = [
        (label, location[location["module"] == module])
        for module, label in _ENCODERS.items()
        if (location["module"] == module).any()
    ]
    if not rows:
        raise ValueError(f"location.csv: module: expected rows of {', '.join(_ENCODERS)}, got none")
    return _draw(rows, names)


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
        One row a step and task, one column a language.
    """
    decoder = location[location["module"] == "decoder"]
    rows = [
        (f"t = {step}\n{task}", part)
        for step in sorted(decoder["step"].unique())
        for task in tasks
        if len(part := decoder[(decoder["step"] == step) & (decoder["task"] == task)])
    ]
    if not rows:
        raise ValueError(f"location.csv: task: expected decoder rows of {', '.join(tasks)}")
    shown = "; ".join(TASK_NAMES.get(task, task) for task in tasks)
    return _draw(rows, names, note=shown)


def _draw(rows: list[tuple[str, pd.DataFrame]], names: dict[str, str], note: str = "") -> Figure:
    """Heatmaps on a grid: a row for each (label, part of location.csv), a column a language."""
    languages = in_order(code for _, part in rows for code in part["language"])
    submodules = [in_order(part["submodule"]) for _, part in rows]
    heights = [len(names_) * _ROW_HEIGHT for names_ in submodules]
    figure = new_figure(2.1 + 1.25 * len(languages), sum(heights) + 0.22 * len(rows) + 1.3)
    grid = figure.subplots(len(rows), len(languages), squeeze=False, height_ratios=heights)
    limit = _limit(pd.concat([part for _, part in rows]))
    image = None
    # The two modules of figure 2 need not have the same number of layers.
    shared = len({part["layer"].nunique() for _, part in rows}) == 1
    for number, ((label, part), order, line) in enumerate(
        zip(rows, submodules, grid, strict=True), 1
    ):
        for language, axes in zip(languages, line, strict=True):
            image = _panel(axes, part[part["language"] == language], order, limit)
            last = number == len(rows) or not shared
            axes.tick_params(labelleft=axes is line[0], labelbottom=last, bottom=last)
        line[-1].yaxis.set_label_position("right")
        line[-1].set_ylabel(label, fontsize=9, fontweight="bold", labelpad=6)
    for language, axes in zip(languages, grid[0], strict=True):
        name = full_name(language, names).replace(" (", "\n(")  # columns are narrow
        axes.set_title(name, fontsize=8)
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
