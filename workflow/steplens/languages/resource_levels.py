"""The table of resource levels, ``resources/resource_levels.tsv``: how much text there is in a language.

Shipped are the classes of Joshi et al. 2020, "The State and Fate of Linguistic Diversity and Inclusion in
the NLP World" (doi:10.18653/v1/2020.acl-main.560), 5 most to 0 least. Hours of speech that a model was
trained on would be nearer to the point, where somebody has them by language: docs/methods/similarity.md.
"""

import csv
from pathlib import Path

from steplens.project import PROJECT

TABLE = PROJECT / "resources" / "resource_levels.tsv"
_COLUMNS = ["code", "level", "source"]


def load_levels(table: Path = TABLE) -> dict[str, str]:
    """Resource level by language code, in the order of the table; what is not in it has none.

    Raises
    ------
    ValueError
        A column is missing, a row has too few or too many fields, a language stands twice, or a row names
        no source.
    """
    with table.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        header = next(lines, [])
        if header != _COLUMNS:
            raise ValueError(
                f"{table}: columns: expected {', '.join(_COLUMNS)}, got {', '.join(header)}"
            )
        levels: dict[str, str] = {}
        for number, row in enumerate(lines, 2):
            if not row:
                continue
            if len(row) != len(_COLUMNS):
                raise ValueError(
                    f"{table}:{number}: expected {len(_COLUMNS)} fields separated by tabs, got {len(row)}"
                )
            code, level, source = (field.strip() for field in row)
            if not (code and level and source):
                raise ValueError(
                    f"{table}:{number}: expected a language, its level and the source of that, got "
                    f"{code!r}, {level!r}, {source!r}: a level that nobody stands for says nothing"
                )
            if code in levels:
                raise ValueError(
                    f"{table}:{number}: code: expected each language once, got {code!r} repeatedly"
                )
            levels[code] = level
    return levels
