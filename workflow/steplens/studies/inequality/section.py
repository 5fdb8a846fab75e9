"""The report's section on activation inequality."""

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from steplens.report.formatting import (
    DASH,
    Cell,
    Formatter,
    Table,
    how_many,
    interval,
    number,
    step_name,
)
from steplens.studies.inequality.groups import STEP_DEPENDENT
from steplens.tasks import ALL
from steplens.wording import in_order, percent

TITLE = "Activation inequality"
TABLES = dict.fromkeys(("gini", "shares", "scripts", "paired"), "summarize_inequality")
FIGURES = {14: "Inequality by layer", 15: "Lorenz curves, and speech against text"}

ALPHA = 0.05
_OTHERS = "not Latin"
_FOLDED_FROM = 9  # rows, as in report_format
_ENCODERS = {"speech": "speech encoder", "text": "text encoder"}


def content(tables: dict[str, pd.DataFrame], form: Formatter) -> dict[str, Any]:
    """What the template shows.

    Parameters
    ----------
    tables : dict
        ``gini``, ``shares``, ``scripts`` and ``paired``.
    form : Formatter

    Returns
    -------
    dict
        ``findings`` (sentences); ``gini``, ``paired``, ``scripts`` and ``submodules`` (lists of tables).
    """
    gini = tables["gini"].astype({"layer": str})
    paired = _of_module(tables["paired"])
    changing = _of_module(tables["paired"], STEP_DEPENDENT)
    together = pd.concat(
        [
            paired.assign(task=paired["speech_task"] + " − " + paired["text_task"]),
            changing.assign(
                task=changing["speech_task"]
                + " − "
                + changing["text_task"]
                + ", without step-invariant submodules"
            ),
        ]
    )
    scripts = _of_module(tables["scripts"])
    module = _of_module(gini)
    return {
        "findings": [
            *_modality(paired, changing),
            *_by_script(scripts),
            *_top(tables["shares"]),
            *_without_value(gini),
        ],
        "gini": _by_step(module, "language", _gini, form),
        "paired": _by_step(together, "language", _difference, form),
        "scripts": _by_step(_not_latin(scripts), "script", _apart, form, "minus Latin"),
        "submodules": _by_step(_submodules(gini), "submodule", _plain, form),
    }


def _of_module(table: pd.DataFrame, layer: str = ALL) -> pd.DataFrame:
    """Rows of whole modules, or of their step-dependent neurons."""
    rows = table[table["layer"].astype(str) == layer]
    return rows[rows["submodule"] == ALL] if "submodule" in rows else rows


def _modality(paired: pd.DataFrame, changing: pd.DataFrame) -> Iterator[str]:
    """Speech against text, of all neurons and of the step-dependent ones, by pair of tasks."""
    for (speech, text), part in paired.groupby(["speech_task", "text_task"], sort=False):
        means = part[part["language"] == ALL].sort_values("step")
        tests = part[(part["language"] != ALL) & part["p_holm"].notna()]
        if tests.empty:
            yield f"{speech} and {text} have no sentence in common: nothing is paired."
            continue
        clear = tests[tests["p_holm"] < ALPHA]
        more = int((clear["difference"] > 0).sum())
        yield (
            f"Decoding from speech minus decoding from text of the same sentence ({speech} − {text}), Gini "
            f"coefficient of all neurons, mean over languages: {_steps(means, 'ci_')}. Of "
            f"{how_many(len(tests), 'test')} by language and step, {more} find speech more concentrated and "
            f"{len(clear) - more} text (p < {ALPHA} after Holm's correction)."
        )
        means = changing[(changing["speech_task"] == speech) & (changing["language"] == ALL)]
        if len(means):
            yield (
                f"The same ({speech} − {text}) without the cross-attention keys and values, which are "
                "means over encoder positions, and speech and text differ in how many they have: "
                f"{_steps(means.sort_values('step'), 'ci_')}."
            )
        sizes = part.groupby("family")["p"].transform("count")
        n = tests["n_pairs"].clip(upper=30).astype(int)
        lowest = ((2.0 ** (1 - n)) * sizes[tests.index]).min()
        if lowest >= ALPHA:
            yield (
                f"With {how_many(int(tests['n_pairs'].max()), 'sentence')} no corrected p below "
                f"{number(min(lowest, 1))} is possible for {speech} − {text}: more sentences are needed."
            )


def _by_script(scripts: pd.DataFrame) -> Iterator[str]:
    """Other scripts against Latin, a sentence a decoder task."""
    rows = scripts[(scripts["script"] == _OTHERS) & scripts["difference"].notna()]
    if rows.empty:
        yield "All languages are in Latin script, or none is: scripts are not compared."
        return
    for task, part in rows[rows["module"] == "decoder"].groupby("task", sort=False):
        n_latin = scripts.loc[
            (scripts["task"] == task) & (scripts["script"] == "Latin"), "n_languages"
        ].max()
        n_others = how_many(int(part["n_languages"].max()), "language")
        yield (
            f"Gini coefficient in {task}, mean over {n_others} in other scripts minus mean over "
            f"{int(n_latin)} in Latin script: {_steps(part.sort_values('step'), 'difference_')}."
        )


