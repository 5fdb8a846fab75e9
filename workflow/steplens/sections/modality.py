"""Report section: neurons that tell speech from text, and how well layers tell the language."""

from typing import Any

import pandas as pd

from ..figures.style import percent
from ..report_format import Formatter, how_many, number, step_name, task_name

TITLE = "Which neurons tell speech from text"
TABLES = {
    "modality/neurons.csv": "modality_tables",
    "modality/location.csv": "modality_tables",
    "modality/overlap.csv": "modality_tables",
    "modality/probes.csv": "gather_probes",
}
FIGURES = {12: "Modality-selective neurons", 13: "Telling the language, layer by layer"}
_POOLED = "all"


def content(tables: dict[str, pd.DataFrame], form: Formatter) -> dict[str, Any]:
    """Findings and tables of the section."""
    neurons, overlap = tables["neurons"], tables["overlap"]
    pooled = neurons[neurons["language"] == _POOLED]
    drop = ["modality", "invariant_expected", "k"]
    return {
        "k": f"{neurons['k'].iloc[0]:,}",
        "findings": [*_selective(pooled), *_with_language(overlap), *_told(tables["probes"])],
        "neurons": form.grouped(neurons.drop(columns=drop), ["task", "step"]),
        "overlap": form.grouped(overlap.drop(columns=["modality", "k"]), ["task", "step"]),
    }


def _selective(pooled: pd.DataFrame) -> list[str]:
    sentences = []
    for task, part in pooled.groupby("task", sort=False):
        steps = "; ".join(
            f"{row.n_perfect:,} of {row.n_neurons:,} at {step_name(row.step)}, and of the top {row.k:,} "
            f"{percent(row.invariant_share)} lie in the cross-attention's keys and values "
            f"(of all neurons {percent(row.invariant_expected)})"
            for row in part.itertuples()
        )
        modality = part["modality"].iloc[0]
        sentences.append(
            f"Neurons that tell {modality} without a fault in {task_name(task)}, all languages pooled: "
            f"{steps}."
        )
    return sentences


def _with_language(overlap: pd.DataFrame) -> list[str]:
    means = overlap.groupby(["task", "step"], sort=False)[["shared", "expected"]].mean()
    parts = ", ".join(
        f"{number(row.shared)} at {step_name(step)} in {task} (chance {number(row.expected)})"
        for (task, step), row in means.iterrows()
    )
    k, n = overlap["k"].iloc[0], overlap["language"].nunique()
    return [
        f"Of the top {k:,} for the modality so many are among the top {k:,} of a language, mean over "
        f"{how_many(n, 'language')}: {parts}."
    ]


def _told(probes: pd.DataFrame) -> list[str]:
    mean = probes[(probes["language"] == _POOLED) & (probes["module"] != "decoder")]
    sentences = []
    for task, part in mean.groupby("task", sort=False):
        lowest, last = part.loc[part["recall"].idxmin()], part.iloc[-1]
        sentences.append(
            f"In the {task} encoder a linear probe tells the language of {percent(last['recall'])} of the "
            f"utterances at its end ({_layer(last['layer'])}), of {percent(lowest['recall'])} at least "
            f"({_layer(lowest['layer'])}); chance is {percent(last['chance'])}."
        )
    return sentences


def _layer(name: Any) -> str:
    return f"layer {name}" if str(name).isdigit() else f"the {name}"
