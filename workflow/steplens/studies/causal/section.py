"""Report section: what generation loses without the neurons that tell language or modality."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from steplens.report import findings
from steplens.report.formatting import DASH, Cell, Formatter, Table, points, step_name, task_name

TITLE = "What the neurons of language and modality do"
TABLES = {
    "effects": "summarize_causal",
    "by_language": "summarize_causal",
    "ties": "causal_ties",
}
FIGURES = {
    18: "Quality without selective neurons",
    19: "Quality without selective neurons, language by language",
}
# The measure of quality of a task, its name, and whether more of it is worse.
_QUALITY = {
    "asr": ("cer", "character error rate", 1), "tr": ("cer", "character error rate", 1),
    "s2t": ("chrf", "chrF", -1), "t2t": ("chrf", "chrF", -1),
}  # fmt: skip
_SHARES = {"cer", "expected_share", "p_expected", "degenerate_share"}  # of one; the others to 100
_KINDS = {
    ("unchanged", "none"): "none: all free",
    ("language", "none"): "the own language’s",
    ("random", "language"): "random, matched to the language’s",
    ("other_language", "none"): "another language’s",
    ("modality", "none"): "the modality’s",
    ("random", "modality"): "random, matched to the modality’s",
}
_OTHERS = {  # in a sentence on the own language's
    ("random", "language"): "random ones that match",
    ("other_language", "none"): "another language’s",
    ("modality", "none"): "the modality’s",
    ("random", "modality"): "random ones that match those",
}
_CONTRASTS = {
    "change": "change",
    "beyond_random": "beyond random",
    "beyond_other": "beyond another language’s",
}
_FOLDED_FROM = 9  # rows, as in the report's other tables


def content(tables: dict[str, pd.DataFrame], form: Formatter) -> dict[str, Any]:
    """Findings and tables of the section."""
    effects = tables["effects"]
    by_language = tables["by_language"]
    k = int(effects["k"].max())
    tasks = [task for task in _QUALITY if (effects["task"] == task).any()]
    steps = effects.loc[effects["module"] == "decoder", "step"]
    return {
        "k": f"{k:,}",
        "step": step_name(int(steps.max())) if len(steps) else "",
        "findings": [
            *(_effect(effects, by_language, task, k, form) for task in tasks),
            _where(effects, tasks, k, "beyond_random", "random neurons of the same submodules"),
            _where(effects, tasks, k, "beyond_other", "another language’s neurons"),
            _written(effects, tasks, k),
            _ties(tables["ties"]),
        ],
        "effects": [_effects_table(effects, task) for task in tasks],
        "by_language": [_languages_table(by_language, task, k, form) for task in tasks],
    }


def _ties(table: pd.DataFrame) -> str:
    """What ties decided of the sets, those of every k."""
    sizes = " or ".join(f"{k:,}" for k in sorted(table["k"].unique()))
    return findings.ties(table, f"top {sizes}", table["ties"].iloc[0])


def _effect(
    effects: pd.DataFrame, by_language: pd.DataFrame, task: str, k: int, form: Formatter
) -> str:
    measure, name, sign = _QUALITY[task]
    singly = _at(by_language, task, measure, k)
    singly = singly[(singly["neurons"] == "language") & singly["change"].notna()]
    parts = []
    for module, rows in _at(effects, task, measure, k).groupby("module", sort=False):
        found = {(row.neurons, row.matched_to): row for row in rows.itertuples()}
        own = found["language", "none"]
        others = ", ".join(
            f"{words} {_points(measure, found[key].change)}"
            for key, words in _OTHERS.items()
            if key in found
        )
        span = f"[{_points(measure, own.change_low)}, {_points(measure, own.change_high)}]"
        spread = _spread(singly[singly["module"] == module], measure, sign, form)
        parts.append(
            f"{_points(measure, own.change)} points {span} in the {_module(module)} ({spread}{others})"
        )
    return (
        f"{task_name(task)}: without the {k:,} neurons that best tell the input’s language, {name} changes "
        f"by {' and by '.join(parts)}; mean over languages."
    )


def _spread(languages: pd.DataFrame, measure: str, sign: int, form: Formatter) -> str:
    """Median and worst language: where the outputs of one run away in repetition, it carries the mean."""
    if languages.empty:
        return ""
    worst = languages.loc[(sign * languages["change"]).idxmax()]
    return (
        f"median of languages {_points(measure, languages['change'].median())}, worst "
        f"{form.name(worst['language'])} {_points(measure, worst['change'])}; "
    )


def _where(effects: pd.DataFrame, tasks: list[str], k: int, contrast: str, than: str) -> str:
    worse = []
    for task in tasks:
        measure, _, sign = _QUALITY[task]
        rows = _at(effects, task, measure, k)
        for row in rows[rows["neurons"] == "language"].itertuples():
            nearest = getattr(row, f"{contrast}_{'low' if sign > 0 else 'high'}")
            if sign * nearest > 0:
                value = _points(measure, getattr(row, contrast))
                worse.append(f"{task} in the {_module(row.module)} ({value} points)")
    places = ", ".join(worse) or "in no task and module"
    return (
        f"A language’s own neurons (k = {k:,}) cost more than {than}, with an interval that leaves out "
        f"zero: {places}."
    )


def _written(effects: pd.DataFrame, tasks: list[str], k: int) -> str:
    parts = []
    for task in tasks:
        free = effects[(effects["task"] == task) & (effects["neurons"] == "unchanged")]
        rows = _at(effects, task, "expected_share", k)
        rows = rows[rows["neurons"] == "language"]
        before = free.loc[free["measure"] == "expected_share", "value"].iloc[0]
        shares = " and ".join(
            f"{_number('expected_share', row.value)} % without neurons of the {_module(row.module)}"
            for row in rows.itertuples()
        )
        parts.append(f"{task} {_number('expected_share', before)} % with all neurons, {shares}")
    return f"Outputs in the language that the task asks for, by fastText: {'; '.join(parts)}."


def _effects_table(effects: pd.DataFrame, task: str) -> Table:
    measure, name, _ = _QUALITY[task]
    part = effects[effects["task"] == task]
    more = {"bleu": "BLEU"} if (part["measure"] == "bleu").any() else {}
    more |= {
        "expected_share": "in the expected language (%)",
        "degenerate_share": "degenerate outputs (%)",
    }
    keys = ["module", "neurons", "matched_to", "k"]
    wide = {
        key: rows.set_index("measure").to_dict("index")
        for key, rows in part.groupby(keys, sort=False)
    }
    rows = []
    for (module, kind, matched, k), found in wide.items():
        cells = [Cell(_module(module), "word"), Cell(_KINDS[kind, matched], "word"),
                 Cell(f"{k:,}" if k else DASH)]  # fmt: skip
        cells += [
            _spanned(measure, found[measure], column, _number if column == "value" else _points)
            for column in ("value", *_CONTRASTS)
        ]
        cells += [_spanned(other, found[other], "value", _number) for other in more]
        rows.append(cells)
    columns = ["module", "neurons replaced", "k", f"{name}{_unit(measure)}"]
    columns += [f"{one} (points)" for one in _CONTRASTS.values()] + list(more.values())
    return Table(columns, rows, task_name(task), len(rows) >= _FOLDED_FROM)


def _languages_table(by_language: pd.DataFrame, task: str, k: int, form: Formatter) -> Table:
    measure, name, _ = _QUALITY[task]
    rows = []
    for row in _at(by_language, task, measure, k).to_dict("records"):
        if row["neurons"] not in ("language", "modality"):
            continue
        cells = [form.code(row["language"]), Cell(_module(row["module"]), "word"),
                 Cell(_KINDS[row["neurons"], "none"], "word"), Cell(f"{row['n_texts']:,}")]  # fmt: skip
        rows.append([*cells, *(_spanned(measure, row, column, _points) for column in _CONTRASTS)])
    columns = ["language", "module", "neurons replaced", "texts"]
    columns += [f"{name}, {one} (points)" for one in _CONTRASTS.values()]
    return Table(columns, rows, f"{task_name(task)}, k = {k:,}", len(rows) >= _FOLDED_FROM)


def _at(frame: pd.DataFrame, task: str, measure: str, k: int) -> pd.DataFrame:
    return frame[(frame["task"] == task) & (frame["measure"] == measure) & (frame["k"] == k)]


def _spanned(
    measure: str, row: dict[str, Any], column: str, form: Callable[[str, float], str]
) -> Cell:
    value, low, high = (row[f"{column}{end}"] for end in ("", "_low", "_high"))
    if pd.isna(value):
        return Cell(DASH)
    return Cell(f"{form(measure, value)} [{form(measure, low)}, {form(measure, high)}]")


def _number(measure: str, value: float) -> str:
    return DASH if pd.isna(value) else f"{value * (100 if measure in _SHARES else 1):.1f}"


def _points(measure: str, value: float) -> str:
    """With its sign, in percentage points or in points of chrF."""
    return points(value if measure in _SHARES else value / 100)


def _unit(measure: str) -> str:
    return " (%)" if measure in _SHARES else ""


def _module(name: str) -> str:
    return name.replace("_", " ")
