"""Stage ``encode``: one pass through an encoder gives every neuron and the states to decode from.

Once per (modality, language): s2t and asr share the speech pass, t2t and tr the text pass.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch

from .activations import Recorder, require_finite, require_finite_states, to_host
from .batching import length_sorted_batches
from .features import SAMPLING_RATE_HZ, pad_features, speech_features
from .model_source import ModelSource
from .models import load_speech_encoder, load_text_encoder, load_tokenizer
from .progress import progress
from .provenance import provenance
from .sites import neuron_table
from .store import ROW_CHUNK, StoreWriter

log = logging.getLogger(__name__)

MODULE_OF = {"speech": "speech_encoder", "text": "text_encoder"}


class SpeechInput:
    """Audio files as features."""

    def __init__(self, speech: pd.DataFrame, folder: Path):
        self.lengths = speech["n_samples"].to_numpy()
        self._paths = [folder / name for name in speech["path"]]

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, frames, 160) features and their (batch, frames) mask."""
        return pad_features([self._features(self._paths[row]) for row in rows])

    @staticmethod
    def _features(path: Path) -> torch.Tensor:
        wave, rate = soundfile.read(path, dtype="float32")
        if rate != SAMPLING_RATE_HZ:
            raise ValueError(f"{path}: expected {SAMPLING_RATE_HZ} Hz audio, got {rate} Hz")
        try:
            return speech_features(wave)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


class TextInput:
    """Sentences as token ids: language tag, pieces, end of sentence."""

    def __init__(self, texts: list[str], tokenizer, language: str):
        tag = f"__{language}__"
        if tokenizer.convert_tokens_to_ids(tag) in (None, tokenizer.unk_token_id):
            raise ValueError(
                f"tokenizer {tokenizer.name_or_path}: expected the language tag {tag}, found none; "
                "its files are of a model without this language"
            )
        tokenizer.src_lang = language
        self._tokens = [torch.tensor(tokenizer(text).input_ids) for text in texts]
        self._padding = tokenizer.pad_token_id
        self.lengths = np.array([len(tokens) for tokens in self._tokens])

    def batch(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, length) token ids and their (batch, length) mask."""
        tokens = torch.nn.utils.rnn.pad_sequence(
            [self._tokens[row] for row in rows], batch_first=True, padding_value=self._padding
        )
        lengths = torch.tensor(self.lengths[rows])
        return tokens, (torch.arange(tokens.shape[1])[None] < lengths[:, None]).long()


def encode(
    source: ModelSource,
    modality: str,
    language: str,
    corpus: Path,
    speech: Path | None,
    output: Path,
    dtype: str,
    batch_size: int,
) -> None:
    """Write ``encoder/<modality>/<language>.zarr``.

    Parameters
    ----------
    source : ModelSource
    modality : {"speech", "text"}
    language : str
    corpus, speech : paths
        ``corpus/<language>.parquet`` and, for speech, ``speech/<language>.parquet``.
    output : path
        The store.
    dtype : {"float16", "float32"}
        Of the stored activations; the states keep the dtype of the computation.
    batch_size : int
        Utterances at a time.
    """
    sentences = pd.read_parquet(corpus)
    module = MODULE_OF[modality]
    if modality == "speech":
        spoken = pd.read_parquet(speech).set_index("utterance").loc[sentences["utterance"]]
        inputs = SpeechInput(spoken, Path(speech).parent)
        encoder = load_speech_encoder(source)
    else:
        inputs = TextInput(sentences["text"].tolist(), load_tokenizer(source), language)
        encoder = load_text_encoder(source)
    recorder = Recorder(encoder, encoder.config, module)
    run = _speech_pass if modality == "speech" else _text_pass
    utterances = sentences["utterance"].to_numpy()
    log.info("encoding %d utterances (%s, %s) on %s", len(utterances), modality, language,
             source.torch_device)  # fmt: skip
    with (
        StoreWriter(
            output,
            utterances,
            neuron_table(encoder.config, module),
            (recorder.n_hidden, encoder.config.hidden_size),
            dtype,
            provenance(source, module=module, modality=modality, language=language),
        ) as store,
        progress(len(utterances), f"encode {modality} {language}") as bar,
    ):
        for rows in length_sorted_batches(inputs.lengths, batch_size, ROW_CHUNK):
            values, mask = inputs.batch(rows)
            states, state_mask = run(encoder, recorder, values, mask, source)
            activation, hidden_state = to_host(recorder.result(), dtype)
            where = f"encode {modality} {language}"
            require_finite(activation, hidden_state, utterances[rows], recorder.slots, where)
            lengths = state_mask.sum(1).tolist()
            kept = [state[:n] for state, n in zip(states.cpu().numpy(), lengths, strict=True)]
            require_finite_states(kept, utterances[rows], where)
            store.write(rows, activation, hidden_state, kept)
            bar.update(len(rows))


@torch.inference_mode()
def _speech_pass(encoder, recorder: Recorder, features, mask, source: ModelSource):
    features = features.to(source.torch_device, source.torch_dtype)
    mask = mask.to(source.torch_device)
    lengths = encoder._compute_sub_sample_lengths_from_attention_mask(mask).long()
    positions = torch.arange(int(lengths.max()), device=mask.device)
    state_mask = (positions[None] < lengths[:, None]).long()
    recorder.begin(mask, state_mask)
    states = encoder(features, attention_mask=mask).last_hidden_state
    return states[:, : state_mask.shape[1]], state_mask


@torch.inference_mode()
def _text_pass(encoder, recorder: Recorder, tokens, mask, source: ModelSource):
    tokens, mask = tokens.to(source.torch_device), mask.to(source.torch_device)
    recorder.begin(mask)
    return encoder(tokens, attention_mask=mask).last_hidden_state, mask
