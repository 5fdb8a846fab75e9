"""Which neurons steering fixes, and to what: a language's control neurons, and random ones like them (D6)."""

from dataclasses import replace

import numpy as np

from steplens.hooks.intervention import Replacement
from steplens.ranking.table import Ranking
from steplens.settings import DEFAULT_SELECTION, Selection


def control_columns(
    ranking: Ranking, language: str, k: int, selection: Selection = DEFAULT_SELECTION
) -> np.ndarray:
    """Columns of a language's control neurons: its top k and its bottom k by AP (D6), sorted.

    They are 2 k. Neurons that ties would put at both ends belong to the top; the bottom takes the next.

    Raises
    ------
    ValueError
        Fewer than 2 k neurons: in all, or by ``scope: submodule`` within a pair of layer and submodule.
    """
    if 2 * k > ranking.ap.shape[1]:
        raise ValueError(
            f"steering k: expected at most {ranking.ap.shape[1] // 2} (half the neurons, since top "
            f"and bottom k are replaced), got {k}"
        )
    scores = ranking.scores(selection).row(ranking.row(language))
    top = scores.top(k)
    rest = scores.ap.astype(np.float64)
    rest[top] = np.inf
    columns = np.union1d(top, replace(scores, ap=rest).bottom(k))
    if len(columns) < 2 * k:
        raise ValueError(
            f"steering k: expected top and bottom k to be {2 * k} different neurons of {language}, got "
            f"{len(columns)}: with scope submodule, a pair of layer and submodule has an odd number of "
            "neurons and would give its middle one to both; ask for fewer"
        )
    return columns


def matched_random_columns(ranking: Ranking, columns: np.ndarray, seed: int) -> np.ndarray:
    """As many random neurons in every layer and submodule as ``columns`` has there, sorted.

    They are drawn from the neurons that are not in ``columns``; where a submodule has too few of
    those left, the rest comes from ``columns``.
    """
    generator = np.random.default_rng(seed)
    chosen = np.zeros(len(ranking.neurons), dtype=bool)
    chosen[columns] = True
    cell = ranking.neurons.groupby(["layer", "submodule"], observed=True).ngroup().to_numpy()
    in_order = np.argsort(cell, kind="stable")
    ends = np.searchsorted(cell[in_order], np.arange(cell.max() + 1), side="right")
    drawn = []
    for own in np.split(in_order, ends[:-1]):
        is_chosen = chosen[own]
        if is_chosen.any():
            free = generator.permutation(own[~is_chosen])
            taken = generator.permutation(own[is_chosen])
            drawn.append(np.concatenate([free, taken])[: len(taken)])
    return np.sort(np.concatenate(drawn))


def replacement(ranking: Ranking, columns: np.ndarray, target: str) -> Replacement:
    """Fix the neurons at ``columns`` to the medians of the target language."""
    table = ranking.neurons.iloc[columns][["layer", "submodule", "unit"]]
    values = ranking.median[ranking.row(target), columns]
    return Replacement(table.assign(value=values).reset_index(drop=True))
