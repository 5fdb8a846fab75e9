"""Stage ``decode``: greedy generation from stored encoder states, per (task, language)."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from steplens.batches.batching import pad_states, run_batches
from steplens.files.atomic import read_parquet, write_parquet
from steplens.generation.greedy import generate
from steplens.hooks.recorder import require_finite_states
from steplens.jobs.progress import progress
from steplens.models.greedy_settings import require_plain_greedy
from steplens.models.provenance import require_same_model
from steplens.models.seamless.loading import files_of, language_tags, load_decoder, load_tokenizer
from steplens.models.source import ModelSource
from steplens.models.unknown_tokens import log_unknown_input, log_unknown_output
from steplens.store.conditions import of_condition
from steplens.store.reading import open_store, read_states
from steplens.tasks import MODALITY_OF, target_of

if TYPE_CHECKING:
    from steplens.hooks.intervention import Intervention

log = logging.getLogger(__name__)


class Decoder:
    """The model's decoder with greedy generation from encoder states.

    Parameters
    ----------
    source : ModelSource
    max_new_tokens : int
        Content tokens at most, end of sentence included.
    """

    def __init__(self, source: ModelSource, max_new_tokens: int):
        self.model = load_decoder(source)
        self.tokenizer = load_tokenizer(source)
        self.tags = language_tags(source)
        self.source = source
        self.max_new_tokens = max_new_tokens
        self.end = self.model.config.eos_token_id
        require_plain_greedy(self.model.generation_config, self.model.config, str(files_of(source)))

    def tag(self, language: str) -> int:
        """Token id of a language tag; an error lists what the model has."""
        if language not in self.tags:
            raise ValueError(
                f"model {self.source.path}: expected a language tag for {language}, it has "
                f"{', '.join(sorted(self.tags))}"
            )
        return self.tags[language]

    def to_device(self, states: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        """Padded encoder states (batch, positions, hidden) and their mask, on the device."""
        padded, mask = pad_states(states)
        device = self.source.torch_device
        return (
            torch.from_numpy(padded).to(device, self.source.torch_dtype),
            torch.from_numpy(mask).to(device),
        )

    def greedy(
        self,
        states: torch.Tensor,
        mask: torch.Tensor,
        language: str,
        utterances: np.ndarray | None = None,
        intervention: "Intervention | None" = None,
    ) -> tuple[list[list[int]], list[bool]]:
        """Content tokens of each sentence, and whether it ended before the limit.

        Parameters
        ----------
        states, mask : tensors
            As ``to_device`` gives them.
        language : str
            The language tag to start with.
        utterances : (batch,) array, optional
            Sentence ids, for messages.
        intervention : Intervention, optional
            Of the rows of this batch, for as long as it takes.

        Raises
        ------
        ActivationError
            NaN or infinity on the way to a token: which would be chosen then means nothing.
        """
        written = generate(
            self.model,
            states,
            mask,
            [self.model.config.decoder_start_token_id, self.tag(language)],
            self.max_new_tokens,
            intervention,
            None if utterances is None else [f"utterance {one}" for one in utterances],
        )
        return written.contents, written.ended

    def text(self, tokens: list[int]) -> str:
        """Tokens as text, without special tokens."""
        return self.tokenizer.decode(tokens, skip_special_tokens=True).strip()


def decode(
    source: ModelSource,
    task: str,
    language: str,
    output_language: str,
    encoder_store: Path,
    output: Path,
    max_new_tokens: int,
    batch_size: int,
    made_by: Mapping[str, Any],
    corpus: Path | None = None,
) -> None:
    """Write ``decoding/<task>/<language>.parquet``: utterance, tokens, n_tokens, ended, text, and counts.

    ``n_unknown_output`` of the tokens are the unknown one, of which the text shows nothing. Of written input
    ``n_input_tokens`` are what the encoder read, language tag and end of sentence among them, and
    ``n_unknown_input`` the unknown ones of these; empty for speech.

    Parameters
    ----------
    source : ModelSource
    task : {"s2t", "t2t", "asr", "tr"}
    language : str
        The source language.
    output_language : str
        What s2t and t2t translate into.
    encoder_store : path
        ``encoder/<modality>/<language>.zarr`` of the task's modality.
    output : path
    max_new_tokens, batch_size : int
    made_by : mapping
        As in ``provenance``; the table keeps it, and the digest of the store, among its ``attrs``
        (``store/conditions.py``).
    corpus : path, optional
        ``corpus/<language>.parquet``, of a task that reads text.
    """
    data = open_store(encoder_store, modality=MODALITY_OF[task], language=language)
    require_same_model(data.attrs, source, made_by, encoder_store)
    states = read_states(data)
    utterances = data["utterance"].to_numpy()
    require_finite_states(states, utterances, str(encoder_store))
    decoder = Decoder(source, max_new_tokens)
    target = target_of(task, language, output_language)
    lengths = [len(state) for state in states]

    def run(rows: np.ndarray) -> tuple[list[list[int]], list[bool]]:
        inputs = decoder.to_device([states[row] for row in rows])
        return decoder.greedy(*inputs, target, utterances[rows])

    rows_of = {}
    with progress(len(states), f"decode {task} {language}") as bar:
        for rows, written in run_batches(lengths, batch_size, len(states), run, utterances):
            rows_of |= dict(zip(rows.tolist(), zip(*written, strict=True), strict=True))
            bar.update(len(rows))
    contents = [rows_of[row][0] for row in range(len(states))]
    unknown = decoder.tokenizer.unk_token_id
    n_input, n_unknown = _input_counts(decoder.tokenizer, language, corpus, utterances)
    table = pd.DataFrame(
        {
            "utterance": utterances,
            "tokens": contents,
            "n_tokens": [len(tokens) for tokens in contents],
            "ended": [rows_of[row][1] for row in range(len(states))],
            "text": [decoder.text(tokens) for tokens in contents],
            "n_unknown_output": log_unknown_output(f"{task} of {language}", contents, unknown),
            "n_input_tokens": n_input,
            "n_unknown_input": n_unknown,
        }
    )
    condition = {"task": task, "language": language, "output_language": target}
    table.attrs = of_condition(
        condition, {**made_by, "max_new_tokens": max_new_tokens}, {"encoder_store": encoder_store}
    )
    write_parquet(table, output)
    log.info("%s %s: %d sentences, %.1f tokens on average", task, language, len(states),
             np.mean([len(tokens) for tokens in contents]))  # fmt: skip


def _input_counts(
    tokenizer, language: str, corpus: Path | None, utterances: np.ndarray
) -> tuple[pd.Series, pd.Series]:
    """Tokens of each sentence and unknown ones among them; missing without a corpus."""
    if corpus is None:
        missing = pd.Series(pd.NA, range(len(utterances)), dtype="Int64")
        return missing, missing
    texts = read_parquet(corpus).set_index("utterance")["text"].loc[utterances].tolist()
    tokenizer.src_lang = language
    tokens = [tokenizer(text).input_ids for text in texts]
    counts = log_unknown_input(f"text of {language}", texts, tokens, tokenizer)
    return pd.Series(map(len, tokens), dtype="Int64"), pd.Series(counts, dtype="Int64")
