"""Stage ``capture``: every decoder neuron at one decoding step, per (task, language, step).

The activation at step t is what the decoder computes at the last position of the prefix
``</s> <language tag> y1 … y(t-1)`` of the sentence that it decoded itself (D3): one teacher-forced
pass, equal to what hooks see at that step during generation.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from .activations import Recorder, require_finite, require_finite_states, to_host
from .batching import length_sorted_batches
from .decoding import Decoder
from .model_source import ModelSource
from .progress import progress
from .provenance import provenance
from .sites import neuron_table
from .store import ROW_CHUNK, StoreWriter, open_store, read_states
from .tasks import target_of

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
    """
    decoded = pd.read_parquet(decoding)
    data = open_store(encoder_store)
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
    recorder = Recorder(text_decoder, decoder.model.config, "decoder")
    neurons = neuron_table(decoder.model.config, "decoder")
    shape = (recorder.n_hidden, decoder.model.config.hidden_size)
    with StoreWriter(
        output, utterances, neurons, shape, dtype,
        provenance(source, module="decoder", task=task, language=language, step=step),
    ) as store, progress(len(states), f"capture {task} {language} step {step}") as bar:  # fmt: skip
        store.add("valid", valid)
        # An utterance that is not valid costs no pass: length 0 sorts it behind the others.
        lengths = np.where(valid, [len(state) for state in states], 0)
        for rows in length_sorted_batches(lengths, batch_size, ROW_CHUNK):
            going = rows[valid[rows]]
            activation = np.full((len(rows), recorder.n_neurons), np.nan, dtype=dtype)
            hidden = np.full((len(rows), *shape), np.nan, dtype=dtype)
            if len(going):
                prefixes = torch.tensor(
                    [[*start, *decoded["tokens"].iloc[row][: step - 1]] for row in going],
                    device=source.torch_device,
                )  # (batch, step + 1)
                encoder_states, mask = decoder.to_device([states[row] for row in going])
                recorder.begin(torch.ones_like(prefixes), mask)
                with torch.inference_mode():
                    text_decoder(
                        input_ids=prefixes,
                        encoder_hidden_states=encoder_states,
                        encoder_attention_mask=mask,
                        use_cache=False,
                    )
                seen = to_host(recorder.result(), dtype)
                where = f"capture {task} {language} step {step}"
                require_finite(*seen, utterances[going], recorder.slots, where)
                activation[valid[rows]], hidden[valid[rows]] = seen
            store.write(rows, activation, hidden)
            bar.update(len(rows))
    log.info("%s %s step %d: %d of %d utterances valid", task, language, step, valid.sum(),
             len(valid))  # fmt: skip