def _not_latin(scripts: pd.DataFrame) -> pd.DataFrame:
    """Rows that are set against Latin; of one other script alone, without their mean."""
    others = scripts[scripts["difference"].notna()]
    return others[others["script"] != _OTHERS] if others["script"].nunique() == 2 else others


def _steps(rows: pd.DataFrame, ends: str) -> str:
    """``+0.0112 [+0.0108, +0.0117] at t = 1, …``."""
    return ", ".join(
        f"{signed(row['difference'])} "
        f"{interval(row[f'{ends}low'], row[f'{ends}high'], signed)} at {step_name(row['step'])}"
        for row in rows.to_dict("records")
    )


def _top(shares: pd.DataFrame) -> Iterator[str]:
    """What the largest neurons hold."""
    for module, part in shares[shares["top"] == shares["top"].min()].groupby("module", sort=False):
        means = part.groupby(["task", "step"])["share"].mean()
        low, high = percent(means.min()), percent(means.max())
        held = low if low == high else f"{low.removesuffix(' %')} to {high}"
        over = "" if len(means) == 1 else " by task and step"
        yield (
            f"The {number(100 * part['top'].iloc[0])} % of the {module.replace('_', ' ')}'s neurons with the "
            f"largest magnitudes hold {held} of the total{over} (mean over languages)."
        )


def _without_value(gini: pd.DataFrame) -> Iterator[str]:
    missing = gini[(gini["language"] != ALL) & (gini["n_zero"] > 0)]
    if len(missing):
        yield (
            f"{int(missing['n_zero'].sum()):,} coefficients have no value, since all magnitudes were 0; "
            "they are left out of the means (column n_zero of gini.csv)."
        )


def signed(value: float) -> str:
    """Four decimals with a sign; a dash for a missing value."""
    return DASH if pd.isna(value) else f"{value:+.4f}".replace("-", "−")


def _decimals(value: float) -> str:
    return DASH if pd.isna(value) else f"{value:.4f}"


def _submodules(gini: pd.DataFrame) -> pd.DataFrame:
    """Means over layers and languages of every submodule."""
    cells = gini[(gini["submodule"] != ALL) & (gini["language"] != ALL)]
    keys = ["module", "task", "step", "submodule"]
    return cells.groupby(keys, sort=False)["gini"].mean().reset_index()


def _gini(row: dict[str, Any]) -> Cell:
    return Cell(
        f"{_decimals(row['gini'])} {interval(row['ci_low'], row['ci_high'], _decimals)}",
        hover=how_many(int(row["n"]), "utterance"),
    )


def _plain(row: dict[str, Any]) -> Cell:
    return Cell(_decimals(row["gini"]))


def _difference(row: dict[str, Any]) -> Cell:
    star = " *" if row["p_holm"] < ALPHA else ""
    ends = interval(row["ci_low"], row["ci_high"], signed)
    said = (
        f"{how_many(int(row['n_pairs']), 'pair')}, p = {number(row['p'])}, "
        f"corrected {number(row['p_holm'])}"
    )
    return Cell(f"{signed(row['difference'])} {ends}{star}", hover=said)


def _apart(row: dict[str, Any]) -> Cell:
    ends = interval(row["difference_low"], row["difference_high"], signed)
    said = f"{how_many(row['n_languages'], 'language')}, Gini coefficient {_decimals(row['gini'])}"
    return Cell(f"{signed(row['difference'])} {ends}", hover=said)


def _by_step(
    table: pd.DataFrame,
    by: str,
    cell: Callable[[dict[str, Any]], Cell],
    form: Formatter,
    without_step: str = "Gini coefficient",
) -> list[Table]:
    """A table a task: a row a value of ``by``, a column a step."""
    tables = []
    for task, part in table.groupby("task", sort=False):
        steps = sorted(part["step"].unique())
        found = {(row[by], row["step"]): cell(row) for row in part.to_dict("records")}
        rows = []
        for value in in_order(part[by]):
            first = form.code(value) if by == "language" and value != ALL else Cell(value, "word")
            if value == ALL:
                first = Cell("mean", "word")
            rows.append([first, *(found.get((value, step), Cell(DASH)) for step in steps)])
        columns = [by, *(step_name(step) if step else without_step for step in steps)]
        summary = _ENCODERS.get(task, task)
        tables.append(Table(columns, rows, summary, len(rows) >= _FOLDED_FROM))
    return tables
