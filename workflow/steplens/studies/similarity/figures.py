"""Figures 16 and 17: how alike languages and modalities are represented, and the trees of languages."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram

from steplens.figures.style import (
    BLACK,
    BLUE,
    GREY,
    LINES,
    ORANGE,
    VERMILION,
    light_grid,
    new_figure,
    no_data,
    save,
    styled,
)
from steplens.files.atomic import read_csv
from steplens.languages.table import Language, load_languages
from steplens.models.neurons import ADAPTER, EMBEDDING
from steplens.studies.similarity.languages import tree_of
from steplens.wording import full_name, in_order

MEASURES = {
    "svcca": "SVCCA",
    "pwcca": "PWCCA",
    "cka": "linear CKA",
    "cka_debiased": "linear CKA, debiased",
    "retrieval": "retrieval, top-1",
}
_GROUPS = {
    "cross_modal_same_language": ("speech and text of one language", VERMILION, "D"),
    "cross_lingual_speech": ("two languages, both speech", BLUE, "o"),
    "cross_lingual_text": ("two languages, both text", ORANGE, "s"),
}
_OF_DECODER = "cka_debiased"
_PAIRS = {"s2t_t2t": "s2t / t2t", "asr_tr": "asr / tr"}
_MOST_MARKERS = 14  # layers with a marker at each


def figure16(gaps_csv: Path, stem: Path) -> None:
    """Similarity by layer."""
    save(draw_layers(read_csv(gaps_csv)), stem)


def figure17(languages_csv: Path, stem: Path) -> None:
    """Trees of languages in speech and in text."""
    save(draw_trees(read_csv(languages_csv), load_languages()), stem)


@styled
def draw_layers(gaps: pd.DataFrame) -> Figure:
    """Figure 16: by layer, one language across modalities and languages within a modality.

    Parameters
    ----------
    gaps : DataFrame
        ``similarity/gaps.csv``.

    Returns
    -------
    Figure
        Above the encoders, a panel a measure; below the decoder by debiased CKA, a row a pair of tasks, a
        panel a step. Bands are 95 % intervals over languages; dashed, the same with sentences shuffled.
    """
    encoder, decoder = (gaps[gaps["module"] == module] for module in ("encoder", "decoder"))
    steps = sorted(decoder["step"].unique())
    tasks = in_order(decoder["task"])
    n_columns = max(len(MEASURES), len(steps))
    heights = [2.9, *([2.1] * len(tasks))]
    figure = new_figure(2.2 * n_columns + 0.4, sum(heights) + 0.9)
    rows = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False).ravel()
    rows[0].suptitle("Encoders: layer by layer, and after the length adapter", fontsize=10)
    panels = rows[0].subplots(1, len(MEASURES), squeeze=False).ravel()
    for axes, (measure, label) in zip(panels, MEASURES.items(), strict=True):
        _lines(axes, encoder[encoder["measure"] == measure])
        axes.set_title(label)
    panels[0].set_ylabel("similarity")
    for row, task in zip(rows[1:], tasks, strict=True):
        row.suptitle(f"Decoder, {_PAIRS.get(task, task)}: {MEASURES[_OF_DECODER]}", fontsize=10)
        panels_of_task = row.subplots(1, len(steps), squeeze=False, sharey=True).ravel()
        for axes, step in zip(panels_of_task, steps, strict=True):
            part = decoder[(decoder["task"] == task) & (decoder["step"] == step)]
            _lines(axes, part[part["measure"] == _OF_DECODER])
            axes.set_title(f"t = {step:g}")
        panels_of_task[0].set_ylabel("similarity")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _lines(axes: Axes, part: pd.DataFrame) -> None:
    """The three kinds of pairs over layers, each with its interval and its shuffled baseline."""
    layers = in_order(part["layer"])
    place = {layer: number for number, layer in enumerate(layers)}
    for group, (label, colour, marker) in _GROUPS.items():
        rows = part[part["group"] == group]
        x = rows["layer"].map(place)
        # The adapter's output is no further layer: text is that of its last layer once more.
        inside = (rows["layer"] != ADAPTER).to_numpy()
        for where in (inside, ~inside):
            axes.fill_between(
                *(x[where], rows.loc[where, "value_low"], rows.loc[where, "value_high"]),
                color=colour, alpha=0.18, linewidth=0,
            )  # fmt: skip
            axes.plot(
                x[where], rows.loc[where, "value"], color=colour, linewidth=1.4, markersize=3.5,
                marker=marker if len(layers) <= _MOST_MARKERS or not where[0] else None,
                label=label if where is inside else None,
            )  # fmt: skip
        axes.vlines(x[~inside], rows.loc[~inside, "value_low"], rows.loc[~inside, "value_high"],
                    color=colour, linewidth=1.2, alpha=0.6)  # fmt: skip
        axes.plot(x, rows["baseline"], color=colour, linestyle="--", linewidth=0.8, alpha=0.8)
    axes.plot([], [], color=GREY, linestyle="--", linewidth=0.8, label="sentences shuffled")
    shown = layers if len(layers) <= 8 else _some(layers)
    names = {EMBEDDING: "emb.", ADAPTER: "ad."}
    axes.set_xticks([place[layer] for layer in shown], [names.get(one, one) for one in shown])
    axes.set_xlim(-0.4, max(len(layers), 1) - 0.6)
    lowest = part.loc[part["group"].isin(_GROUPS), ["value_low", "value", "baseline"]].min().min()
    axes.set_ylim(min(0, lowest if pd.notna(lowest) else 0) - 0.02, 1.03)
    axes.set_xlabel("layer")
    light_grid(axes)


def _some(layers: list[str]) -> list[str]:
    """Every sixth layer from 6 on, and what is none."""
    return [one for one in layers if not one.isdigit() or (int(one) and int(one) % 6 == 0)]


@styled
def draw_trees(table: pd.DataFrame, languages: dict[str, Language]) -> Figure:
    """Figure 17: dendrograms of languages, speech and text side by side on one scale.

    Parameters
    ----------
    table : DataFrame
        ``similarity/languages.csv``.
    languages : dict
        Rows of the table of languages by code: names, and scripts for the colours of names.

    Returns
    -------
    Figure
        Merges stand at the mean distance, 1 - debiased CKA averaged over the encoder's layers.
    """
    trees = {one: tree_of(table, one) for one in ("speech", "text")}
    codes = trees["speech"][0] or trees["text"][0]
    figure = new_figure(8.6, 1.5 + 0.2 * max(len(codes), 6))
    if all(merges is None for _, merges in trees.values()):
        return no_data(figure, "no tree: it takes two languages whose distance is known")
    scripts = in_order(languages[code].script if code in languages else "" for code in codes)
    colour_of = dict(zip(scripts, LINES, strict=False)) if len(scripts) <= len(LINES) else {}
    furthest = max(merges[:, 2].max() for _, merges in trees.values() if merges is not None)
    panels = figure.subplots(1, 2)
    for axes, (modality, (names, merges)) in zip(panels, trees.items(), strict=True):
        axes.set_title(modality)
        if merges is None:
            axes.text(
                0.5, 0.5, "a distance is missing", ha="center", color=GREY, transform=axes.transAxes
            )
            continue
        _tree(axes, names, merges, languages, colour_of)
        axes.set_xlim(1.04 * furthest, 0)
        axes.set_xlabel("distance, 1 - debiased CKA")
    if len(colour_of) > 1:
        for script, colour in colour_of.items():
            panels[0].plot([], [], color=colour, linewidth=4, label=script or "unknown")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=len(labels),
            title="script",
            title_fontsize=8,
        )
    return figure


def _tree(axes: Axes, codes, merges, languages: dict[str, Language], colour_of) -> None:
    names = {code: language.name for code, language in languages.items()}
    drawn = dendrogram(
        merges, orientation="left", labels=codes, ax=axes, link_color_func=lambda _: BLACK
    )
    for lines in axes.collections:
        lines.set_linewidth(1.1)
    axes.set_yticklabels([full_name(code, names) for code in drawn["ivl"]], fontsize=8)
    for label, code in zip(axes.get_yticklabels(), drawn["ivl"], strict=True):
        script = languages[code].script if code in languages else ""
        label.set_color(colour_of.get(script, BLACK))
    axes.tick_params(axis="y", length=0)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    light_grid(axes, "x")
