"""Stage ``steer``: generation with a target language's control neurons fixed, and its controls (D8).

Per (task, source language), for all steps. For every step and every target language of its pairs: the
target's own neurons (``steered``), random neurons matched by layer and submodule (``random``, several
seeds) and another language's neurons (``other_language``), all fixed to the target's medians. All of
them share the batches. The unsteered run is the decode stage's output.
"""

import logging
import zlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from steplens.files.atomic import write_parquet
from steplens.hooks.intervention import Replacement
from steplens.models.source import ModelSource
from steplens.ranking.table import Ranking, open_ranking
from steplens.settings import DEFAULT_SELECTION, Selection
from steplens.steering.choice import control_columns, matched_random_columns, replacement
from steplens.steering.fixed_generation import generate_fixed, missing_jobs
from steplens.steering.kept_outputs import SteeredOutputs
from steplens.store.conditions import of_condition
from steplens.store.reading import open_store, read_states
from steplens.tasks import IDENTIFICATION_TASK, MODALITY_OF

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


def trials(
    ranking: Ranking,
    source: str,
    k: int,
    n_random: int,
    seed: int,
    selection: Selection = DEFAULT_SELECTION,
    targets: Collection[str] | None = None,
) -> list[Trial]:
    """Every intervention on one source language, in a fixed order.

    Parameters
    ----------
    ranking : Ranking
        Of the identification condition: asr at one step.
    source : str
        The source language.
    k : int
        Top k and, again, bottom k neurons.
    n_random : int
        Random controls a target.
    seed : int
    selection : Selection
    targets : collection of str, optional
        Target languages; by default every other one. Which language's neurons are the control of a
        target does not depend on the other targets.
    """
    planned = []
    for target in ranking.languages:
        if target == source or (targets is not None and target not in targets):
            continue
        own = control_columns(ranking, target, k, selection)
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
            columns = control_columns(ranking, other, k, selection)
            fixed = replacement(ranking, columns, target)
            planned.append(Trial(target, "other_language", 0, other, fixed))
    return planned


def steer(
    source: ModelSource,
    task: str,
    language: str,
    rankings: Mapping[int, Path],
    encoder_store: Path,
    outputs: Mapping[int, Path],
    k: int,
    n_utterances: int,
    n_random: int,
    seed: int,
    max_new_tokens: int,
    batch_size: int,
    made_by: Mapping[str, Any],
    selection: Selection = DEFAULT_SELECTION,
    targets: Collection[str] | None = None,
) -> None:
    """Write ``steering/texts/<task>/<language>/step-<tt>.parquet`` of every step, one row an output.

    Columns: source, target, task, step, control, seed, neurons_of, utterance, n_tokens, ended,
    longest_repeat (tokens in the longest immediate repetition), text. Outputs that an earlier job left
    in ``.parts`` beside them are taken from there (``kept_outputs.py``); where that is all of them,
    no model is loaded.

    Parameters
    ----------
    source : ModelSource
    task : {"asr", "tr"}
    language : str
        The source language; its tag starts every output.
    rankings : mapping of int to path
        Of the identification condition, asr, at every step.
    encoder_store : path
    outputs : mapping of int to path
        The table of every step, all in one folder.
    k, n_utterances, n_random, seed : int
        ``n_utterances`` at most, from the start of the store.
    max_new_tokens, batch_size : int
        ``batch_size`` counts sentences, of all interventions together.
    made_by : mapping
        Which model and which code: outputs of others are not taken.
    selection : Selection
    targets : collection of str, optional
        As in ``trials``.
    """
    opened = {
        step: open_ranking(path, task=IDENTIFICATION_TASK, step=step)
        for step, path in rankings.items()
    }
    plans = {
        step: trials(ranking, language, k, n_random, seed, selection, targets)
        for step, ranking in opened.items()
    }
    data = open_store(encoder_store, modality=MODALITY_OF[task], language=language)
    utterances = data["utterance"].to_numpy()[:n_utterances].tolist()
    known = SteeredOutputs(
        next(iter(outputs.values())).parent / ".parts",
        {
            "encoder_store": data.attrs["digest"],
            "task": task,
            "language": language,
            "max_new_tokens": max_new_tokens,
            **made_by,
        },
    )
    by_digest = {one.fixed.digest: one.fixed for plan in plans.values() for one in plan}
    missing = missing_jobs(by_digest, utterances, [known])
    if missing:
        from steplens.models.provenance import require_same_model

        require_same_model(data.attrs, source, made_by, encoder_store)
        for step, ranking in opened.items():
            require_same_model(ranking.attributes, source, made_by, rankings[step])
        states = read_states(data)[:n_utterances]
        generate_fixed(
            source, f"steer {task} {language}", language, missing, by_digest, states, utterances,
            max_new_tokens, batch_size, known,
        )  # fmt: skip
    for step, plan in plans.items():
        rows = [
            _row(trial, known[trial.fixed.digest, utterance])
            for trial in plan
            for utterance in utterances
        ]
        frame = pd.DataFrame(rows)
        frame.insert(0, "source", language)
        frame.insert(2, "task", task)
        frame.insert(3, "step", step)
        frame.attrs = of_condition(
            {"module": "decoder", "task": task, "source": language, "step": step},
            {
                **made_by,
                "k": k,
                "n_utterances": n_utterances,
                "n_random": n_random,
                "seed": seed,
                "max_new_tokens": max_new_tokens,
                "selection": asdict(selection),
            },
            {"ranking": rankings[step], "encoder_store": encoder_store},
        )
        write_parquet(frame, outputs[step])
        log.info("%s %s step %d: %d outputs of %d interventions", task, language, step, len(rows),
                 len(plan))  # fmt: skip
    known.close()
    log.info("%s %s: %d outputs generated, the others were there", task, language, len(missing))


def _row(trial: Trial, output: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "target": trial.target,
        "control": trial.control,
        "seed": trial.seed,
        "neurons_of": trial.neurons_of,
        **{key: value for key, value in output.items() if key != "fixed"},
    }
