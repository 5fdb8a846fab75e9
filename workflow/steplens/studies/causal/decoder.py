"""The causal role of language- and modality-selective neurons: what generation loses without them.

While a sentence is generated, chosen neurons are fixed at a median that tells neither language nor
modality apart; what is written then is set against what is written with all neurons free, and with random
neurons fixed. Here: the stage for neurons of the decoder. ``trials.py`` says which neurons and
values, ``encoder.py`` has the encoders, ``summary.py`` the tables, docs/methods/causal.md the
definitions. After "Revisiting Modality Invariance in a Multilingual Speech-Text Model via Neuron-Level
Analysis" (arXiv 2601.17387).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from steplens.files.atomic import write_parquet
from steplens.models.source import ModelSource
from steplens.ranking.table import open_ranking
from steplens.settings import DEFAULT_SELECTION, Selection
from steplens.steering.fixed_generation import generate_fixed, missing_jobs
from steplens.steering.kept_outputs import SteeredOutputs
from steplens.store.conditions import of_condition
from steplens.store.reading import open_store, read_states
from steplens.studies.causal.trials import ModalityNeurons, Trial, pooled_row, trials
from steplens.tasks import MODALITY_OF, target_of

log = logging.getLogger(__name__)


def causal_decoder(
    source: ModelSource,
    task: str,
    language: str,
    output_language: str,
    step: int,
    ranking: Path,
    own_modality: Path,
    other_modality: Path,
    encoder_store: Path,
    output: Path,
    ks: Sequence[int],
    n_utterances: int,
    n_random: int,
    seed: int,
    max_new_tokens: int,
    batch_size: int,
    made_by: Mapping[str, Any],
    selection: Selection = DEFAULT_SELECTION,
) -> None:
    """Write ``causal/texts/decoder/<language>/<task>.parquet``, a row an output.

    Columns: module, task, step, language, neurons, matched_to, k, seed, neurons_of, utterance, n_tokens,
    ended, longest_repeat (tokens in the longest immediate repetition), text. Outputs that an earlier job
    left in ``.parts/<task>`` are taken from there; where that is all of them, no model is loaded.

    Parameters
    ----------
    source : ModelSource
    task : {"s2t", "t2t", "asr", "tr"}
    language : str
        The input's.
    output_language : str
        What s2t and t2t translate into.
    step : int
        At which neurons were found.
    ranking, own_modality, other_modality : paths
        Rankings of the task at the step: of its languages, of its modality and of the other one.
    encoder_store : path
    output : path
    ks, n_random, seed
        As in ``causal_trials.trials``.
    n_utterances : int
        At most, from the start of the store.
    max_new_tokens, batch_size : int
        ``batch_size`` counts sentences, of all trials together.
    made_by : mapping
        Which model and which code: outputs of others are not taken.
    selection : Selection
    """
    name = MODALITY_OF[task]
    other = "text" if name == "speech" else "speech"
    languages = open_ranking(ranking, task=task, step=step)
    row, own = pooled_row(own_modality, languages, ranking, task=task, step=step, label=name)
    other_row, twin = pooled_row(other_modality, languages, ranking, step=step, label=other)
    modality = ModalityNeurons(name, own.scores(selection).row(row), twin.median[other_row])
    plan = trials(languages, language, own.median[row], ks, n_random, seed, modality, selection)
    data = open_store(encoder_store, modality=name, language=language)
    utterances = data["utterance"].to_numpy()[:n_utterances].tolist()
    target = target_of(task, language, output_language)
    known = open_outputs(
        output, target, max_new_tokens, made_by, encoder_store=data.attrs["digest"]
    )
    by_digest = {one.fixed.digest: one.fixed for one in plan}
    missing = missing_jobs(by_digest, utterances, [known])
    if missing:
        from steplens.models.provenance import require_same_model

        require_same_model(data.attrs, source, made_by, encoder_store)
        read = {ranking: languages, own_modality: own, other_modality: twin}
        for path, one in read.items():
            require_same_model(one.attributes, source, made_by, path)
        states = read_states(data)[:n_utterances]
        generate_fixed(
            source, f"causal {task} {language}", target, missing, by_digest, states, utterances,
            max_new_tokens, batch_size, known,
        )  # fmt: skip
    told = {"module": "decoder", "task": task, "step": step, "language": language}
    settings = {
        "output_language": output_language, "ks": list(ks), "n_utterances": n_utterances,
        "n_random": n_random, "seed": seed, "max_new_tokens": max_new_tokens,
        "selection": asdict(selection),
    }  # fmt: skip
    inputs = {
        "ranking": ranking, "own_modality": own_modality, "other_modality": other_modality,
        "encoder_store": encoder_store,
    }  # fmt: skip
    attrs = of_condition(told, {**made_by, **settings}, inputs)
    write_outputs(plan, known, utterances, told, output, attrs)
    log.info("%s %s: %d outputs generated, the others were there", task, language, len(missing))


def open_outputs(
    output: Path, target: str, max_new_tokens: int, made_by: Mapping[str, Any], **inputs: Any
) -> SteeredOutputs:
    """Outputs of earlier jobs for this table; ``inputs`` are digests and settings of what is read."""
    determined = {"target": target, "max_new_tokens": max_new_tokens, **inputs, **made_by}
    return SteeredOutputs(output.parent / ".parts" / output.stem, determined)


def write_outputs(
    plan: Sequence[Trial],
    known: SteeredOutputs,
    utterances: Sequence[int],
    told: Mapping[str, Any],
    output: Path,
    attrs: Mapping[str, Any],
) -> None:
    """Write a table of outputs: ``told`` (module, task, step, language), the trial, the output."""
    rows = [
        dict(told)
        | {
            "neurons": trial.neurons,
            "matched_to": trial.matched_to,
            "k": trial.k,
            "seed": trial.seed,
            "neurons_of": trial.neurons_of,
        }
        | {key: value for key, value in known[trial.fixed.digest, one].items() if key != "fixed"}
        for trial in plan
        for one in utterances
    ]
    table = pd.DataFrame(rows)
    table.attrs = dict(attrs)
    write_parquet(table, output)
    known.close()
