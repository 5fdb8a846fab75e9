"""What rankings of modality say: how many neurons tell it, where they lie, and which tell a language too."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import hypergeom

from steplens.errors import StoreError
from steplens.files.atomic import write_csv
from steplens.ranking.table import Ranking, open_ranking
from steplens.settings import DEFAULT_SELECTION, Selection
from steplens.tasks import ALL, MODALITY_OF

CELL = ["layer", "submodule"]
STRONG_AP = 0.95


def modality_tables(
    conditions: Sequence[tuple[str, int, Path, Path]],
    k: int,
    tables: dict[str, Path],
    selection: Selection = DEFAULT_SELECTION,
) -> None:
    """Write ``modality/neurons.csv``, ``location.csv`` and ``overlap.csv``.

    Parameters
    ----------
    conditions : sequence of (task, step, ranking by modality, ranking by language)
    k : int
        Of the top-k sets, of modality and of language.
    tables : dict
        Outputs, by name: ``neurons`` (``count_neurons``), ``location`` (``locate_shared``) and ``overlap``
        (``overlap_with_language``), each with columns task, modality and step before.
    selection : Selection
        Of ``overlap``; where neurons lie is told with ties shared.

    Raises
    ------
    StoreError
        A ranking is damaged, or the two of a condition are not of the same neurons.
    """
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in tables}
    for task, step, by_modality, by_language in conditions:
        of_modality = open_ranking(by_modality, task=task, step=step, label=MODALITY_OF[task])
        of_language = open_ranking(by_language, task=task, step=step)
        if not _same_neurons(of_modality, of_language):
            raise StoreError(
                f"{by_language}: neurons: expected those of {by_modality}, got others; delete "
                "both and run the workflow again"
            )
        found = {
            "neurons": count_neurons(of_modality, k),
            "location": locate_shared(of_modality, k),
            "overlap": overlap_with_language(of_modality, of_language, k, selection),
        }
        for name, frame in found.items():
            frame.insert(0, "task", task)
            frame.insert(1, "modality", MODALITY_OF[task])
            frame.insert(2, "step", step)
            parts[name].append(frame)
    for name, path in tables.items():
        write_csv(pd.concat(parts[name]), path)


def _same_neurons(one: Ranking, other: Ranking) -> bool:
    names = [
        ranking.neurons.astype({"submodule": str})[[*CELL, "unit"]] for ranking in (one, other)
    ]
    return len(names[0]) == len(names[1]) and (names[0].to_numpy() == names[1].to_numpy()).all()


def count_neurons(ranking: Ranking, k: int) -> pd.DataFrame:
    """How many neurons tell this modality, and how well.

    Returns
    -------
    DataFrame
        A row a row of the ranking (``language``; ``all``: pooled): ``n_valid`` utterances; ``best_ap``;
        ``n_perfect`` neurons with AP = 1 and ``n_strong`` with AP of at least 0.95; ``ap_at_k``, the AP of
        the k-th best; ``invariant_share``, the share of the top k (ties shared) in step-invariant
        submodules, and ``invariant_expected``, that of all neurons.
    """
    invariant = ranking.neurons["step_invariant"].to_numpy(dtype=bool)
    rows = []
    for language, ap, n_valid in zip(ranking.languages, ranking.ap, ranking.n_valid, strict=True):
        share = shared_membership(ap, k)
        rows.append(
            {
                "language": language,
                "n_valid": n_valid,
                "n_neurons": len(ap),
                "best_ap": ap.max(),
                "n_perfect": int((ap == 1).sum()),
                "n_strong": int((ap >= STRONG_AP).sum()),
                "k": k,
                "ap_at_k": np.partition(ap, -k)[-k],
                "invariant_share": share[invariant].sum() / k,
                "invariant_expected": invariant.mean(),
            }
        )
    return pd.DataFrame(rows)


def shared_membership(ap: np.ndarray, k: int) -> np.ndarray:
    """How much of every neuron is in the top k, where neurons tied for the last places share these.

    Many neurons tell speech from text without a fault (AP = 1), more than k at times, and where they lie is
    the question here. So each of the tied has the chance that it would have if places were drawn by lot,
    whatever ``ranking.ties`` says.

    Parameters
    ----------
    ap : (n_neurons,) array
    k : int
        At most n_neurons.

    Returns
    -------
    (n_neurons,) float64 array
        In [0, 1]; sums to k.
    """
    if not 1 <= k <= len(ap):
        raise ValueError(f"k: expected 1 to {len(ap)} (the number of neurons), got {k}")
    last = np.partition(ap, -k)[-k]
    above, tied = ap > last, ap == last
    return np.where(above, 1.0, np.where(tied, (k - above.sum()) / tied.sum(), 0.0))


def locate_shared(ranking: Ranking, k: int) -> pd.DataFrame:
    """Top-k neurons by layer and submodule, ties shared.

    Returns
    -------
    DataFrame
        language, layer, submodule, step_invariant, n_units, ``count`` (need not be whole) and
        ``expected``, what k neurons drawn at random would put there.
    """
    cells = ranking.neurons.groupby(CELL, sort=True, observed=True).agg(
        step_invariant=("step_invariant", "first"), n_units=("unit", "size")
    )
    cells["expected"] = k * cells["n_units"] / len(ranking.neurons)
    parts = []
    for language, ap in zip(ranking.languages, ranking.ap, strict=True):
        share = ranking.neurons[CELL].assign(count=shared_membership(ap, k))
        counts = share.groupby(CELL, observed=True)["count"].sum()
        parts.append(cells.assign(count=counts, language=language).reset_index())
    columns = ["language", *CELL, "step_invariant", "n_units", "count", "expected"]
    return pd.concat(parts)[columns]


def overlap_with_language(
    of_modality: Ranking, of_language: Ranking, k: int, selection: Selection = DEFAULT_SELECTION
) -> pd.DataFrame:
    """How many of the top k for the modality are in a language's top k.

    Returns
    -------
    DataFrame
        A row per language: ``shared`` neurons of the pooled modality's top k and the language's (both by
        D6); ``expected`` by chance, k² / n_neurons; ``p``, the chance of so many or more
        (hypergeometric; neurons of a layer are not independent, so that small p say little); ``rho``, the
        rank correlation of both AP over all neurons; ``decided_by_tie`` and ``tied`` (``count_ties``) of the
        modality's and of the language's set, whichever a tie decided more of.
    """
    n = of_modality.ap.shape[1]
    pooled = of_modality.scores(selection).row(of_modality.row(ALL))
    by_language = of_language.scores(selection)
    best, ranks = pooled.top(k), pd.Series(pooled.ap).rank()
    rows = []
    for number, language in enumerate(of_language.languages):
        own = by_language.row(number)
        shared = len(np.intersect1d(best, own.top(k), assume_unique=True))
        decided, tied = max(pooled.count_ties(k), own.count_ties(k), key=lambda one: int(one[0]))
        rows.append(
            {
                "language": language,
                "k": k,
                "shared": shared,
                "expected": k * k / n,
                "p": hypergeom.sf(shared - 1, n, k, k),
                "rho": ranks.corr(pd.Series(own.ap).rank()),
                "decided_by_tie": int(decided),
                "tied": int(tied),
            }
        )
    return pd.DataFrame(rows)
