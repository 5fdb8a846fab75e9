"""Stages for the encoders: audio or text goes through once more with neurons fixed, then is decoded.

One job a (modality, language): the states of a pass serve both tasks of the modality.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steplens.batches.batching import run_batches
from steplens.files.atomic import read_parquet, table_digest
from steplens.hooks.intervention import Replacement
from steplens.jobs.progress import progress
from steplens.models.source import ModelSource
from steplens.ranking.table import open_ranking
from steplens.settings import DEFAULT_SELECTION, Selection
from steplens.steering.fixed_generation import missing_jobs, output_rows
from steplens.steering.kept_outputs import SteeredOutputs
from steplens.store.conditions import of_condition
from steplens.studies.causal.decoder import open_outputs, write_outputs
from steplens.studies.causal.trials import pooled_row, trials
from steplens.tasks import target_of

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def causal_encoder(
    source: ModelSource,
    modality: str,
    language: str,
    output_language: str,
    corpus: Path,
    speech: Path | None,
    ranking: Path,
    medians: Path,
    outputs: Mapping[str, Path],
    ks: Sequence[int],
    n_utterances: int,
    n_random: int,
    seed: int,
    max_new_tokens: int,
    encode_batch_size: int,
    decode_batch_size: int,
    made_by: Mapping[str, Any],
    selection: Selection = DEFAULT_SELECTION,
    fixed_seconds: float | None = None,
) -> None:
    """Write ``causal/texts/<modality>_encoder/<language>/<task>.parquet`` of both tasks.

    Columns, and what of it is taken from earlier jobs, as in ``causal_decoder``; ``step`` is 0.

    Parameters
    ----------
    source : ModelSource
    modality : {"speech", "text"}
    language, output_language : str
    corpus, speech : paths
        ``corpus/<language>.parquet`` and, for speech, ``speech/<language>.parquet``.
    ranking, medians : paths
        The encoder's ranking of languages, and what ``medians.py`` wrote.
    outputs : mapping
        Task to table, all in one folder.
    ks, n_utterances, n_random, seed, max_new_tokens
        As in ``causal_decoder``.
    encode_batch_size, decode_batch_size : int
        Utterances at a time in the encoder, and outputs in the decoder.
    made_by : mapping
    selection : Selection
    fixed_seconds : float, optional
        Of speech: as in ``encoding.SpeechInput``. Outputs of another length are not taken.
    """
    module = f"{modality}_encoder"
    languages = open_ranking(ranking, module=module)
    row, pooled = pooled_row(medians, languages, ranking, module=module)
    plan = trials(languages, language, pooled.median[row], ks, n_random, seed, selection=selection)
    sentences = read_parquet(corpus)[:n_utterances]
    utterances = sentences["utterance"].tolist()
    read: dict[str, Any] = {"corpus": table_digest(corpus)}
    if speech is not None:
        read["speech"] = table_digest(speech)
    if fixed_seconds is not None:
        read["fixed_seconds"] = fixed_seconds
    targets = {task: target_of(task, language, output_language) for task in outputs}
    known = {
        task: open_outputs(path, targets[task], max_new_tokens, made_by, **read)
        for task, path in outputs.items()
    }
    by_digest = {one.fixed.digest: one.fixed for one in plan}
    missing = missing_jobs(by_digest, utterances, list(known.values()))
    if missing:
        from steplens.models.provenance import require_same_model

        for path, one in {ranking: languages, medians: pooled}.items():
            require_same_model(one.attributes, source, made_by, path)
        _generate(
            source, modality, language, targets, sentences, speech, fixed_seconds, missing, by_digest,
            max_new_tokens, encode_batch_size, decode_batch_size, known,
        )  # fmt: skip
    settings = {
        "output_language": output_language, "ks": list(ks), "n_utterances": n_utterances,
        "n_random": n_random, "seed": seed, "max_new_tokens": max_new_tokens,
        "fixed_seconds": fixed_seconds, "selection": asdict(selection),
    }  # fmt: skip
    inputs = {"ranking": ranking, "medians": medians, "corpus": corpus}
    inputs |= {} if speech is None else {"speech": speech}
    for task, path in outputs.items():
        told = {"module": module, "task": task, "step": 0, "language": language}
        attrs = of_condition(told, {**made_by, **settings}, inputs)
        write_outputs(plan, known[task], utterances, told, path, attrs)
    log.info("%s %s: %d passes through the encoder, the other outputs were there", module, language,
             len(missing))  # fmt: skip


def _generate(
    source: ModelSource,
    modality: str,
    language: str,
    targets: Mapping[str, str],
    sentences: "pd.DataFrame",
    speech: Path | None,
    fixed_seconds: float | None,
    jobs: Sequence[tuple[str, int]],
    by_digest: Mapping[str, Replacement],
    max_new_tokens: int,
    encode_batch_size: int,
    decode_batch_size: int,
    known: Mapping[str, SteeredOutputs],
) -> None:
    """Encode and decode ``jobs``, (digest of what is fixed, row of ``sentences``) each."""
    from steplens.generation.decode import Decoder
    from steplens.studies.causal.fixed_encoder import FixedEncoder

    encoder = FixedEncoder(source, modality, language, sentences, speech, fixed_seconds)
    decoder = Decoder(source, max_new_tokens)
    utterances = sentences["utterance"].to_numpy()
    order = np.argsort([-encoder.lengths[row] for _, row in jobs], kind="stable")
    with progress(len(jobs), f"causal {modality} encoder {language}", "sentence") as bar:
        # As many at a time as are decoded together: their states are kept meanwhile.
        for start in range(0, len(jobs), decode_batch_size):
            part = [jobs[number] for number in order[start : start + decode_batch_size]]
            states = _encoded(encoder, part, by_digest, utterances, encode_batch_size)
            keys = [(digest, int(utterances[row])) for digest, row in part]
            for task, target in targets.items():
                new = [number for number, key in enumerate(keys) if key not in known[task]]
                if not new:  # the other task was stopped
                    continue
                run = _decode(decoder, target, states, keys, new)
                lengths = [len(states[number]) for number in new]
                for _, rows in run_batches(lengths, decode_batch_size, len(new), run):
                    known[task].add(rows)
            bar.update(len(part))


def _encoded(
    encoder: Any,
    jobs: Sequence[tuple[str, int]],
    by_digest: Mapping[str, Replacement],
    utterances: np.ndarray,
    batch_size: int,
) -> list[np.ndarray]:
    """Final states of every job: (n_positions, hidden) each."""

    def run(numbers: np.ndarray) -> list[np.ndarray]:
        batch = [jobs[number] for number in numbers]
        return encoder.states([row for _, row in batch], [by_digest[one] for one, _ in batch])

    rows = [row for _, row in jobs]
    found: dict[int, np.ndarray] = {}
    lengths = encoder.lengths[rows]
    for numbers, states in run_batches(lengths, batch_size, len(jobs), run, utterances[rows]):
        found |= dict(zip(numbers.tolist(), states, strict=True))
    return [found[number] for number in range(len(jobs))]


def _decode(
    decoder: Any,
    target: str,
    states: Sequence[np.ndarray],
    keys: Sequence[tuple[str, int]],
    new: Sequence[int],
) -> Callable[[np.ndarray], list[dict[str, Any]]]:
    """Decodes those of ``new`` that a batch asks for."""

    def run(numbers: np.ndarray) -> list[dict[str, Any]]:
        batch = [new[number] for number in numbers]
        inputs = decoder.to_device([states[number] for number in batch])
        own = [keys[number] for number in batch]
        names = np.array([utterance for _, utterance in own])
        return output_rows(decoder, own, *decoder.greedy(*inputs, target, names))

    return run
