"""Figures 9 and 10, beyond the paper: how well the speech was made, and what its source changes."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from steplens.figures.style import (
    GREY,
    LINES,
    MARKERS,
    SKY,
    VERMILION,
    light_grid,
    new_figure,
    no_data,
    styled,
)
from steplens.wording import TASK_NAMES, full_name, in_order, percent

# Label, scale, and how far the axis reaches at least: all but nothing must not fill it.
_QUALITY = {
    "cer": ("character error rate\nof the model's own asr (%)", 100.0, 10.0),
    "seconds_per_character": ("seconds a character", 1.0, 0.1),
    "silent_share": ("silence (%)", 100.0, 10.0),
}
_SHARING = {
    "shared": "shared top-k neurons (%)",
    "diagonal_ratio": "diagonal ratio (%)",
}


@styled
def draw_quality(speech: pd.DataFrame, names: dict[str, str]) -> Figure:
    """Figure 9: error rate, pace and silence of every utterance; flagged ones stand out.

    Parameters
    ----------
    speech : DataFrame
        ``tables/speech_quality.csv``.
    names : dict
        Name of each language code.
    """
    if speech.empty:
        return no_data(new_figure(5, 2), "no utterance")
    languages = in_order(speech["language"])
    figure = new_figure(9.6, 0.9 + 0.32 * max(len(languages), 3))
    grid = figure.subplots(1, len(_QUALITY), sharey=True)
    generator = np.random.default_rng(0)
    for axes, (measure, (label, scale, least)) in zip(grid, _QUALITY.items(), strict=True):
        for row, language in enumerate(languages):
            part = speech[speech["language"] == language]
            heights = row + generator.uniform(-0.28, 0.28, len(part))
            flagged = part["flagged"].to_numpy(dtype=bool)
            values = scale * part[measure].to_numpy(dtype=float)
            for mask, colour, marker, size in (
                (~flagged, SKY, "o", 7),
                (flagged, VERMILION, "X", 26),
            ):
                axes.scatter(
                    values[mask], heights[mask], s=size, color=colour, marker=marker, linewidths=0
                )
            if np.isfinite(values).any():
                middle = np.nanmedian(values)
                axes.plot([middle, middle], [row - 0.36, row + 0.36], color="black", linewidth=1.4)
        axes.set_xlabel(label)
        axes.set_xlim(-0.02 * least, max(least, axes.get_xlim()[1]))
        light_grid(axes, "x")
    counts = speech.groupby("language")["flagged"].sum()
    grid[0].set_yticks(
        range(len(languages)),
        [f"{full_name(code, names)}, {counts[code]} flagged" for code in languages],
    )
    grid[0].invert_yaxis()
    grid[0].scatter([], [], s=12, color=SKY, label="utterance")
    grid[0].scatter([], [], s=26, color=VERMILION, marker="X", label="flagged utterance")
    grid[0].plot([], [], color="black", linewidth=1.4, label="median")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


@styled
def draw_sources(sources: pd.DataFrame) -> Figure:
    """Figure 10: what two sources of speech share with each other and with text.

    Parameters
    ----------
    sources : DataFrame
        ``comparison/speech_sources.csv``.

    Returns
    -------
    Figure
        One row a measure; one column the speech encoder and each task. Bars are 95 % intervals.
    """
    if sources.empty:
        return no_data(new_figure(5, 2), "no source of speech to compare")
    conditions = in_order(zip(sources["module"], sources["task"], strict=True))
    pairs = in_order(zip(sources["one"], sources["other"], strict=True))
    figure = new_figure(1.2 + 2.7 * len(conditions), 5.2)
    # Panels of one width: with others, the layout differs in its last bits from run to run.
    grid = figure.subplots(
        len(_SHARING), len(conditions), squeeze=False, sharey="row", sharex="col"
    )
    for (measure, label), line in zip(_SHARING.items(), grid, strict=True):
        for (module, task), axes in zip(conditions, line, strict=True):
            part = sources[(sources["module"] == module) & (sources["task"] == task)]
            _lines(axes, part, pairs, measure)
            if measure == "shared":
                axes.set_title(TASK_NAMES.get(task, module.replace("_", " ")))
        line[0].set_ylabel(label)
        line[0].set_ylim(0, 104)
    for axes, (module, _) in zip(grid[-1], conditions, strict=True):
        axes.set_xlabel("step t" if module == "decoder" else "")
    handles, labels = grid[0, -1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def _lines(axes: Axes, part: pd.DataFrame, pairs: list[tuple[str, str]], measure: str) -> None:
    steps = sorted(part["step"].unique())
    apart = 0.03 * np.diff(steps).min(initial=5)
    for number, (one, other) in enumerate(pairs):
        rows = part[(part["one"] == one) & (part["other"] == other)].sort_values("step")
        if rows.empty:
            continue
        value, low, high = (100 * rows[f"{measure}{end}"] for end in ("", "_low", "_high"))
        places, colour = rows["step"] + apart * (number - 1), LINES[number % len(LINES)]
        # Not as error bars: the ids of their elements in SVG differ from run to run.
        for place, *ends in zip(places, low, high, strict=True):
            axes.plot([place, place], ends, color=colour, linewidth=1, marker="_", markersize=4)
        axes.plot(
            places, value, color=colour, marker=MARKERS[number % len(MARKERS)], markersize=5,
            linewidth=1.6, label=f"{one} and {other}",
        )  # fmt: skip
    if measure == "diagonal_ratio" and len(part):
        chance = part["chance"].iloc[0]
        axes.axhline(100 * chance, color=GREY, linestyle="--", linewidth=1)
        axes.annotate(
            f"chance, {percent(chance)}", (0.98, 100 * chance), (0, 2), fontsize=7, color=GREY,
            xycoords=axes.get_yaxis_transform(), textcoords="offset points", ha="right",
        )  # fmt: skip
    axes.set_xticks(steps if steps != [0] else [], steps if steps != [0] else [])
    margin = 3 * apart
    axes.set_xlim(steps[0] - max(margin, 0.5), steps[-1] + max(margin, 0.5))
    light_grid(axes)
