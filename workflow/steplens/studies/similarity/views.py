"""The views that are compared: pooled hidden states of every language in both modalities, layer by layer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from steplens.errors import SimilarityError, StoreError
from steplens.models.neurons import ADAPTER
from steplens.ranking.table import Condition, open_condition
from steplens.store.groups import reading

MODALITIES = ("speech", "text")
# What stores of both modalities must say alike: one model made them.
_SAME = ("model", "revision", "config_digest", "compute_dtype")


@dataclass(frozen=True)
class Views:
    """One view a (modality, language), speech first.

    Attributes
    ----------
    names : list of (modality, language)
    paths : list of paths
        Their stores.
    utterances : (n,) int array
        Sentence ids of all views together, ascending.
    valid : (n_views, n) bool array
        Whether a view has the sentence, valid and not left out.
    layers : list of (name, place in speech, place in text)
        Layers that both modalities have, in running order: ``embedding``, ``0``, ``1`` … and, where
        speech has one, ``adapter``, which is set beside the text encoder's last layer.
    """

    names: list[tuple[str, str]]
    paths: list[Path]
    utterances: np.ndarray
    valid: np.ndarray
    layers: list[tuple[str, int, int]]
    _states: list[np.ndarray]  # (n_valid, places, hidden) a view, rows in the order of utterances

    def layer(self, place: int) -> np.ndarray:
        """States of one of ``layers``: (n_views, n, hidden) float32, 0 where not valid.

        Raises
        ------
        SimilarityError
            NaN or infinity in a valid row.
        """
        name, *places = self.layers[place]
        place_of = dict(zip(MODALITIES, places, strict=True))
        hidden = self._states[0].shape[2]
        states = np.zeros((len(self.names), len(self.utterances), hidden), dtype=np.float32)
        for view, (modality, language) in enumerate(self.names):
            rows = self._states[view][:, place_of[modality]].astype(np.float32)
            wrong = np.flatnonzero(~np.isfinite(rows).all(1))
            if len(wrong):
                utterance = self.utterances[self.valid[view]][wrong[0]]
                raise SimilarityError(
                    f"{self.paths[view]}: hidden_state of {language}, utterance {utterance}, layer {name}: "
                    f"expected finite numbers in a valid row, got {_first_wrong(rows[wrong[0]])}; delete "
                    "the store and run the workflow again"
                )
            states[view, self.valid[view]] = rows
        return states


def _first_wrong(row: np.ndarray) -> float:
    return float(row[~np.isfinite(row)][0])


def open_views(
    stores_speech: dict[str, Path],
    stores_text: dict[str, Path],
    expected: dict[str, dict[str, Any]],
    left_out: Path | None = None,
    fewest: int = 2,
) -> Views:
    """Open the stores of both modalities of one condition.

    Parameters
    ----------
    stores_speech, stores_text : dict
        Language to store.
    expected : dict
        By modality, what its stores must say of themselves, as in ``open_store``.
    left_out : path, optional
        ``tables/speech_quality.csv``: what it leaves out takes no part.
    fewest : int
        Sentences that every two views need in common.

    Raises
    ------
    StoreError
        A store is damaged, or of another condition or model.
    SimilarityError
        Two views have too few sentences in common.
    ValueError
        As in ``open_condition``.
    """
    conditions = [
        open_condition(stores, True, left_out, **expected[modality])
        for modality, stores in zip(MODALITIES, (stores_speech, stores_text), strict=True)
    ]
    _require_one_model(conditions)
    names, paths, ids, states = [], [], [], []
    for modality, condition in zip(MODALITIES, conditions, strict=True):
        parts = zip(
            condition.languages, condition.paths, condition.data, condition.valid, strict=True
        )
        for language, path, data, valid in parts:
            with reading(path):
                utterances = data["utterance"].to_numpy()[valid]
                hidden = data["hidden_state"].to_numpy()[valid]
            order = np.argsort(utterances)
            names.append((modality, language))
            paths.append(path)
            ids.append(utterances[order])
            states.append(hidden[order])
    utterances = np.unique(np.concatenate(ids))
    valid = np.array([np.isin(utterances, one) for one in ids])
    _require_common(names, paths, valid, fewest)
    return Views(names, paths, utterances, valid, _layers(conditions), states)


def _require_one_model(conditions: list[Condition]) -> None:
    (path, first), (other_path, other) = (
        (
            one.paths[0],
            {key: one.data[0].attrs.get(key) for key in _SAME}
            | {"hidden": one.data[0].sizes["hidden"]},
        )
        for one in conditions
    )
    for key, expected in first.items():
        if other[key] != expected:
            raise StoreError(
                f"{other_path}: {key}: expected {expected!r} as in {path}, got {other[key]!r}: speech and "
                "text are compared within one model; delete the store and run the workflow again"
            )


def _require_common(names, paths, valid: np.ndarray, fewest: int) -> None:
    counts = valid.astype(np.int64) @ valid.T
    if counts.min() < fewest:
        one, other = np.unravel_index(counts.argmin(), counts.shape)
        (modality, language), (other_modality, other_language) = names[one], names[other]
        raise SimilarityError(
            f"{paths[one]} and {paths[other]}: {modality} of {language} and {other_modality} of "
            f"{other_language} have {counts.min()} valid sentences in common, expected at least {fewest}: "
            "take more sentences (corpus.n_utterances), let the languages share them "
            "(corpus.parallel_over), or drop the step or the language"
        )


def _layers(conditions: list[Condition]) -> list[tuple[str, int, int]]:
    """Layer l of speech beside layer l of text, and the adapter's output beside text's last layer."""
    speech, text = (condition.data[0]["place"].to_numpy().tolist() for condition in conditions)
    pairs = [(name, name) for name in speech if name in text]
    if ADAPTER in speech:
        pairs.append((ADAPTER, text[-1]))
    return [(one, speech.index(one), text.index(other)) for one, other in pairs]
