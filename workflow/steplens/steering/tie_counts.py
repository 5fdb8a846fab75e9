"""Stage ``count_ties``: how many of the neurons that are steered a tie decided (D6)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from steplens.files.atomic import write_csv
from steplens.ranking.table import Ranking, open_ranking
from steplens.settings import DEFAULT_SELECTION, Selection
from steplens.tasks import IDENTIFICATION_TASK

ENDS = ("top", "bottom")


def count_ties(
    rankings: Mapping[int, Path], k: int, output: Path, selection: Selection = DEFAULT_SELECTION
) -> None:
    """Write ``steering/ties.csv``: of each language's control neurons, how many a tie decided.

    Parameters
    ----------
    rankings : mapping of int to path
        Of the identification condition, asr, at every step.
    k : int
        Neurons taken at each end.
    output : path
        A row per step, language and end: ``k``; ``ap_at_k``, the AP of the last place; ``decided_by_tie``
        and ``tied`` as ``selection.count_ties`` has them.
    selection : Selection
    """
    parts = []
    for step, path in rankings.items():
        part = control_ties(open_ranking(path, task=IDENTIFICATION_TASK, step=step), k, selection)
        part.insert(0, "step", step)
        parts.append(part)
    write_csv(pd.concat(parts), output)


def control_ties(ranking: Ranking, k: int, selection: Selection) -> pd.DataFrame:
    """The rows of one step: those of ``tie_rows`` at each end."""
    parts = [tie_rows(ranking, k, selection, lowest=end == "bottom") for end in ENDS]
    for end, part in zip(ENDS, parts, strict=True):
        part.insert(1, "end", end)
    return pd.concat(parts)


def tie_rows(ranking: Ranking, k: int, selection: Selection, lowest: bool = False) -> pd.DataFrame:
    """How many of each row's top k, or bottom k, a tie decided.

    Returns
    -------
    DataFrame
        A row per row of the ranking: ``language``; ``k``; ``ap_at_k``, the AP of the last place;
        ``decided_by_tie`` and ``tied`` as ``selection.count_ties`` has them.
    """
    scores = ranking.scores(selection)
    last = (scores.bottom if lowest else scores.top)(k)[:, -1:]
    decided, tied = scores.count_ties(k, lowest)
    return pd.DataFrame(
        {
            "language": ranking.languages,
            "k": k,
            "ap_at_k": np.take_along_axis(ranking.ap, last, axis=1)[:, 0],
            "decided_by_tie": decided,
            "tied": tied,
        }
    )
