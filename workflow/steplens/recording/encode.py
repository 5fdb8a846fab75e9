"""Stage ``encode``: one pass through an encoder gives every neuron and the states to decode from.

Once per (modality, language): s2t and asr share the speech pass, t2t and tr the text pass.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from steplens.batches.batching import length_sorted_batches
from steplens.batches.device_copies import to_device
from steplens.batches.prefetch import Ahead
from steplens.files.atomic import read_parquet, table_digest
from steplens.files.audio import read_utterance
from steplens.files.fixed_length import cut_and_padded, fitted, n_samples_of
from steplens.hooks.recorder import Recorded, Recorder
from steplens.jobs.progress import progress
from steplens.models.checkpoint import require_unchanged
from steplens.models.neurons import neuron_table
from steplens.models.provenance import provenance
from steplens.models.seamless.features import pad_features, speech_features
from steplens.models.seamless.loading import load_speech_encoder, load_text_encoder, load_tokenizer
from steplens.models.source import ModelSource
from steplens.models.unknown_tokens import log_unknown_input
from steplens.recording.dump import dump
from steplens.store.groups import ROW_CHUNK
from steplens.store.writer import StoreWriter

log = logging.getLogger(__name__)

MODULE_OF = {"speech": "speech_encoder", "text": "text_encoder"}


class SpeechInput:
    """Audio files as features.

    Parameters
    ----------
    speech : DataFrame
        Rows of ``speech/<language>.parquet``.
    folder : path
        Where their files lie.
    fixed_seconds : float, optional
        Every utterance is cut, or filled up with zeros, to it before its features are made: the mask is
        one at every position. Natural lengths without.

    Attributes
    ----------
    lengths : (n_utterances,) int array
        Samples that are encoded.
    """

    def __init__(self, speech: pd.DataFrame, folder: Path, fixed_seconds: float | None = None):
        self.natural_lengths = speech["n_samples"].to_numpy()
        self.lengths = self.natural_lengths
        if fixed_seconds is not None:
            self.lengths = np.full(len(speech), n_samples_of(fixed_seconds))
        self._fixed_seconds = fixed_seconds
        self._paths = [folder / name for name in speech["path"]]
        self._digests = speech["sha256"].tolist()

    def load(self, row: int) -> torch.Tensor:
        """(frames, 160) features of one utterance."""
        path = self._paths[row]
        wave = read_utterance(path, self._digests[row])
        if self._fixed_seconds is not None:
            wave = fitted(wave, self._fixed_seconds)
        try:
            return speech_features(wave)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    @staticmethod
    def pad(features: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, frames, 160) features and their (batch, frames) mask."""
        return pad_features(features)


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
        ids = [tokenizer(text).input_ids for text in texts]
        log_unknown_input(f"text of {language}", texts, ids, tokenizer)
        self._tokens = [torch.tensor(one) for one in ids]
        self._padding = tokenizer.pad_token_id
        self.lengths = np.array([len(tokens) for tokens in self._tokens])

    def load(self, row: int) -> torch.Tensor:
        """(length,) token ids of one utterance."""
        return self._tokens[row]

    def pad(self, tokens: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, length) token ids and their (batch, length) mask."""
        padded = torch.nn.utils.rnn.pad_sequence(
            tokens, batch_first=True, padding_value=self._padding
        )
        lengths = torch.tensor([len(one) for one in tokens])
        return padded, (torch.arange(padded.shape[1])[None] < lengths[:, None]).long()


def encode(
    source: ModelSource,
    modality: str,
    language: str,
    corpus: Path,
    speech: Path | None,
    output: Path,
    dtype: str,
    batch_size: int,
    made_by: Mapping[str, Any],
    fixed_seconds: float | None = None,
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
        Utterances at a time, at most: fewer where they do not fit into memory.
    made_by : mapping
        As in ``provenance``.
    fixed_seconds : float, optional
        Of speech: as in ``SpeechInput``. The store says so.
    """
    require_unchanged(source.path, made_by["model"]["checkpoint"])
    sentences = read_parquet(corpus)
    module = MODULE_OF[modality]
    told: dict[str, Any] = {"module": module, "modality": modality, "language": language}
    if modality == "speech":
        spoken = read_parquet(speech).set_index("utterance").loc[sentences["utterance"]]
        inputs = SpeechInput(spoken, Path(speech).parent, fixed_seconds)
        if fixed_seconds is not None:
            told["fixed_seconds"] = fixed_seconds
            _log_fixed_length(inputs.natural_lengths, fixed_seconds, language)
        encoder = load_speech_encoder(source)
    else:
        inputs = TextInput(sentences["text"].tolist(), load_tokenizer(source), language)
        encoder = load_text_encoder(source)
    recorder = Recorder(encoder, encoder.config, module, dtype)
    encoder_pass = speech_pass if modality == "speech" else text_pass
    utterances = sentences["utterance"].to_numpy()
    log.info("encoding %d utterances (%s, %s) on %s", len(utterances), modality, language,
             source.torch_device)  # fmt: skip
    read = {"corpus": corpus} | ({"speech": speech} if modality == "speech" else {})
    digests = {name: table_digest(path) for name, path in read.items()}
    order = np.concatenate(list(length_sorted_batches(inputs.lengths, batch_size, ROW_CHUNK)))
    with (
        StoreWriter(
            output,
            utterances,
            neuron_table(encoder.config, module),
            recorder.places,
            encoder.config.hidden_size,
            dtype,
            provenance(source, made_by, digests, **told),
            {"batch_size": batch_size},
        ) as store,
        progress(len(utterances), f"encode {modality} {language}") as bar,
        Ahead(inputs.load, order[store.n_kept :], 2 * batch_size, _threads(source)) as loaded,
    ):

        def run(rows: np.ndarray) -> Recorded:
            return encoder_pass(encoder, recorder, *inputs.pad(loaded.take(rows)))

        where = f"encode {modality} {language}"
        dump(store, recorder, utterances, inputs.lengths, batch_size, run, where, bar)


