"""How the report writes values and turns the tables of a run into tables for a reader."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd

from steplens.languages.table import load_languages
from steplens.wording import TASK_NAMES, infinity, percent

DASH = "–"

CONTROLS = {
    "unsteered": "unsteered",
    "steered": "steered",
    "random": "random neurons",
    "other_language": "another language's neurons",
}
_LABELS = CONTROLS | {
    "n": "utterances",
    "n_pairs": "pairs",
    "n_texts": "texts",
    "n_utterances": "utterances",
    "n_without_script": "texts in neither script",
    "exact_match": "exact match",
    "cer": "character error rate",
    "degenerate_share": "degenerate outputs",
    "unfinished_share": "unfinished outputs",
    "p_source": "P(source language)",
    "p_target": "P(target language)",
    "ratio": "ratio tr / asr",
    "difference": "steered minus baseline (points)",
    "steered_asr": "steered, asr",
    "steered_tr": "steered, tr",
    "neurons_per_layer": "neurons per layer",
    "seconds_per_character": "seconds a character",
    "n_flagged": "flagged",
    "n_left_out": "left out",
    "one": "source",
    "other": "and",
    "shared": "shared top-k neurons",
    "rho": "ρ, mean over languages",
    "share": "in both",
    "n_speech": "utterances, speech",
    "n_text": "utterances, text",
    "null_ratio": "with shuffled labels",
    "n_shuffles": "shuffles",
    "n_splits": "splits",
    "decided_by_tie": "neurons that a tie decided",
    "tied": "neurons tied there",
    "n_without": "without a value",
    "n_sentences": "sentences",
    "n_subsets": "subsets",
    "n_unknown_input": "unknown tokens read",
    "n_unknown_output": "unknown tokens written",
    "by_seed": "by seed of random neurons (points)",
}
_SENTENCES = ("reference", "unsteered", "steered_asr", "steered_tr", "recognised")
_NAMES = ("engine", "voice", "reason", "one", "other")  # words that may look like a language code
_COUNTS = {
    "n", "k", "step", "layers", "neurons_per_layer", "neurons", "parameters", "utterance",
    "decided_by_tie", "tied",
}  # fmt: skip
_FOLDED_FROM = 9  # rows: a table as long as this opens on a click


class Cell(NamedTuple):
    """One cell of a table."""

    text: str
    kind: str = "number"  # number | word | sentence
    hover: str = ""
    lang: str = ""  # decides the shape of Chinese characters


class Table(NamedTuple):
    """One table as it is shown."""

    columns: list[str]
    rows: list[list[Cell]]
    summary: str = ""
    folded: bool = False


def number(value: float) -> str:
    """Three significant digits; a dash for a missing value."""
    return DASH if pd.isna(value) else infinity(f"{value:.3g}")


def two_decimals(value: float) -> str:
    """Two decimals; a dash for a missing value."""
    return DASH if pd.isna(value) else infinity(f"{value:.2f}".replace("-", "−"))


def points(value: float) -> str:
    """A difference of two shares in percentage points, with its sign."""
    return DASH if pd.isna(value) else infinity(f"{100 * value:+.1f}".replace("-", "−"))


def interval(low: float, high: float, form: Callable[[float], str] = percent) -> str:
    """``[3.1, 4.5]`` in the form of the value before it, without the unit; empty if missing."""
    if pd.isna(low) and pd.isna(high):
        return ""
    return f"[{form(low).removesuffix(' %')}, {form(high).removesuffix(' %')}]"


def task_name(task: str) -> str:
    """``speech recognition (asr)``."""
    return TASK_NAMES.get(task, task)


def step_name(step: int) -> str:
    """``t = 6``, kept on one line."""
    return f"t\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{step}"


def how_many(count: int, noun: str) -> str:
    """``1 pair``, ``6 pairs``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


