"""Stage ``similarity_tables``: the tables of a run out of the pairs of all its conditions."""

from pathlib import Path

import pandas as pd

from ..atomic import read_parquet, write_csv
from .similarity_gaps import gaps_of
from .similarity_languages import language_trees

_OF_BINS = ["by", "bin"]
_LEVELS = ["code", "level", "source"]


def similarity_tables(
    parts: list[Path],
    n_resamples: int,
    seed: int,
    tables: dict[str, Path],
    levels: Path | None = None,
) -> None:
    """Write pairs, gaps, gaps by length, and the distances of languages.

    Parameters
    ----------
    parts : list of paths
        Tables of pairs; the first is that of the encoders.
    n_resamples, seed : int
        Of the intervals over languages.
    tables : dict
        Outputs, by name: ``pairs``, ``gaps``, ``lengths``, ``languages`` and, with levels, ``resources``.
    levels : path, optional
        Resource level of each language: a table with tabs, ``code``, ``level`` and ``source``.
    """
    pairs, gaps, lengths, resources = [], [], [], []
    level_of = None if levels is None else read_levels(levels)
    for number, path in enumerate(parts):
        part = read_parquet(path)
        whole = part[part["by"] == "all"]
        if number == 0:
            write_csv(language_trees(whole), tables["languages"])
        pairs.append(whole.drop(columns=_OF_BINS))
        gaps.append(gaps_of(whole, n_resamples, seed))
        if len(whole) < len(part):
            lengths.append(gaps_of(part[part["by"] != "all"], n_resamples, seed))
        if level_of is not None:
            resources.append(_by_level(whole, level_of, n_resamples, seed))
    columns = gaps[0].columns
    write_csv(pd.concat(pairs), tables["pairs"])
    write_csv(pd.concat(gaps).drop(columns=_OF_BINS), tables["gaps"])
    write_csv(pd.concat(lengths) if lengths else pd.DataFrame(columns=columns), tables["lengths"])
    if level_of is not None:
        write_csv(pd.concat(resources).drop(columns=_OF_BINS), tables["resources"])


def read_levels(path: Path) -> dict[str, str]:
    """Resource level by language code.

    Raises
    ------
    ValueError
        A column is missing, a language stands twice, or a row names no source.
    """
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    if list(table.columns) != _LEVELS:
        raise ValueError(
            f"{path}: columns: expected {', '.join(_LEVELS)}, got {', '.join(table.columns)}"
        )
    twice = table.loc[table["code"].duplicated(), "code"]
    if len(twice):
        raise ValueError(f"{path}: code: expected each once, got {twice.iloc[0]!r} repeatedly")
    for row in table.itertuples():
        if not (row.level and row.source):
            raise ValueError(
                f"{path}: {row.code}: expected a level and its source, got level {row.level!r}, source "
                f"{row.source!r}: a level that nobody stands for says nothing"
            )
    return dict(zip(table["code"], table["level"], strict=True))


def _by_level(pairs: pd.DataFrame, level_of, n_resamples: int, seed: int) -> pd.DataFrame:
    """Gaps among the languages of one level; a level of one language has a modality gap alone."""
    levels = [pairs[f"language_{side}"].map(level_of) for side in (1, 2)]
    parts = []
    for level in dict.fromkeys(levels[0].dropna()):
        part = gaps_of(pairs[(levels[0] == level) & (levels[1] == level)], n_resamples, seed)
        part.insert(0, "level", level)
        parts.append(part)
    return pd.concat(parts) if parts else pd.DataFrame(columns=["level", *_OF_BINS])
