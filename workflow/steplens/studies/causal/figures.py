"""Figures 18 and 19: what generation loses without the neurons that tell language or modality."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from steplens.figures.style import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
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
from steplens.wording import TASK_NAMES, in_order

# (neurons, matched_to): label, colour, marker, dash. The own language's last: drawn over the others.
_KINDS = {
    ("random", "language"): ("random, matched to the language's", BLUE, "s", "--"),
    ("random", "modality"): ("random, matched to the modality's", SKY, "v", "--"),
    ("other_language", "none"): ("another language's neurons", ORANGE, "^", "-."),
    ("modality", "none"): ("modality's neurons", PURPLE, "P", "-"),
    ("language", "none"): ("own language's neurons", VERMILION, "D", "-"),
}
_MEASURE = {"s2t": "chrf", "t2t": "chrf", "asr": "cer", "tr": "cer"}
_LABELS = {"chrf": "chrF", "cer": "character error rate (%)"}
_CHANGES = {"chrf": "change of chrF (points)", "cer": "change of character error rate (points)"}
_SCALE = {"chrf": 1.0, "cer": 100.0}
_MODULES = ("encoder", "decoder")
_APART = 1.035  # kinds stand side by side: a factor of k


def figure18(effects_csv: Path, by_language_csv: Path, stem: Path) -> None:
    """Quality of the output over the number of neurons that are replaced."""
    save(draw_effects(read_csv(effects_csv), read_csv(by_language_csv)), stem)


def figure19(by_language_csv: Path, stem: Path) -> None:
    """What it costs each language to lose its own neurons, and another language's."""
    save(draw_languages(read_csv(by_language_csv)), stem)


@styled
def draw_effects(effects: pd.DataFrame, by_language: pd.DataFrame) -> Figure:
    """Figure 18: character error rate of asr and tr, chrF of s2t and t2t, over k.

    Parameters
    ----------
    effects, by_language : DataFrame
        ``causal/effects.csv`` and ``causal/by_language.csv``.

    Returns
    -------
    Figure
        Above neurons of the encoder, below those of the decoder, one column a task; a line a kind of
        neurons, the mean over languages with its 95 % interval; hollow, the median over languages of the
        own language's. Dotted grey: all neurons free.
    """
    if effects.empty:
        return no_data(new_figure(5, 2), "no output with neurons replaced")
    tasks = _tasks(effects)
    figure = new_figure(0.8 + 2.7 * len(tasks), 5.6)
    grid = figure.subplots(len(_MODULES), len(tasks), squeeze=False)
    ks = sorted(k for k in effects["k"].unique() if k)
    for place, task in enumerate(tasks):
        measure = _MEASURE[task]
        part = _of(effects, task)
        bottom, top = _limits(part, measure)
        for module, axes in zip(_MODULES, grid[:, place], strict=True):
            rows = part[(part["module"] == "decoder") == (module == "decoder")]
            _over_k(axes, rows, ks, measure)
            _medians(axes, _of(by_language, task), rows["module"].unique(), measure)
            axes.set_ylim(bottom, top)
            axes.set_ylabel(_LABELS[measure])
            step = rows["step"].max()
            where = f"decoder, neurons of t = {step}" if module == "decoder" else _encoder(rows)
            axes.set_title(
                f"{TASK_NAMES.get(task, task)}\n{where}" if module == "encoder" else where
            )
        grid[-1, place].set_xlabel("neurons replaced, k")
    _legend(figure)
    return figure


@styled
def draw_languages(by_language: pd.DataFrame) -> Figure:
    """Figure 19: the change of quality, language by language, at the largest k.

    Parameters
    ----------
    by_language : DataFrame
        ``causal/by_language.csv``.

    Returns
    -------
    Figure
        Above neurons of the encoder, below those of the decoder, one column a task, one line a language
        of the input; a mark a kind of neurons with its 95 % interval. Further right is worse.
    """
    if by_language.empty:
        return no_data(new_figure(5, 2), "no output with neurons replaced")
    tasks, languages = _tasks(by_language), in_order(by_language["language"])
    k = by_language["k"].max()
    figure = new_figure(0.8 + 2.7 * len(tasks), 1.4 + 2 * (0.5 + 0.24 * len(languages)))
    grid = figure.subplots(len(_MODULES), len(tasks), squeeze=False, sharey=True, sharex="col")
    for place, task in enumerate(tasks):
        measure = _MEASURE[task]
        part = _of(by_language, task)
        part = part[part["k"] == k]
        for module, axes in zip(_MODULES, grid[:, place], strict=True):
            rows = part[(part["module"] == "decoder") == (module == "decoder")]
            _by_language(axes, rows, languages, measure)
            step = rows["step"].max()
            where = f"decoder, neurons of t = {step}" if module == "decoder" else _encoder(rows)
            axes.set_title(
                f"{TASK_NAMES.get(task, task)}\n{where}" if module == "encoder" else where
            )
        grid[-1, place].set_xlabel(_CHANGES[measure])
        if measure == "chrf":  # a loss is to the right, as in the other columns
            grid[-1, place].invert_xaxis()
    grid[0, 0].set_ylim(len(languages) - 0.5, -0.5)
    _legend(figure)
    return figure


