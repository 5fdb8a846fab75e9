"""Figures 14 and 15: how concentrated activations are, by layer, modality, script and language."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steplens.figures.style import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    SEQUENCE,
    SKY,
    VERMILION,
    legend_entries,
    light_grid,
    new_figure,
    no_data,
    save,
    styled,
)
from steplens.files.atomic import read_csv
from steplens.languages.table import load_languages
from steplens.studies.inequality.groups import STEP_DEPENDENT
from steplens.tasks import ALL, TEXT_TWIN
from steplens.wording import TASK_NAMES, full_name, in_order

_ALPHA = 0.05
# Label, colour and line of each task; the encoders have colours of speech and text.
_TASKS = {
    "s2t": (TASK_NAMES["s2t"], BLUE, "-"),
    "asr": (TASK_NAMES["asr"], SKY, "--"),
    "t2t": (TASK_NAMES["t2t"], VERMILION, "-"),
    "tr": (TASK_NAMES["tr"], ORANGE, "--"),
    "speech": ("speech", BLUE, "-"),
    "text": ("text", VERMILION, "-"),
}
_DOMINANT = "Latin"
_ENCODERS = "encoders"
_ORDER = "neurons, smallest first (%)"
# Modality and script to colour and line; what the others are set against comes first.
_CURVES = {
    ("text", _DOMINANT): (VERMILION, "-"),
    ("text", "other scripts"): (VERMILION, ":"),
    ("speech", _DOMINANT): (BLUE, "-"),
    ("speech", "other scripts"): (BLUE, ":"),
}


def figure14(gini_csv: Path, stem: Path) -> None:
    """Gini coefficient by layer."""
    save(draw_layers(read_csv(gini_csv)), stem)


def figure15(lorenz_csv: Path, paired_csv: Path, stem: Path) -> None:
    """Lorenz curves, and speech against text by language."""
    languages = load_languages()
    scripts = {code: language.script for code, language in languages.items()}
    names = {code: language.name for code, language in languages.items()}
    save(draw_concentration(read_csv(lorenz_csv), read_csv(paired_csv), scripts, names), stem)


@styled
def draw_layers(gini: pd.DataFrame) -> Figure:
    """Draw the Gini coefficient over layers, the mean over languages with its interval.

    Parameters
    ----------
    gini : DataFrame
        ``inequality/gini.csv``.

    Returns
    -------
    Figure
        A panel for the encoders and one for each step of the decoder; a line a task. The markers at the
        right are the whole module; hollow, without the cross-attention's keys and values.
    """
    means = gini[(gini["language"] == ALL) & (gini["submodule"] == ALL)]
    if means.empty:
        return no_data(new_figure(5, 2), "no activation measured")
    panels = [(_ENCODERS, means[means["module"] != "decoder"])]
    decoder = means[means["module"] == "decoder"]
    panels += [(f"decoder, t = {step}", part) for step, part in decoder.groupby("step")]
    columns = min(len(panels), 5 if len(panels) > 8 else 4)
    rows = -(-len(panels) // columns)
    figure = new_figure(1 + 2.5 * columns, 0.7 + 2.5 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axes in grid[len(panels) :]:
        axes.remove()
    for place, (axes, (title, part)) in enumerate(zip(grid, panels, strict=False)):
        _layers(axes, part)
        axes.set_title(title)
        if place % columns == 0:
            axes.set_ylabel("Gini coefficient of magnitudes")
    if len(panels[0][1]):
        grid[0].legend()
    handles, labels = legend_entries(grid[1 : len(panels)])
    if labels:
        figure.legend(handles, labels, loc="outside upper center", ncols=4 if columns > 3 else 2)
    return figure


def _layers(axes: Axes, part: pd.DataFrame) -> None:
    layers = sorted({int(layer) for layer in part["layer"] if layer.isdigit()})
    if not layers:
        return
    apart = max(1.5, 0.08 * len(layers))
    # Right of the layers: place, tick and face of what is not one of them.
    wholes = {ALL: (layers[-1] + apart, ALL, None)}
    if (part["layer"] == STEP_DEPENDENT).any():
        wholes[STEP_DEPENDENT] = (layers[-1] + 2 * apart, "without\nk and v", "white")
    tasks = [task for task in _TASKS if task in set(part["task"])]
    for number, task in enumerate(tasks):
        label, colour, dash = _TASKS[task]
        rows = part[part["task"] == task]
        single = rows[rows["layer"].str.isdigit()]
        single = single.assign(layer=single["layer"].astype(int))
        single = single.sort_values("layer")
        axes.fill_between(
            single["layer"], single["ci_low"], single["ci_high"], color=colour, alpha=0.25,
            linewidth=0,
        )  # fmt: skip
        few = {"marker": "o", "markersize": 3} if len(layers) <= 6 else {}
        axes.plot(
            single["layer"], single["gini"], color=colour, linestyle=dash, linewidth=1.4,
            label=label, **few,
        )  # fmt: skip
        for layer, (place, _, face) in wholes.items():
            # Side by side: they differ little.
            place += apart / 12 * (number - (len(tasks) - 1) / 2)
            whole = rows[rows["layer"] == layer]
            axes.vlines(place, whole["ci_low"], whole["ci_high"], color=colour, linewidth=1)
            axes.plot(
                [place] * len(whole), whole["gini"], color=colour, marker="D", markersize=4,
                markerfacecolor=face or colour, linestyle="none",
            )  # fmt: skip
    every = -(-len(layers) // 6)
    ticks = layers[::every]
    places, names, _ = zip(*wholes.values(), strict=True)
    axes.set_xticks([*ticks, *places], [*map(str, ticks), *names])
    axes.axvline(layers[-1] + apart / 2, color="#d0d0d0", linewidth=0.7)
    axes.set_xlabel("layer")
    light_grid(axes)


@styled
def draw_concentration(
    lorenz: pd.DataFrame, paired: pd.DataFrame, scripts: dict[str, str], names: dict[str, str]
) -> Figure:
    """Draw Lorenz curves, and below them the difference between speech and text by language.

    Parameters
    ----------
    lorenz, paired : DataFrame
        ``inequality/lorenz.csv`` and ``paired.csv``.
    scripts, names : dict
        Of each language code.

    Returns
    -------
    Figure
        Above, Lorenz curves of the encoders and of each pair of tasks at the first and at the last step,
        means over the languages in Latin script and over the others; beneath those of the decoder, the
        same minus that of text in Latin script. Below, a panel a pair of tasks: a row a language, a
        marker a step, hollow where the corrected p is 0.05 or more; a cross without the cross-attention's
        keys and values.
    """
    if lorenz.empty:
        return no_data(new_figure(5, 2), "no activation measured")
    curves = _panels(lorenz)
    whole = paired[paired["layer"] == ALL]
    languages = in_order(whole["language"])
    steps = sorted(whole["step"].unique())
    row_height = max(0.26, 0.05 * len(steps))
    heights = [4.0, 0.8 + row_height * max(len(languages), 3)]
    figure = new_figure(max(9.6, 2.3 * len(curves)), sum(heights) + 0.4)
    above, below = figure.subfigures(2, 1, height_ratios=heights)
    grid = above.subplots(
        2, len(curves), squeeze=False, sharey="row", sharex=True, height_ratios=(2, 1)
    )
    for axes, beneath, (title, part) in zip(*grid, curves, strict=True):
        _curves(axes, beneath, part, scripts)
        axes.set_title(title)
    grid[0, 0].set_ylabel("share of magnitude (%)")
    first = [title for title, _ in curves].count(_ENCODERS)  # the decoder's panels begin here
    if first:
        grid[0, 0].tick_params(axis="x", labelbottom=True)
        grid[0, 0].set_xlabel(_ORDER)
    if first < len(curves):
        grid[1, first].set_ylabel("minus text,\nLatin (points)")
        grid[1, first].tick_params(axis="y", labelleft=True)
    handles, labels = legend_entries(grid[0])
    above.legend(handles, labels, loc="outside upper center", ncols=5)
    pairs = in_order(zip(whole["speech_task"], whole["text_task"], strict=True))
    if not pairs:
        below.text(0.5, 0.5, "no sentence in both modalities", ha="center", color=GREY)
        return figure
    grid = below.subplots(1, len(pairs), squeeze=False, sharey=True, sharex=True)[0]
    for axes, (speech, text) in zip(grid, pairs, strict=True):
        of_pair = paired[(paired["speech_task"] == speech) & (paired["text_task"] == text)]
        _differences(axes, of_pair, languages, steps)
        axes.set_title(f"{speech} − {text}, same sentence")
        axes.set_xlabel("difference of Gini coefficients")
    grid[0].set_yticks(
        range(len(languages)),
        ["mean" if code == ALL else full_name(code, names) for code in languages],
    )
    grid[0].set_ylim(len(languages) - 0.5, -0.5)
    handles, labels = legend_entries(grid)
    below.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 9))
    return figure


def _panels(lorenz: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Title and rows of each panel of Lorenz curves: of many steps, the first and the last."""
    encoders = lorenz[lorenz["module"] != "decoder"]
    panels = [(_ENCODERS, encoders)] if len(encoders) else []
    decoder = lorenz[lorenz["module"] == "decoder"]
    for pair in TEXT_TWIN.items():
        part = decoder[decoder["task"].isin(pair)]
        for step in sorted({part["step"].min(), part["step"].max()}) if len(part) else []:
            panels.append((f"{' and '.join(pair)}, t = {step}", part[part["step"] == step]))
    return panels


