"""Stage ``similarity``: representational similarity of all (language, modality) pairs, layer by layer.

After Lee et al. 2024, "How do Multimodal Foundation Models Encode Text and Speech?" (arXiv 2411.17666):
SVCCA between pooled hidden states of parallel sentences; beside it PWCCA, linear CKA with and without its
bias, and retrieval. Definitions, and what each number can and cannot say, are in docs/methods/similarity.md.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from steplens.errors import SimilarityError
from steplens.files.atomic import write_parquet
from steplens.models.neurons import EMBEDDING
from steplens.store.conditions import of_condition
from steplens.studies.similarity.layer import MEASURES, Compared, Settings, compare_layer, pairs_of
from steplens.studies.similarity.lengths import length_bins, sentence_lengths
from steplens.studies.similarity.views import Views, open_views
from steplens.tasks import ALL

log = logging.getLogger(__name__)


def similarity(
    stores_speech: dict[str, Path],
    stores_text: dict[str, Path],
    condition: dict[str, Any],
    settings: dict[str, Any],
    threads: int,
    output: Path,
    left_out: Path | None = None,
    lengths: tuple[dict[str, Path], dict[str, Path]] | None = None,
    n_length_bins: int = 1,
) -> None:
    """Compare all views of one condition at all of its layers.

    Parameters
    ----------
    stores_speech, stores_text : dict
        Language to store: of the encoders, or of a task in speech and its twin in text at one step.
    condition : dict
        ``module`` (``encoder`` or ``decoder``) and, of the decoder, ``tasks`` (speech, text) and ``step``.
    settings : dict
        ``variance``, ``sentences_per_component``, ``shuffles`` and ``seed``.
    threads : int
    output : path
        Table of pairs: a row for each layer, pair, measure and, by length, bin.
    left_out : path, optional
        ``tables/speech_quality.csv``: what it leaves out takes no part.
    lengths : (dict, dict), optional
        Language to corpus table and to speech table: all is repeated within bins of length.
    n_length_bins : int
        Bins; 1: none.

    Raises
    ------
    SimilarityError
        Too few common sentences, NaN in a valid row, or a view that does not vary. The decoder's
        embedding may be constant, as it is where a language tag is read: such a pair has a reason
        instead of a value.
    StoreError
        A store is damaged, or of another condition or model.
    """
    given = Settings(**settings)
    views = open_views(stores_speech, stores_text, _expected(condition), left_out, given.fewest)
    subsets = [(ALL, 0, np.ones(len(views.utterances), dtype=bool))]
    if lengths is not None and n_length_bins > 1:
        subsets += _bins(lengths, views.utterances, n_length_bins)
    tables = []
    with threadpool_limits(1), ThreadPoolExecutor(threads) as executor:
        for place, (layer, *_) in enumerate(views.layers):
            states = views.layer(place)
            if layer != EMBEDDING or condition["module"] != "decoder":
                _require_variance(views, states, layer)
            found = compare_layer(
                states, views.valid, [rows for *_, rows in subsets], given, executor
            )
            parts = [
                _table(views, layer, by, number, compared)
                for (by, number, _), compared in zip(subsets, found, strict=True)
            ]
            tables += parts
            log.info("layer %s: %d pairs, mean %s", layer, len(found[0].n), _means(found[0]))
    table = pd.concat(tables, ignore_index=True)
    tasks = "_".join(condition.get("tasks", ()))
    table.insert(0, "module", condition["module"])
    table.insert(1, "task", tasks)
    table.insert(2, "step", pd.array([condition.get("step")] * len(table), dtype="Int64"))
    table.attrs = of_condition(
        {"module": condition["module"], "task": tasks, "step": condition.get("step")},
        {**settings, "n_length_bins": n_length_bins},
        {f"speech {one}": path for one, path in stores_speech.items()}
        | {f"text {one}": path for one, path in stores_text.items()},
    )
    write_parquet(table, output)


def _expected(condition: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What the stores of each modality must say of themselves."""
    modalities = ("speech", "text")
    if condition["module"] == "encoder":
        return {one: {"module": f"{one}_encoder", "modality": one} for one in modalities}
    return {
        one: {"module": "decoder", "task": task, "step": condition["step"]}
        for one, task in zip(modalities, condition["tasks"], strict=True)
    }


def _bins(lengths, utterances: np.ndarray, n_bins: int) -> list[tuple[str, int, np.ndarray]]:
    return [
        (by, number, inside)
        for by, table in sentence_lengths(*lengths).items()
        for number, inside in enumerate(length_bins(table, utterances, n_bins), 1)
    ]


def _require_variance(views: Views, states: np.ndarray, layer: str) -> None:
    for name, path, view, valid in zip(views.names, views.paths, states, views.valid, strict=True):
        if (view[valid] == view[valid][0]).all():
            modality, language = name
            raise SimilarityError(
                f"{path}: hidden_state of {language} ({modality}), layer {layer}: expected states that "
                f"differ, got {valid.sum()} equal ones: nothing can be compared with them; check the "
                "audio or the sentences, delete the store and run the workflow again"
            )


def _means(compared: Compared) -> str:
    means = []
    for measure in MEASURES:
        known = compared.value[measure][np.isfinite(compared.value[measure])]
        means.append(f"{measure} {known.mean():.3f}" if len(known) else f"{measure} –")
    return ", ".join(means)


def _table(views: Views, layer: str, by: str, number: int, compared: Compared) -> pd.DataFrame:
    """A row for each pair and measure."""
    one, other = (
        [views.names[place] for place in places]
        for places in zip(*pairs_of(len(views.names)), strict=True)
    )
    parts = []
    for measure in MEASURES:
        value, baseline = compared.value[measure], compared.baseline[measure]
        with np.errstate(divide="ignore", invalid="ignore"):
            corrected = np.where(baseline < 1, (value - baseline) / (1 - baseline), np.nan)
        part = {
            "layer": layer,
            "by": by,
            "bin": number,
            "language_1": [language for _, language in one],
            "modality_1": [modality for modality, _ in one],
            "language_2": [language for _, language in other],
            "modality_2": [modality for modality, _ in other],
            "n": compared.n,
            "measure": measure,
            "value": value,
            "forward": compared.forward[measure],
            "backward": compared.backward[measure],
            "baseline": baseline,
            "corrected": corrected,
        }
        of_cca = measure in ("svcca", "pwcca")
        for side in (0, 1):
            kept = np.where(np.isfinite(value) & of_cca, compared.components[:, side], -1)
            part[f"components_{side + 1}"] = pd.array(kept, dtype="Int64")
            part[f"components_{side + 1}"][kept < 0] = pd.NA
            part[f"variance_{side + 1}"] = np.where(kept < 0, np.nan, compared.variance[:, side])
        part["reason"] = compared.reason[measure].astype(str)
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)
