"""The one table of languages, ``resources/languages.tsv``: a new language is a new row."""

import csv
import itertools
import re
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

from steplens.languages.writing_systems import letter_pattern, share_letters
from steplens.project import PROJECT

TABLE = PROJECT / "resources" / "languages.tsv"


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

    @property
    def engines(self) -> tuple[str, ...]:
        """Speech engines that speak the language, of ``xtts``, ``recorded`` and ``espeak``."""
        spoken = {"xtts": self.xtts, "recorded": self.fleurs, "espeak": self.espeak}
        return tuple(engine for engine, code in spoken.items() if code)


def load_languages(table: Path = TABLE) -> dict[str, Language]:
    """All languages by code, in the order of the table.

    Raises
    ------
    FileNotFoundError
        No such table.
    ValueError
        A column is missing, a row has too few or too many fields, a field has spaces around it, a
        code is not three letters or stands twice, a name is empty, or a script is unknown or
        spelled in two ways.
    """
    status = table.stat()
    return dict(_read(table, status.st_mtime_ns, status.st_size))  # a copy: the cache stays whole


@lru_cache(maxsize=8)
def _read(table: Path, _mtime_ns: int, _n_bytes: int) -> dict[str, Language]:
    columns = [field.name for field in fields(Language)]
    with table.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        header = next(lines, [])
        if sorted(header) != sorted(columns):
            raise ValueError(f"{table}: columns: expected {', '.join(columns)}, got {header}")
        languages: dict[str, Language] = {}
        for number, row in enumerate(lines, 2):
            if not row:
                continue
            if len(row) != len(header):
                raise ValueError(
                    f"{table}:{number}: expected {len(header)} fields separated by tabs, "
                    f"got {len(row)}"
                )
            language = Language(**dict(zip(header, row, strict=True)))
            try:
                _check(language)
            except ValueError as error:
                raise ValueError(f"{table}:{number}: {error}") from error
            if language.code in languages:
                raise ValueError(
                    f"{table}:{number}: code: expected each language once, "
                    f"got {language.code!r} repeatedly"
                )
            languages[language.code] = language
    # One spelling a script, so that languages of one script are known by equal names.
    scripts = dict.fromkeys(language.script for language in languages.values())
    for one, other in itertools.combinations(scripts, 2):
        if share_letters(one, other):
            raise ValueError(
                f"{table}: script: expected one name for the same letters, got {one!r} and {other!r}"
            )
    return languages


def _check(language: Language) -> None:
    for field in fields(Language):
        value = getattr(language, field.name)
        if value != value.strip():
            raise ValueError(f"{field.name}: expected no spaces around it, got {value!r}")
    if not re.fullmatch("[a-z]{3}", language.code):
        raise ValueError(f"code: expected three letters a-z, got {language.code!r}")
    if not language.name:
        raise ValueError("name: expected the language's name, got nothing")
    letter_pattern(language.script)