def _curves(axes: Axes, beneath: Axes, part: pd.DataFrame, scripts: dict[str, str]) -> None:
    """Mean curves over the languages in Latin script and over the others, and how far they are apart."""
    script = part["language"].map(scripts).where(lambda one: one == _DOMINANT, "other scripts")
    spoken = part["task"].isin([*TEXT_TWIN, "speech"])
    modality = spoken.map({True: "speech", False: "text"})
    means = part.groupby([modality, script, "share_of_neurons"])["share_of_magnitude"].mean()
    if (part["module"] != "decoder").any():  # of other neurons: nothing is subtracted
        beneath.set_axis_off()
    reference = None
    for key, (colour, dash) in _CURVES.items():
        if key not in means.index.droplevel(-1):
            continue
        mean = 100 * means[key]
        reference = mean if reference is None else reference
        look = {"color": colour, "linestyle": dash, "linewidth": 1.3}
        axes.plot(100 * mean.index, mean, label=", ".join(key), **look)
        if beneath.axison:
            beneath.plot(100 * mean.index, mean - reference, **look)
    axes.plot([0, 100], [0, 100], color=GREY, linestyle="--", linewidth=0.8, label="all equal")
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    beneath.set_xlabel(_ORDER)
    light_grid(beneath)


def _differences(
    axes: Axes, part: pd.DataFrame, languages: list[str], steps: Sequence[int]
) -> None:
    for height in range(0, len(languages), 2):
        axes.axhspan(height - 0.5, height + 0.5, color="#f4f4f4", linewidth=0)
    colours = matplotlib.colormaps[SEQUENCE](np.linspace(0, 0.85, len(steps)))
    for place, (step, colour) in enumerate(zip(steps, colours, strict=True)):
        apart = 0.7 / len(steps) * (place - (len(steps) - 1) / 2)
        of_step = part[part["step"] == step]
        changing = of_step[of_step["layer"] == STEP_DEPENDENT]
        axes.plot(
            changing["difference"], changing["language"].map(languages.index) + apart, color=colour,
            linestyle="none", marker="x", markersize=4,
        )  # fmt: skip
        rows = of_step[of_step["layer"] == ALL]
        heights = rows["language"].map(languages.index) + apart
        axes.hlines(heights, rows["ci_low"], rows["ci_high"], color=colour, linewidth=1)
        clear, mean = rows["p_holm"] < _ALPHA, rows["language"] == ALL
        for of, marker in ((mean, "D"), (~mean, "o")):
            for mask, face in ((of & clear, colour), (of & ~clear, "white")):
                axes.plot(
                    rows["difference"][mask], heights[mask], linestyle="none", marker=marker,
                    markersize=4, color=colour, markerfacecolor=face, markeredgewidth=0.9,
                )  # fmt: skip
        axes.plot([], [], color=colour, marker="o", markersize=4, label=f"t = {step}")
    if (part["layer"] == STEP_DEPENDENT).any():
        axes.plot([], [], color=GREY, linestyle="none", marker="x", markersize=4,
                  label="without keys and values of the cross-attention")  # fmt: skip
    if ALL in languages:
        axes.axhline(languages.index(ALL) - 0.5, color="#d0d0d0", linewidth=0.7)
    axes.axvline(0, color=BLACK, linewidth=0.8)
    light_grid(axes, "x")
    axes.tick_params(axis="y", length=0)
