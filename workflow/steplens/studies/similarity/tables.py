"""Stage ``similarity_tables``: the tables of a run out of the pairs of all its conditions."""

from pathlib import Path

import pandas as pd

from steplens.files.atomic import write_csv
from steplens.store.conditions import read_condition
from steplens.studies.similarity.gaps import gaps_of
from steplens.studies.similarity.languages import language_trees
from steplens.tasks import ALL

_OF_BINS = ["by", "bin"]


def similarity_tables(
    parts: dict[tuple[str, str, int | None], Path],
    n_resamples: int,
    seed: int,
    level_of: dict[str, str],
    tables: dict[str, Path],
) -> None:
    """Write pairs, gaps, gaps by length and by resource level, and the distances of languages.

    Parameters
    ----------
    parts : dict
        (module, task, step) to its table of pairs; the first is that of the encoders.
    n_resamples, seed : int
        Of the intervals over languages.
    level_of : dict
        Language to resource level; languages without one are in none of the levels' gaps.
    tables : dict
        Outputs, by name: ``pairs``, ``gaps``, ``lengths``, ``languages`` and ``resources``.
    """
    pairs, gaps, lengths, resources = [], [], [], []
    for number, ((module, task, step), path) in enumerate(parts.items()):
        part = read_condition(path, module=module, task=task, step=step)
        whole = part[part["by"] == ALL]
        if number == 0:
            write_csv(language_trees(whole), tables["languages"])
        pairs.append(whole.drop(columns=_OF_BINS))
        gaps.append(gaps_of(whole, n_resamples, seed))
        if len(whole) < len(part):
            lengths.append(gaps_of(part[part["by"] != ALL], n_resamples, seed))
        resources += _by_level(whole, level_of, n_resamples, seed)
    columns = gaps[0].columns
    write_csv(pd.concat(pairs), tables["pairs"])
    write_csv(pd.concat(gaps).drop(columns=_OF_BINS), tables["gaps"])
    write_csv(pd.concat(lengths) if lengths else pd.DataFrame(columns=columns), tables["lengths"])
    empty = pd.DataFrame(columns=["level", *columns])
    by_level = pd.concat(resources) if resources else empty
    write_csv(by_level.drop(columns=_OF_BINS), tables["resources"])


def _by_level(
    pairs: pd.DataFrame, level_of: dict[str, str], n_resamples: int, seed: int
) -> list[pd.DataFrame]:
    """Gaps among the languages of each level; a level of one language has a modality gap alone."""
    levels = [pairs[f"language_{side}"].map(level_of) for side in (1, 2)]
    parts = []
    for level in sorted(levels[0].dropna().unique()):
        part = gaps_of(pairs[(levels[0] == level) & (levels[1] == level)], n_resamples, seed)
        part.insert(0, "level", level)
        parts.append(part)
    return parts
