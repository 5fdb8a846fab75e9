"""Report section: neurons that tell speech from text, and how well layers tell the language."""

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from steplens.report.formatting import (
    Cell,
    Formatter,
    Table,
    how_many,
    number,
    step_name,
    task_name,
    two_decimals,
)
from steplens.tasks import ALL
from steplens.wording import percent

TITLE = "Which neurons tell speech from text"
TABLES = {
    "neurons": "modality_tables",
    "location": "modality_tables",
    "overlap": "modality_tables",
    "probes": "gather_probes",
}
FIGURES = {12: "Modality-selective neurons", 13: "Telling the language, layer by layer"}
Columns = Sequence[tuple[str, str, Callable[[float], str]]]


def three_decimals(value: float) -> str:
    """An AP."""
    return f"{value:.3f}"


def content(tables: dict[str, pd.DataFrame], form: Formatter) -> dict[str, Any]:
    """Findings and tables of the section."""
    neurons, overlap = tables["neurons"], tables["overlap"]
    pooled = neurons[neurons["language"] == ALL]
    return {
        "k": f"{neurons['k'].iloc[0]:,}",
        "findings": [*_selective(pooled), *_with_language(overlap), *_told(tables["probes"])],
        "neurons": _by_task(neurons, _NEURONS, form),
        "overlap": _by_task(overlap, _OVERLAP, form),
    }


# Heading of a column, its name in the table, and how its values are written.
_NEURONS = (
    ("utterances", "n_valid", number),
    ("AP = 1", "n_perfect", number),
    ("AP ≥ 0.95", "n_strong", number),
    ("AP of the k-th", "ap_at_k", three_decimals),
    ("in keys and values", "invariant_share", percent),
)
_OVERLAP = (
    ("shared neurons", "shared", number),
    ("by chance", "expected", number),
    ("p", "p", number),
    ("ρ", "rho", two_decimals),
)


def _by_task(table: pd.DataFrame, columns: Columns, form: Formatter) -> list[Table]:
    """A table a task, with a row a step and language, closed until it is asked for."""
    tables = []
    for task, part in table.groupby("task", sort=False):
        rows = [
            [
                Cell(step_name(row["step"]), "word"),
                form.code(row["language"]),
                *(Cell(write(row[name])) for _, name, write in columns),
            ]
            for row in part.to_dict("records")
        ]
        head = ["step", "language", *(heading for heading, *_ in columns)]
        tables.append(Table(head, rows, task_name(task), folded=True))
    return tables


def _by_step(rows: pd.DataFrame, name: str, write: Callable[[float], str]) -> str:
    """A number at every step."""
    return ", ".join(
        f"{write(value)} at {step_name(step)}"
        for step, value in zip(rows["step"], rows[name], strict=True)
    )


def _selective(pooled: pd.DataFrame) -> list[str]:
    sentences = []
    for task, part in pooled.groupby("task", sort=False):
        one = part.iloc[0]
        sentences.append(
            f"Of the top {one['k']:,} neurons for {one['modality']} in {task_name(task)}, all languages "
            f"pooled, {_by_step(part, 'invariant_share', percent)} lie in the cross-attention's keys and "
            f"values (of all neurons {percent(one['invariant_expected'])}); without a fault tell "
            f"{one['modality']} {_by_step(part, 'n_perfect', number)}, of {one['n_neurons']:,}."
        )
    return sentences


def _with_language(overlap: pd.DataFrame) -> list[str]:
    means = overlap.groupby(["task", "step"], sort=False)["shared"].mean().reset_index()
    parts = "; ".join(
        f"in {task} {_by_step(rows, 'shared', number)}"
        for task, rows in means.groupby("task", sort=False)
    )
    k, n = overlap["k"].iloc[0], overlap["language"].nunique()
    return [
        f"Of the top {k:,} for the modality so many are among the top {k:,} of a language, mean over "
        f"{how_many(n, 'language')}: {parts} (by chance {number(overlap['expected'].mean())})."
    ]


def _told(probes: pd.DataFrame) -> list[str]:
    mean = probes[probes["language"] == ALL]
    sentences = []
    for task, part in mean[mean["module"] != "decoder"].groupby("task", sort=False):
        lowest, last = part.loc[part["recall"].idxmin()], part.iloc[-1]
        sentences.append(
            f"In the {task} encoder a linear probe tells the language of {percent(last['recall'])} of the "
            f"utterances at its end ({_layer(last['layer'])}), of {percent(lowest['recall'])} at least "
            f"({_layer(lowest['layer'])}); chance is {percent(last['chance'])}."
        )
    decoder = mean[mean["module"] == "decoder"]
    best = decoder.groupby(["task", "step"], sort=False)["recall"].max().reset_index()
    tasks = "; ".join(
        f"in {task} {_by_step(rows, 'recall', percent)}"
        for task, rows in best.groupby("task", sort=False)
    )
    if tasks:
        sentences.append(f"In the decoder, at its best layer, a linear probe tells it {tasks}.")
    return sentences


def _layer(name: Any) -> str:
    return f"layer {name}" if str(name).isdigit() else f"the {name}"
