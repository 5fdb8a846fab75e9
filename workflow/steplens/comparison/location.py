"""Where a language's top-k neurons lie, by layer and submodule, beside chance (figures 2 and 3)."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from steplens.files.atomic import write_csv
from steplens.ranking.table import Ranking, open_ranking
from steplens.settings import DEFAULT_SELECTION, Selection


@dataclass(frozen=True)
class RankedCondition:
    """Which ranking: a module, a task (for encoders the modality) and a step (0 for encoders)."""

    module: str
    task: str
    step: int
    path: Path


def locate(ranking: Ranking, k: int, selection: Selection = DEFAULT_SELECTION) -> pd.DataFrame:
    """Count top-k neurons by layer and submodule.

    Parameters
    ----------
    ranking : Ranking
    k : int
    selection : Selection

    Returns
    -------
    DataFrame
        language, layer, submodule, step_invariant, n_units, count; ``expected``, what k neurons drawn at
        random would put there; and of the language's k, ``decided_by_tie`` and ``tied`` (``count_ties``).
    """
    keys = ["layer", "submodule"]
    cells = ranking.neurons.groupby(keys, sort=True, observed=True).agg(
        step_invariant=("step_invariant", "first"), n_units=("unit", "size")
    )
    cells["expected"] = k * cells["n_units"] / len(ranking.neurons)
    parts = []
    scores = ranking.scores(selection)
    ties = zip(*scores.count_ties(k), strict=True)
    for language, columns, tie in zip(ranking.languages, scores.top(k), ties, strict=True):
        counts = ranking.neurons.iloc[columns].groupby(keys, observed=True).size()
        part = cells.assign(count=counts.reindex(cells.index, fill_value=0), language=language)
        part["decided_by_tie"], part["tied"] = tie
        parts.append(part.reset_index())
    columns = ["language", *keys, "step_invariant", "n_units", "count", "expected"]
    return pd.concat(parts)[[*columns, "decided_by_tie", "tied"]]


def locate_all(
    conditions: list[RankedCondition],
    k: int,
    output: Path,
    selection: Selection = DEFAULT_SELECTION,
) -> None:
    """Write ``comparison/location.csv`` for every ranking."""
    parts = []
    for condition in conditions:
        ranking = open_ranking(condition.path)
        part = locate(ranking, min(k, len(ranking.neurons)), selection)
        part.insert(0, "module", condition.module)
        part.insert(1, "task", condition.task)
        part.insert(2, "step", condition.step)
        parts.append(part)
    write_csv(pd.concat(parts), output)
