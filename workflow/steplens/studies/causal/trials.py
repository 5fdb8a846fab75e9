"""Which neurons the causal study fixes, and at which values (docs/methods/causal.md)."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steplens.hooks.intervention import Replacement
from steplens.ranking.selection import Scores
from steplens.ranking.table import Ranking, open_ranking
from steplens.settings import DEFAULT_SELECTION, Selection
from steplens.steering.choice import matched_random_columns
from steplens.tasks import ALL

NOT_MATCHED = "none"  # for neurons that are no random ones


@dataclass(frozen=True)
class Trial:
    """One set of neurons that is fixed, and why these."""

    neurons: str  # "language", "modality", "random" or "other_language"
    matched_to: (
        str  # "language" or "modality": whose count per layer and submodule random ones have
    )
    k: int
    seed: int  # of the random neurons, from 1; 0 otherwise
    neurons_of: str  # the language or modality; empty for random
    fixed: Replacement


@dataclass(frozen=True)
class ModalityNeurons:
    """How well each neuron tells the input's own modality, and what it is fixed at."""

    name: str  # "speech" or "text"
    scores: Scores  # of (n_neurons,) arrays
    value: np.ndarray  # (n_neurons,) medians of the other modality


def trials(
    ranking: Ranking,
    language: str,
    neutral: np.ndarray,
    ks: Sequence[int],
    n_random: int,
    seed: int,
    modality: ModalityNeurons | None = None,
    selection: Selection = DEFAULT_SELECTION,
) -> list[Trial]:
    """Every set of neurons that is fixed for one input language, in a fixed order.

    Parameters
    ----------
    ranking : Ranking
        Of the languages, for the module and condition under study.
    language : str
        The input's own.
    neutral : (n_neurons,) array
        Medians over the utterances of all languages: what language neurons, another language's, and
        the random neurons that match them are fixed at.
    ks : sequence of int
        Neurons of a set.
    n_random : int
        Random sets for each set of the input's own language, and of its modality.
    seed : int
    modality : ModalityNeurons, optional
        In the decoder. Random neurons that match these are fixed at the same kind of value.
    selection : Selection

    Raises
    ------
    ValueError
        A k above the number of neurons.
    """
    n_neurons = len(ranking.neurons)
    if max(ks) > n_neurons:
        raise ValueError(
            f"causal.ks: expected at most {n_neurons} (the number of neurons), got {max(ks)}"
        )
    around = ranking.languages
    other = around[(around.index(language) + 1) % len(around)]
    scores = ranking.scores(selection)
    own_scores, other_scores = (scores.row(ranking.row(one)) for one in (language, other))
    planned: list[Trial] = []

    def add(kind: str, matched_to: str, k: int, number: int, of: str, columns, values) -> None:
        fixed = _fixed(ranking.neurons, columns, values)
        planned.append(Trial(kind, matched_to, k, number, of, fixed))

    for k in ks:
        sets = [("language", language, own_scores.top(k), neutral)]
        if modality is not None:
            sets.append(("modality", modality.name, modality.scores.top(k), modality.value))
        for kind, name, columns, values in sets:
            add(kind, NOT_MATCHED, k, 0, name, columns, values)
            for number in range(1, n_random + 1):
                # By what they match and by k alone: a random set more, or another k, moves no other.
                stream = zlib.crc32(f"{seed} {kind} {name} {k} {number}".encode())
                drawn = matched_random_columns(ranking, columns, stream)
                add("random", kind, k, number, "", drawn, values)
        add("other_language", NOT_MATCHED, k, 0, other, other_scores.top(k), neutral)
    return planned


def _fixed(neurons: pd.DataFrame, columns: np.ndarray, values: np.ndarray) -> Replacement:
    columns = np.sort(columns)
    table = neurons.iloc[columns][["layer", "submodule", "unit"]]
    return Replacement(table.assign(value=values[columns]).reset_index(drop=True))


def pooled_row(path: Path, ranking: Ranking, ranked: Path, **expected: Any) -> tuple[int, Ranking]:
    """Where a ranking of the neurons of ``ranking`` has all languages together.

    Parameters
    ----------
    path : path
        A ranking with a row ``all``: of the modalities, or of an encoder's medians.
    ranking : Ranking
        Of the languages.
    ranked : path
        Where that lies, for the message.
    **expected
        As in ``open_ranking``.

    Returns
    -------
    row : int
        Of ``pooled``.
    pooled : Ranking

    Raises
    ------
    ValueError
        The two rankings are not of the same neurons.
    """
    pooled = open_ranking(path, **expected)
    keys = ["layer", "submodule", "unit"]
    ours, theirs = (one.neurons[keys].astype({"submodule": str}) for one in (ranking, pooled))
    if not ours.reset_index(drop=True).equals(theirs.reset_index(drop=True)):
        raise ValueError(
            f"{path}: neurons: expected the {len(ours)} that {ranked} has, got {len(theirs)} or others; "
            "they come from one model and one setting of ranking.include_step_invariant: delete both and "
            "run the workflow again"
        )
    return pooled.row(ALL), pooled
