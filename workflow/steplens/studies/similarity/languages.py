"""How far languages are from each other, and the tree that this makes of them (figure 17)."""

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

from steplens.models.neurons import ADAPTER, EMBEDDING
from steplens.tasks import ALL

DISTANCE, MERGE = "distance", "merge"
METHOD = "average"  # UPGMA: a cluster is as far as its languages are on average
MEASURE = "cka_debiased"


def language_trees(pairs: pd.DataFrame) -> pd.DataFrame:
    """Distances of languages within a modality and how clusters merge.

    The distance of two languages is 1 minus their debiased CKA, averaged over the encoder's layers
    (neither the embedding nor the adapter's output).

    Parameters
    ----------
    pairs : DataFrame
        Of the encoders, as ``similarity`` writes it.

    Returns
    -------
    DataFrame
        ``modality``, ``kind``, ``one``, ``other``, ``distance``, ``size``. Of kind ``distance`` a row a pair
        of languages (size 2); of kind ``merge`` a row a step of average linkage, in order: ``one`` and
        ``other`` are languages or earlier merges (``#1`` is the first), ``distance`` is the height and
        ``size`` the number of languages below. No merges where a distance is missing, or with one language.
    """
    chosen = pairs[(pairs["measure"] == MEASURE) & (pairs["by"] == ALL)]
    chosen = chosen[~chosen["layer"].isin([EMBEDDING, ADAPTER])]
    chosen = chosen[chosen["modality_1"] == chosen["modality_2"]]
    parts = []
    for modality, part in chosen.groupby("modality_1", sort=False):
        languages = list(dict.fromkeys([*part["language_1"], *part["language_2"]]))
        distances = _distances(part, languages)
        one, other = np.triu_indices(len(languages), 1)
        parts.append(
            pd.DataFrame(
                {
                    "modality": modality,
                    "kind": DISTANCE,
                    "one": [languages[place] for place in one],
                    "other": [languages[place] for place in other],
                    "distance": distances[one, other],
                    "size": 2,
                }
            )
        )
        if np.isfinite(distances).all():
            merges = linkage_of(distances)
            names = [*languages, *(f"#{number}" for number in range(1, len(languages)))]
            parts.append(
                pd.DataFrame(
                    {
                        "modality": modality,
                        "kind": MERGE,
                        "one": [names[int(place)] for place in merges[:, 0]],
                        "other": [names[int(place)] for place in merges[:, 1]],
                        "distance": merges[:, 2],
                        "size": merges[:, 3].astype(int),
                    }
                )
            )
    columns = ["modality", "kind", "one", "other", "distance", "size"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _distances(part: pd.DataFrame, languages: list[str]) -> np.ndarray:
    """(n, n), symmetric, 0 on the diagonal; NaN where a layer has no value."""
    place = {language: number for number, language in enumerate(languages)}
    distances = np.zeros((len(languages), len(languages)))
    # skipna=False: a mean over fewer layers would not be comparable.
    means = part.groupby(["language_1", "language_2"], sort=False)["value"].agg(
        lambda values: values.mean(skipna=False)
    )
    for (one, other), value in means.items():
        distances[place[one], place[other]] = distances[place[other], place[one]] = 1 - value
    return distances


def linkage_of(distances: np.ndarray) -> np.ndarray:
    """Average linkage with leaves ordered so that neighbours are near: (n - 1, 4), as SciPy has it."""
    condensed = squareform(distances, checks=False)
    return optimal_leaf_ordering(linkage(condensed, METHOD), condensed)


def tree_of(table: pd.DataFrame, modality: str) -> tuple[list[str], np.ndarray | None]:
    """Languages and SciPy's linkage matrix back from the table; None without merges."""
    part = table[table["modality"] == modality]
    pairs, merges = (part[part["kind"] == kind] for kind in (DISTANCE, MERGE))
    languages = list(dict.fromkeys([*pairs["one"], *pairs["other"]]))
    if merges.empty:
        return languages, None
    place = {name: number for number, name in enumerate(languages)}
    place |= {f"#{number}": len(languages) + number - 1 for number in range(1, len(languages))}
    ends = [merges[side].map(place).astype(float) for side in ("one", "other")]
    return languages, np.column_stack([*ends, merges["distance"], merges["size"]])
