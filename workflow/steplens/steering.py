"""Stage ``steer``: generation with a target language's control neurons fixed, and its controls (D8).

Per (task, source language, step). For every other language as target: the target's own neurons
(``steered``), random neurons matched by layer and submodule (``random``, several seeds) and another
language's neurons (``other_language``), all fixed to the target's medians. The unsteered run is the
decode stage's output.
"""

import itertools
import logging
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from .atomic import write_parquet
from .decoding import Decoder
from .intervention import (
    Intervention,
    Replacement,
    control_columns,
    matched_random_columns,
    replacement,
)
from .model_source import ModelSource
from .progress import progress
from .rankings import Ranking, open_ranking
from .repetition import longest_repeat
from .store import open_store, read_states

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """One intervention: what is fixed, and under which name its outputs are kept."""

    target: str
    control: str  # "steered", "random" or "other_language"
    seed: int  # of the random neurons; 0 otherwise
    neurons_of: str  # the language whose neurons are fixed; empty for random
    fixed: Replacement


def other_language(languages: list[str], source: str, target: str) -> str | None:
    """The language whose neurons serve as a control: the next after the target, not the source."""
    start = languages.index(target)
    around = languages[start + 1 :] + languages[:start]
    return next((language for language in around if language != source), None)


def trials(ranking: Ranking, source: str, k: int, n_random: int, seed: int) -> list[Trial]:
    """Every intervention on one source language, in a fixed order.

    Parameters
    ----------
    ranking : Ranking
        Of the identification condition: asr at one step.
    source : str
        The source language; every other one is a target.
    k : int
        Top k and, again, bottom k neurons.
    n_random : int
        Random controls a target.
    seed : int
    """
    planned = []
    for target in ranking.languages:
        if target == source:
            continue
        own = control_columns(ranking, target, k)
        planned.append(Trial(target, "steered", 0, target, replacement(ranking, own, target)))
        for number in range(1, n_random + 1):
            # The same random neurons for every source: they depend on the target alone.
            stream = zlib.crc32(f"{seed} {target} {number}".encode())
            columns = matched_random_columns(ranking, own, stream)
            planned.append(
                Trial(target, "random", number, "", replacement(ranking, columns, target))
            )
        other = other_language(ranking.languages, source, target)
        if other is not None:
            columns = control_columns(ranking, other, k)
            fixed = replacement(ranking, columns, target)
            planned.append(Trial(target, "other_language", 0, other, fixed))
    return planned


def steer(
    source: ModelSource,
    task: str,
    language: str,
    step: int,
    ranking: Path,
    encoder_store: Path,
    output: Path,
    k: int,
    n_utterances: int,
    n_random: int,
    seed: int,
    max_new_tokens: int,
    batch_size: int,
) -> None:
    """Write ``steering/texts/<task>/<language>/step-<tt>.parquet``, one row an output.

    Columns: source, target, task, step, control, seed, neurons_of, utterance, n_tokens, ended,
    longest_repeat (tokens in the longest immediate repetition), text.

    Parameters
    ----------
    source : ModelSource
    task : {"asr", "tr"}
    language : str
        The source language; its tag starts every output.
    step : int
        Of the identification condition.
    ranking : path
        asr at that step.
    encoder_store, output : paths
    k, n_utterances, n_random, seed : int
        ``n_utterances`` at most, from the start of the store.
    max_new_tokens, batch_size : int
        ``batch_size`` counts sentences, of all interventions together.
    """
    plan = trials(open_ranking(ranking), language, k, n_random, seed)
    data = open_store(encoder_store)
    states = read_states(data)[:n_utterances]
    utterances = data["utterance"].to_numpy()[: len(states)]
    decoder = Decoder(source, max_new_tokens)
    jobs = [(trial, row) for trial in range(len(plan)) for row in range(len(states))]
    rows = []
    with progress(len(jobs), f"steer {task} {language} step {step}", "sentence") as bar:
        for start in range(0, len(jobs), batch_size):
            batch = jobs[start : start + batch_size]
            fixed = [
                (part, plan[trial].fixed) for trial, part in _runs([trial for trial, _ in batch])
            ]
            inputs = decoder.to_device([states[row] for _, row in batch])
            with Intervention(decoder.model.text_decoder, fixed):
                contents, ended = decoder.greedy(*inputs, language)
            for (trial, row), tokens, end in zip(batch, contents, ended, strict=True):
                rows.append(_row(plan[trial], utterances[row], tokens, end, decoder))
            bar.update(len(batch))
    frame = pd.DataFrame(rows)
    frame.insert(0, "source", language)
    frame.insert(2, "task", task)
    frame.insert(3, "step", step)
    write_parquet(frame, output)
    log.info("%s %s step %d: %d outputs of %d interventions", task, language, step, len(rows),
             len(plan))  # fmt: skip


def _runs(numbers: list[int]) -> list[tuple[int, slice]]:
    """Stretches of equal numbers: [(number, slice), …]."""
    edges = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    return [(numbers[a], slice(a, b)) for a, b in itertools.pairwise(edges)]


def _row(trial: Trial, utterance: int, tokens: list[int], ended: bool, decoder: Decoder) -> dict:
    return {
        "target": trial.target,
        "control": trial.control,
        "seed": trial.seed,
        "neurons_of": trial.neurons_of,
        "utterance": utterance,
        "n_tokens": len(tokens),
        "ended": ended,
        "longest_repeat": longest_repeat(tokens),
        "text": decoder.text(tokens),
    }
