"""The one table of languages, ``resources/languages.tsv``: a new language is a new row."""

import csv
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).resolve().parents[2] / "resources" / "languages.tsv"


@dataclass(frozen=True)
class Language:
    """One row: a language and what the parts of the workflow call it (empty: not supported)."""

    code: str  # ISO 639-3, as the model's language tag
    name: str
    fleurs: str
    xtts: str
    espeak: str
    fasttext: str
    script: str  # a Unicode script, or CJK for Han, Hiragana and Katakana


def load_languages(table: Path = TABLE) -> dict[str, Language]:
    """All languages by code, in the order of the table."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        languages = [Language(**{key: value or "" for key, value in row.items()}) for row in rows]
    codes = [language.code for language in languages]
    repeated = sorted({code for code in codes if codes.count(code) > 1})
    if repeated:
        raise ValueError(f"{table}: code: expected each language once, got {repeated} repeatedly")
    return {language.code: language for language in languages}
