"""Modality-selective neurons: which neurons tell speech from text, at each decoding step.

The same average precision as for languages (D5), with another label: an utterance that was heard is a
positive of ``speech``, one that was read is a positive of ``text``. Conditions are pairs of tasks that ask
the same of the decoder, s2t with t2t and asr with tr. Ranked with all languages pooled, and within every
language by itself. After "Revisiting Modality Invariance in a Multilingual Speech-Text Model via
Neuron-Level Analysis" (arXiv 2601.17387).
"""

import logging
from pathlib import Path

import numpy as np

from steplens.ranking.scores.ap import rank, use_threads
from steplens.ranking.separation import separation
from steplens.ranking.table import (
    AP_DECIMALS,
    Condition,
    Ranking,
    model_of,
    neurons_of,
    open_condition,
    require_one_condition,
    write_ranking,
)
from steplens.tasks import ALL, MODALITIES, MODALITY_OF

log = logging.getLogger(__name__)


def rank_modality(
    stores: dict[str, dict[str, Path]],
    step: int,
    outputs: dict[str, Path],
    include_step_invariant: bool,
    threads: int,
    left_out: Path | None = None,
) -> None:
    """Write the rankings of both modalities for one pair of tasks at one step.

    Parameters
    ----------
    stores : dict
        Of two tasks, speech first, to language to store, with the same languages.
    step : int
    outputs : dict
        ``speech`` and ``text`` to a ranking's ``zarr.json``. Its rows are ``all``, then every language;
        a row holds each neuron's AP for the utterances of this modality against those of the other, and
        its median over them.
    include_step_invariant : bool
        Whether cross-attention keys and values take part (D4).
    threads : int
    left_out : path, optional
        As in ``open_condition``.

    Raises
    ------
    StoreError
        A store is damaged, or of something else than its place says.
    ValueError
        Stores of different models, or a language with too few valid utterances.
    """
    use_threads(threads)
    both = open_pair(stores, step, include_step_invariant, left_out)
    languages = both.languages[: len(both.languages) // 2]
    scopes = _scopes(both, len(languages))
    rows = [ALL, *languages]
    shape = (len(MODALITIES), len(rows), len(both.columns))
    ap, apart, median = np.empty(shape), np.empty(shape), np.empty(shape, dtype=np.float32)
    for where, activations in both.blocks():
        for row, (members, labels) in enumerate(scopes):
            part = activations if members is None else activations[members]
            ap[:, row, where], median[:, row, where] = rank(part, labels, len(MODALITIES))
            apart[:, row, where] = separation(part, labels, len(MODALITIES))
    ap = np.round(ap, AP_DECIMALS)  # as rank_condition does: equal AP is equal to the last bit
    counts = np.array([np.bincount(labels, minlength=2) for _, labels in scopes])
    neurons = neurons_of(both.data[0]).iloc[both.columns]
    keys = [f"{task} {language}" for task in stores for language in languages]
    sources = {key: one.attrs["digest"] for key, one in zip(keys, both.data, strict=True)}
    for place, (task, modality) in enumerate(zip(stores, MODALITIES, strict=True)):
        ranking = Ranking(
            rows,
            ap[place],
            median[place],
            counts[:, place],
            neurons,
            sources,
            model_of(both.data[0]),
            apart[place],
        )
        told = {"module": "decoder", "task": task, "step": step, "label": modality}
        write_ranking(outputs[modality], ranking, told)
    perfect = (ap[:, 0] == 1).sum(1)
    log.info(
        "step %d, %s: of %d neurons %d have AP = 1 for speech, %d for text, all languages pooled", step,
        " and ".join(stores), shape[2], *perfect,
    )  # fmt: skip


def open_pair(
    stores: dict[str, dict[str, Path]],
    step: int,
    include_step_invariant: bool,
    left_out: Path | None,
) -> Condition:
    """The stores of two tasks as one condition: all languages of speech, then all of text.

    Raises
    ------
    ValueError
        As ``rank_modality``; also where the tasks are not of speech and of text, or their languages differ.
    """
    if [MODALITY_OF[task] for task in stores] != list(MODALITIES):
        raise ValueError(f"tasks: expected one of speech and one of text, got {', '.join(stores)}")
    speech, text = (
        open_condition(of, include_step_invariant, left_out, module="decoder", task=task, step=step)
        for task, of in stores.items()
    )
    if speech.languages != text.languages:
        raise ValueError(
            f"languages: expected the same in both tasks, got {', '.join(speech.languages)} and "
            f"{', '.join(text.languages)}"
        )
    both = Condition(
        speech.languages + text.languages,
        speech.paths + text.paths,
        speech.data + text.data,
        speech.valid + text.valid,
        speech.columns,
    )
    require_one_condition(both.paths, both.data, differ=("task",))
    return both


def _scopes(both: Condition, n_languages: int) -> list[tuple[np.ndarray | None, np.ndarray]]:
    """Which examples a row of the ranking is over (None: all), and whether each is of text."""
    store = both.labels  # of each example
    is_text = (store >= n_languages).astype(np.int64)
    scopes: list[tuple[np.ndarray | None, np.ndarray]] = [(None, is_text)]
    for language in range(n_languages):
        members = np.flatnonzero(store % n_languages == language)
        scopes.append((members, is_text[members]))
    return scopes