def _tasks(frame: pd.DataFrame) -> list[str]:
    return sorted(frame["task"].unique(), key=list(TASK_NAMES).index)


def _of(frame: pd.DataFrame, task: str) -> pd.DataFrame:
    return frame[(frame["task"] == task) & (frame["measure"] == _MEASURE[task])]


def _encoder(rows: pd.DataFrame) -> str:
    return " ".join(in_order(rows["module"])).replace("_", " ")


def _kinds(rows: pd.DataFrame):
    for key, look in _KINDS.items():
        found = rows[(rows["neurons"] == key[0]) & (rows["matched_to"] == key[1])]
        if not found.empty:
            yield list(_KINDS).index(key), found, look


def _limits(part: pd.DataFrame, measure: str) -> tuple[float, float]:
    """A task's panels share one axis, of five points at least."""
    values = _SCALE[measure] * part[["value", "value_low", "value_high"]].to_numpy()
    low, high = np.nanmin(values), np.nanmax(values)
    if measure == "cer":
        low, high = 0.0, max(high, 5.0)
    else:
        low = min(low, high - 5.0)
    margin = 0.06 * (high - low)
    return low - margin, high + margin


def _over_k(axes: Axes, rows: pd.DataFrame, ks: list[int], measure: str) -> None:
    scale = _SCALE[measure]
    free = rows.loc[rows["neurons"] == "unchanged", "value"]
    if len(free):
        axes.axhline(scale * free.iloc[0], color=GREY, linestyle=":", linewidth=1.2,
                     label="all neurons free")  # fmt: skip
    # Kinds stand a little apart at each k: where they are equal, all stay visible.
    for place, found, (label, colour, marker, dash) in _kinds(rows):
        found = found.sort_values("k")
        x = found["k"] * _APART ** (place - (len(_KINDS) - 1) / 2)
        axes.vlines(x, scale * found["value_low"], scale * found["value_high"], color=colour,
                    linewidth=1.1, alpha=0.7)  # fmt: skip
        axes.plot(x, scale * found["value"], color=colour, marker=marker, linestyle=dash,
                  markersize=4.5, linewidth=1.5, label=label)  # fmt: skip
    axes.set_xscale("log")
    axes.set_xticks(ks, [f"{k:,}" for k in ks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(ks[0] / 1.25, ks[-1] * 1.25)
    light_grid(axes)


def _medians(axes: Axes, rows: pd.DataFrame, modules: np.ndarray, measure: str) -> None:
    """The middle language: one in which generation runs away carries the mean."""
    own = rows[rows["module"].isin(modules) & (rows["neurons"] == "language")]
    median = _SCALE[measure] * own.groupby("k")["value"].median()
    _, colour, marker, _ = _KINDS["language", "none"]
    axes.plot(median.index * _APART ** ((len(_KINDS) - 1) / 2), median, color=colour, marker=marker,
              markerfacecolor="white", markersize=4.5, linestyle="none",
              label="own language's, median over languages")  # fmt: skip


def _by_language(axes: Axes, rows: pd.DataFrame, languages: list[str], measure: str) -> None:
    scale = _SCALE[measure]
    place_of = {code: place for place, code in enumerate(languages)}
    axes.axvline(0, color=GREY, linestyle=":", linewidth=1.2)
    for place, found, (label, colour, marker, _) in _kinds(rows):
        y = found["language"].map(place_of) + 0.13 * (place - (len(_KINDS) - 1) / 2)
        axes.hlines(y, scale * found["change_low"], scale * found["change_high"], color=colour,
                    linewidth=1.0, alpha=0.6)  # fmt: skip
        axes.plot(scale * found["change"], y, color=colour, marker=marker, linestyle="none",
                  markersize=4, label=label)  # fmt: skip
    for line in range(1, len(languages)):
        axes.axhline(line - 0.5, color="#e5e5e5", linewidth=0.6)
    axes.set_yticks(range(len(languages)), languages)
    axes.tick_params(axis="y", length=0)
    axes.set_axisbelow(True)


def _legend(figure: Figure) -> None:
    figure.legend(*legend_entries(figure.axes), loc="outside upper center", ncols=3, handlelength=3)
