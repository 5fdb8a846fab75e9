"""Stage ``count_ties``: how many of the neurons that are steered a tie decided (D6)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from .atomic import write_csv
from .rankings import Ranking, open_ranking
from .settings import DEFAULT_SELECTION, Selection
from .tasks import IDENTIFICATION_TASK

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
    """The rows of one step: language, end, k, ap_at_k, decided_by_tie, tied."""
    scores = ranking.scores(selection)
    rows = []
    for end in ENDS:
        lowest = end == "bottom"
        last = (scores.bottom if lowest else scores.top)(k)[:, -1:]
        at_k = np.take_along_axis(ranking.ap, last, axis=1)[:, 0]
        counts = zip(*scores.count_ties(k, lowest), strict=True)
        for language, ap, (decided, tied) in zip(ranking.languages, at_k, counts, strict=True):
            rows.append(
                {
                    "language": language, "end": end, "k": k, "ap_at_k": ap,
                    "decided_by_tie": int(decided), "tied": int(tied),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)
