"""Stage ``capture``: every decoder neuron at one decoding step, per (task, language, step).

The activation at step t is what the decoder computes at the last position of the prefix
``</s> <language tag> y1 … y(t-1)`` of the sentence that it decoded itself (D3): one teacher-forced
pass, equal to what hooks see at that step during generation.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from steplens.batches.batching import pad_states
from steplens.batches.device_copies import to_device
from steplens.errors import StoreError
from steplens.files.atomic import table_digest
from steplens.generation.decode import Decoder
from steplens.hooks.recorder import Recorded, Recorder, require_finite_states
from steplens.jobs.progress import progress
from steplens.models.neurons import neuron_table
from steplens.models.provenance import provenance, require_same_model
from steplens.models.source import ModelSource
from steplens.recording.dump import dump
from steplens.store.conditions import read_condition
from steplens.store.reading import open_store, read_states
from steplens.store.writer import StoreWriter
from steplens.tasks import MODALITY_OF, target_of

log = logging.getLogger(__name__)


def capture(
    source: ModelSource,
    task: str,
    language: str,
    step: int,
    output_language: str,
    encoder_store: Path,
    decoding: Path,
    output: Path,
    dtype: str,
    batch_size: int,
    made_by: Mapping[str, Any],
) -> None:
    """Write ``decoder/<task>/<language>/step-<tt>.zarr``.

    Utterances whose sentence has fewer than ``step`` tokens are not valid: their rows hold NaN.

    Parameters
    ----------
    source : ModelSource
    task, language, step, output_language
        The condition; ``step`` counts from 1.
    encoder_store, decoding, output : paths
    dtype : {"float16", "float32"}
    batch_size : int
        Utterances at a time, at most: fewer where they do not fit into memory.
    made_by : mapping
        As in ``provenance``.
    """
    decoded = read_condition(decoding, ["utterance"], task=task, language=language)
    data = open_store(encoder_store, modality=MODALITY_OF[task], language=language)
    require_same_model(data.attrs, source, made_by, encoder_store)
    decoded_from = decoded.attrs["inputs"]["encoder_store"]
    if decoded_from != data.attrs["digest"]:
        raise StoreError(
            f"{decoding}: expected sentences decoded from {encoder_store} with digest "
            f"{data.attrs['digest']}, got some of {decoded_from}; delete the table and run the "
            "workflow again"
        )
    utterances = data["utterance"].to_numpy()
    if not np.array_equal(decoded["utterance"], utterances):
        raise ValueError(f"{decoding}: expected the utterances of {encoder_store}, got others")
    states = read_states(data)
    require_finite_states(states, utterances, str(encoder_store))
    valid = (decoded["n_tokens"] >= step).to_numpy()
    decoder = Decoder(source, max_new_tokens=1)
    start = [
        decoder.model.config.decoder_start_token_id,
        decoder.tag(target_of(task, language, output_language)),
    ]
    text_decoder = decoder.model.text_decoder
    recorder = Recorder(text_decoder, decoder.model.config, "decoder", dtype)
    prefixes = torch.tensor(
        [[*start, *_prefix(tokens, step)] for tokens in decoded["tokens"]]
    )  # (n, step + 1)

    def run(rows: np.ndarray) -> Recorded:
        chosen = [states[row] for row in rows]
        return decoder_pass(text_decoder, recorder, prefixes[torch.from_numpy(rows)], chosen)

    inputs = {"encoder_store": data.attrs["digest"], "decoding": table_digest(decoding)}
    with StoreWriter(
        output, utterances, neuron_table(decoder.model.config, "decoder"), recorder.places,
        decoder.model.config.hidden_size, dtype,
        provenance(
            source, made_by, inputs, module="decoder", task=task, language=language, step=step
        ),
        {"batch_size": batch_size},
    ) as store, progress(len(states), f"capture {task} {language} step {step}") as bar:  # fmt: skip
        store.add("valid", valid)
        lengths = np.array([len(state) for state in states])
        where = f"capture {task} {language} step {step}"
        dump(store, recorder, utterances, lengths, batch_size, run, where, bar, valid)
    log.info("%s %s step %d: %d of %d utterances valid", task, language, step, valid.sum(),
             len(valid))  # fmt: skip


def _prefix(tokens: list[int], step: int) -> list[int]:
    """The first ``step`` - 1 tokens; a sentence that is not valid, and not passed, is filled up."""
    return [*tokens[: step - 1], *[0] * (step - 1 - len(tokens))]


@torch.inference_mode()
def decoder_pass(
    text_decoder: torch.nn.Module,
    recorder: Recorder,
    prefixes: torch.Tensor,
    states: list[np.ndarray],
) -> Recorded:
    """One batch through the decoder.

    Parameters
    ----------
    text_decoder : nn.Module
    recorder : Recorder
        Of ``text_decoder``.
    prefixes : (batch, step + 1) tensor
        Token ids, on the host; the last position is read.
    states : list of (n_positions, hidden) arrays
        Final encoder states of every row.
    """
    padded, mask = (torch.from_numpy(one) for one in pad_states(states))
    recorder.begin(torch.ones_like(prefixes), mask)
    text_decoder(
        input_ids=to_device(prefixes, recorder.device),
        encoder_hidden_states=to_device(padded, recorder.device, text_decoder.dtype),
        encoder_attention_mask=to_device(mask, recorder.device),
        use_cache=False,
    )
    return recorder.result()