def _log_fixed_length(natural_lengths: np.ndarray, fixed_seconds: float, language: str) -> None:
    n_cut, changes = cut_and_padded(natural_lengths, fixed_seconds)
    log.log(logging.WARNING if n_cut else logging.INFO, "speech of %s, every utterance made %g s long: %s",
            language, fixed_seconds, changes)  # fmt: skip


def _threads(source: ModelSource) -> int:
    """Threads that read audio: on a CPU the model needs the others."""
    return 1 if source.torch_device.type == "cpu" else torch.get_num_threads()


@torch.inference_mode()
def speech_pass(
    encoder: torch.nn.Module, recorder: Recorder, features: torch.Tensor, mask: torch.Tensor
) -> Recorded:
    """One batch, given on the host as ``SpeechInput.pad`` gives it, through the speech encoder."""
    lengths = encoder._compute_sub_sample_lengths_from_attention_mask(mask).long()
    positions = torch.arange(int(lengths.max()))
    recorder.begin(mask, positions[None] < lengths[:, None])
    states = encoder(
        to_device(features, recorder.device, encoder.dtype),
        attention_mask=to_device(mask, recorder.device),
    ).last_hidden_state
    return recorder.result(states, lengths.tolist())


@torch.inference_mode()
def text_pass(
    encoder: torch.nn.Module, recorder: Recorder, tokens: torch.Tensor, mask: torch.Tensor
) -> Recorded:
    """One batch, given on the host as ``TextInput.pad`` gives it, through the text encoder."""
    recorder.begin(mask)
    states = encoder(
        to_device(tokens, recorder.device), attention_mask=to_device(mask, recorder.device)
    ).last_hidden_state
    return recorder.result(states, mask.sum(1).tolist())