class Formatter:
    """Makes tables of data frames: units by column, intervals beside values, names on hover."""

    def __init__(self) -> None:
        self.languages = load_languages()

    def table(
        self,
        frame: pd.DataFrame,
        summary: str = "",
        drop: Iterable[str] = (),
        may_fold: bool = True,
    ) -> Table:
        """Format a frame; the columns with the ends of an interval join the value before them."""
        drop = set(drop)
        shown = [c for c in frame.columns if c not in drop and not c.endswith(("_low", "_high"))]
        records = frame.to_dict("records")
        rows = [[self._cell(column, record) for column in shown] for record in records]
        folded = may_fold and bool(summary) and len(rows) >= _FOLDED_FROM
        return Table([self._label(column, frame) for column in shown], rows, summary, folded)

    def grouped(
        self,
        frame: pd.DataFrame,
        keys: Sequence[str],
        summarise: Callable[[pd.DataFrame], str] = lambda _: "",
    ) -> list[Table]:
        """One table for each value of ``keys`` (of ``task``, ``step``), under a line of summary."""
        if frame.empty:
            return []
        tables = []
        for values, part in frame.groupby(list(keys), sort=False):
            named = dict(zip(keys, values, strict=True))
            words = [task_name(named["task"])] if "task" in named else []
            words += [step_name(named["step"])] if "step" in named else []
            said = summarise(part)
            summary = ", ".join(words) + (f": {said}" if said else "")
            tables.append(self.table(part, summary, drop=keys))
        return tables

    def code(self, value: str) -> Cell:
        """A language code with its name on hover."""
        known = self.languages.get(value)
        return Cell(value, "word", known.name if known else "")

    def name(self, code: str) -> str:
        """``German (deu)``, or the code alone where the table of languages has no such row."""
        return f"{self.languages[code].name} ({code})" if code in self.languages else code

    def _label(self, column: str, frame: pd.DataFrame) -> str:
        # A column of one measure under one control is "<control>_<measure>".
        control = next((name for name in CONTROLS if column.startswith(f"{name}_")), None)
        parts = [control, column.removeprefix(f"{control}_")] if control else [column]
        if column in _LABELS:
            parts = [column]
        label = ", ".join(_LABELS.get(part, part.replace("_", " ")) for part in parts)
        is_share = self._form(column) is percent and pd.api.types.is_float_dtype(frame[column])
        return f"{label} (%)" if is_share else label

    def _cell(self, column: str, record: dict[str, Any]) -> Cell:
        value = record[column]
        if pd.isna(value) or value == "":
            return Cell(DASH, "sentence" if column in _SENTENCES else "number")
        if isinstance(value, str):
            if column in _SENTENCES:
                side = "target" if column.startswith("steered") else "source"
                spoken = self.languages.get(record.get(side, record.get("language")))
                return Cell(value, "sentence", lang=spoken.fasttext if spoken else "")
            if value in self.languages and column not in _NAMES:
                return self.code(value)
            return Cell(CONTROLS.get(value, value), "word")
        form = self._form(column)
        if form is percent and isinstance(value, int):
            return Cell(f"{value:,}")
        ends = interval(*_ends(column, record), form=form)
        return Cell(" ".join(filter(None, [form(value).removesuffix(" %"), ends])))

    @staticmethod
    def _form(column: str) -> Callable[[float], str]:
        if column == "difference":
            return points
        if column == "ratio":
            return two_decimals
        if column in ("p", "minutes", "seconds_per_character"):
            return number
        if column == "rho":
            return two_decimals
        if column in _COUNTS or column.startswith("n_") or column.endswith("_n_without_script"):
            return lambda value: f"{value:,.0f}"
        return percent


def _ends(column: str, record: dict[str, Any]) -> tuple[float, float]:
    for stem in (column, f"{column}_ci"):
        if f"{stem}_low" in record:
            return record[f"{stem}_low"], record[f"{stem}_high"]
    if column in ("rate", "ratio", "difference") and "ci_low" in record:
        return record["ci_low"], record["ci_high"]
    return float("nan"), float("nan")
