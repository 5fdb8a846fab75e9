"""The causal role of language- and modality-selective neurons: what generation loses without them.

While a sentence is generated, chosen neurons are fixed at a median that tells neither language nor
modality apart; what is written then is set against what is written with all neurons free, and with random
neurons fixed. Here: the stage for neurons of the decoder. ``causal_trials.py`` says which neurons and
values, ``causal_encoder.py`` has the encoders, ``causal_summary.py`` the tables, docs/causal.md the
definitions. After "Revisiting Modality Invariance in a Multilingual Speech-Text Model via Neuron-Level
Analysis" (arXiv 2601.17387).
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..atomic import write_parquet
from ..batching import run_batches
from ..intervention import Intervention, Replacement
from ..model_source import ModelSource
from ..progress import progress
from ..rankings import open_ranking
from ..repetition import longest_repeat
from ..steered_outputs import SteeredOutputs
from ..store import open_store, read_states
from ..tasks import MODALITY_OF, target_of
from .causal_trials import ModalityNeurons, Trial, pooled_row, trials

if TYPE_CHECKING:
    from ..decoding import Decoder

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
    """
    name = MODALITY_OF[task]
    other = "text" if name == "speech" else "speech"
    languages = open_ranking(ranking, task=task, step=step)
    ap, neutral, own = pooled_row(
        own_modality, languages, ranking, task=task, step=step, label=name
    )
    _, value, twin = pooled_row(other_modality, languages, ranking, step=step, label=other)
    plan = trials(
        languages, language, neutral, ks, n_random, seed, ModalityNeurons(name, ap, value)
    )
    data = open_store(encoder_store, modality=name, language=language)
    utterances = data["utterance"].to_numpy()[:n_utterances].tolist()
    target = target_of(task, language, output_language)
    known = open_outputs(
        output, target, max_new_tokens, made_by, encoder_store=data.attrs["digest"]
    )
    by_digest = {one.fixed.digest: one.fixed for one in plan}
    missing = [
        (digest, row)
        for digest in by_digest
        for row, utterance in enumerate(utterances)
        if (digest, utterance) not in known
    ]
    if missing:
        from ..provenance import require_same_model

        require_same_model(data.attrs, source, made_by, encoder_store)
        read = {ranking: languages, own_modality: own, other_modality: twin}
        for path, one in read.items():
            require_same_model(one.attributes, source, made_by, path)
        states = read_states(data)[:n_utterances]
        _generate(
            source, f"causal {task} {language}", target, missing, by_digest, states, utterances,
            max_new_tokens, batch_size, known,
        )  # fmt: skip
    told = {"module": "decoder", "task": task, "step": step, "language": language}
    write_outputs(plan, known, utterances, told, output)
    log.info("%s %s: %d outputs generated, the others were there", task, language, len(missing))


def open_outputs(
    output: Path, target: str, max_new_tokens: int, made_by: Mapping[str, Any], **inputs: str
) -> SteeredOutputs:
    """Outputs of earlier jobs for this table; ``inputs`` are digests of what sentences come from."""
    determined = {"target": target, "max_new_tokens": max_new_tokens, **inputs, **made_by}
    return SteeredOutputs(output.parent / ".parts" / output.stem, determined)


def _generate(
    source: ModelSource,
    what: str,
    target: str,
    jobs: Sequence[tuple[str, int]],
    by_digest: Mapping[str, Replacement],
    states: Sequence[np.ndarray],
    utterances: Sequence[int],
    max_new_tokens: int,
    batch_size: int,
    known: SteeredOutputs,
) -> None:
    """Generate the outputs of ``jobs``, (digest of what is fixed, row of ``states``) each."""
    import torch  # a job that has nothing to generate spares the seconds that this takes

    from ..decoding import Decoder

    decoder = Decoder(source, max_new_tokens)

    def run(numbers: np.ndarray) -> list[dict[str, Any]]:
        batch = [jobs[number] for number in numbers]
        # The sentences of a batch are few: each of them stands there under many trials.
        different, which = np.unique([row for _, row in batch], return_inverse=True)
        inputs = decoder.to_device([states[row] for row in different])
        which = torch.from_numpy(which).to(inputs[0].device)
        fixed = [(slice(at, at + 1), by_digest[digest]) for at, (digest, _) in enumerate(batch)]
        keys = [(digest, utterances[row]) for digest, row in batch]
        written = decoder.greedy(
            *(one.index_select(0, which) for one in inputs),
            target,
            np.array([utterance for _, utterance in keys]),
            Intervention(decoder.model.text_decoder, fixed),
        )
        return output_rows(decoder, keys, *written)

    lengths = [len(states[row]) for _, row in jobs]
    with progress(len(jobs), what, "sentence") as bar:
        for numbers, rows in run_batches(lengths, batch_size, len(jobs), run):
            known.add(rows)
            bar.update(len(numbers))


def output_rows(
    decoder: "Decoder",
    keys: Sequence[tuple[str, int]],
    contents: Sequence[list[int]],
    ended: Sequence[bool],
) -> list[dict[str, Any]]:
    """What a batch wrote, as ``SteeredOutputs`` keeps it; keys are (digest of what is fixed, utterance)."""
    return [
        {
            "fixed": digest,
            "utterance": utterance,
            "n_tokens": len(tokens),
            "ended": end,
            "longest_repeat": longest_repeat(tokens),
            "text": decoder.text(tokens),
        }
        for (digest, utterance), tokens, end in zip(keys, contents, ended, strict=True)
    ]


def write_outputs(
    plan: Sequence[Trial],
    known: SteeredOutputs,
    utterances: Sequence[int],
    told: Mapping[str, Any],
    output: Path,
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
    write_parquet(pd.DataFrame(rows), output)
    known.close()
