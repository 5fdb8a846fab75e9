"""Figures 12 and 13: neurons that tell speech from text, and how well each layer tells the language."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steplens.figures.location import draw_grid
from steplens.figures.style import (
    GREY,
    LINES,
    MARKERS,
    legend_entries,
    light_grid,
    new_figure,
    save,
    styled,
)
from steplens.files.atomic import read_csv
from steplens.models.neurons import ADAPTER, EMBEDDING
from steplens.tasks import ALL
from steplens.wording import TASK_NAMES, in_order, percent

_ENCODERS = {"speech": "speech encoder", "text": "text encoder"}
_PAIRS = {"s2t": "s2t / t2t", "t2t": "s2t / t2t", "asr": "asr / tr", "tr": "asr / tr"}


def figure12(location_csv: Path, stem: Path) -> None:
    """Where the neurons lie that tell speech, and those that tell text."""
    save(draw_location(read_csv(location_csv)), stem)


def figure13(probes_csv: Path, stem: Path) -> None:
    """How well layers tell the language."""
    save(draw_probes(read_csv(probes_csv)), stem)


@styled
def draw_location(location: pd.DataFrame) -> Figure:
    """Figure 12: top-k neurons for speech and for text, by layer and submodule, over chance.

    Parameters
    ----------
    location : DataFrame
        ``modality/location.csv``; rows with all languages pooled are drawn.

    Returns
    -------
    Figure
        One row a pair of tasks and modality, one column a step.
    """
    pooled = location[location["language"] == ALL]
    rows = [
        (f"{modality}\n{_PAIRS[task]}", pooled[pooled["task"] == task])
        for task, modality in pooled[["task", "modality"]].drop_duplicates().itertuples(index=False)
    ]
    titles = {step: f"t = {step}" for step in in_order(pooled["step"])}
    return draw_grid(rows, "step", titles, "all languages pooled")


@styled
def draw_probes(probes: pd.DataFrame) -> Figure:
    """Figure 13: how well a linear probe, and the best neuron, tell the language at each layer.

    Parameters
    ----------
    probes : DataFrame
        ``modality/probes.csv``; means over languages are drawn.

    Returns
    -------
    Figure
        Left to right the encoders, then the decoder at each step, a line a task; above the probe's
        accuracy with its interval, below the AP of the best neuron.
    """
    mean = probes[probes["language"] == ALL]
    steps = in_order(mean["step"])
    columns = min(len(steps), 5)
    lines = -(-len(steps) // columns)
    figure = new_figure(1.2 + 2.7 * columns, 0.7 + 4.6 * lines)
    grid = figure.subplots(2 * lines, columns, squeeze=False, sharey="row")
    names = in_order(mean["task"])
    looks = {
        name: (LINES[i % len(LINES)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(names)
    }
    for place, step in enumerate(steps):
        line, column = divmod(place, columns)
        above, below = grid[2 * line, column], grid[2 * line + 1, column]
        part = mean[mean["step"] == step]
        layers = _layers(part["layer"])
        for task in in_order(part["task"]):
            rows = part[part["task"] == task]
            x = [layers.index(layer) for layer in rows["layer"]]
            colour, marker = looks[task]
            label = _ENCODERS.get(task, TASK_NAMES.get(task, task))
            above.fill_between(
                x, 100 * rows["recall_low"], 100 * rows["recall_high"],
                color=colour, alpha=0.12, linewidth=0,
            )  # fmt: skip
            for axes, values in ((above, 100 * rows["recall"]), (below, rows["best_neuron_ap"])):
                axes.plot(x, values, color=colour, marker=marker, markersize=4, label=label)
        above.set_title("encoders" if step == 0 else f"decoder, t = {step}")
        _axes(above, layers, labelled=False)
        _axes(below, layers, labelled=True)
        chance = part["chance"].iloc[0]
        for axes, level in ((above, 100 * chance), (below, chance)):
            axes.axhline(level, color=GREY, linestyle="--", linewidth=1)
        if column == 0:
            above.set_ylabel("language told by the probe (%)")
            below.set_ylabel("AP of the best neuron")
        above.set_ylim(0, 103)
        below.set_ylim(0, 1.03)
    for extra in range(len(steps), lines * columns):
        for row in (0, 1):
            grid[2 * (extra // columns) + row, extra % columns].remove()
    dashed = f"chance, {percent(mean['chance'].iloc[0])}"
    figure.axes[-1].plot([], [], color=GREY, linestyle="--", linewidth=1, label=dashed)
    figure.legend(*legend_entries(figure.axes), loc="outside upper center", ncols=4)
    return figure


def _layers(found: pd.Series) -> list[str]:
    """All layers that there are, in running order."""
    numbers = sorted({int(name) for name in found if name.isdigit()})
    ends = [name for name in (EMBEDDING, ADAPTER) if (found == name).any()]
    return (
        [*ends[:1], *map(str, numbers), *ends[1:]] if EMBEDDING in ends else list(map(str, numbers))
    )


def _axes(axes: Axes, layers: list[str], labelled: bool) -> None:
    every = max(1, -(-len(layers) // 8))
    shown = [i for i, name in enumerate(layers) if not name.isdigit() or int(name) % every == 0]
    axes.set_xticks(shown, [layers[i] for i in shown] if labelled else [""] * len(shown))
    if labelled:
        axes.tick_params(axis="x", labelrotation=90)
        axes.set_xlabel("layer")
    axes.set_xlim(-0.5, len(layers) - 0.5)
    light_grid(axes)
