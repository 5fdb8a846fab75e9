"""Stage ``decode``: greedy generation from stored encoder states, per (task, language)."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from .activations import ActivationError, first_non_finite, require_finite_states
from .atomic import write_parquet
from .batching import length_sorted_batches, pad_states
from .model_source import ModelSource
from .models import BaseModelOutput, language_tags, load_decoder, load_tokenizer
from .progress import progress
from .store import open_store, read_states
from .tasks import target_of

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

    @torch.inference_mode()
    def greedy(
        self,
        states: torch.Tensor,
        mask: torch.Tensor,
        language: str,
        utterances: np.ndarray | None = None,
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

        Raises
        ------
        ActivationError
            NaN or infinity on the way to a token: which would be chosen then means nothing.
        """
        tag = torch.full((len(states), 1), self.tag(language), device=states.device)
        finite: list[torch.Tensor] = []  # a (batch,) tensor for every step
        watch = self.model.text_decoder.register_forward_hook(
            lambda _module, _args, output: finite.append(torch.isfinite(output[0]).all((1, 2)))
        )
        try:
            tokens = self.model.generate(
                decoder_input_ids=tag,  # generate puts the start token </s> before it
                encoder_outputs=BaseModelOutput(last_hidden_state=states),
                attention_mask=mask,
                num_beams=1,
                do_sample=False,
                max_new_tokens=self.max_new_tokens,
            )
        finally:
            watch.remove()
        contents, ended = [], []
        for row in tokens[:, 2:].tolist():
            ended.append(self.end in row)
            contents.append(row[: row.index(self.end)] if self.end in row else row)
        self._require_finite(
            torch.stack(finite, 1).cpu(), contents, tokens, states, mask, utterances
        )
        return contents, ended

    def _require_finite(self, finite, contents, tokens, states, mask, utterances) -> None:
        """``finite`` is (batch, steps); steps after a sentence's end do not count."""
        n_steps = torch.tensor([len(content) for content in contents])[:, None] + 1
        wrong = ~finite & (torch.arange(finite.shape[1]) < n_steps)
        if not wrong.any():
            return
        row, step = wrong.nonzero()[0].tolist()
        place = first_non_finite(
            self.model.text_decoder,
            self.model.config,
            row,
            lambda: self.model.text_decoder(
                input_ids=tokens[:, : step + 2],
                encoder_hidden_states=states,
                encoder_attention_mask=mask,
                use_cache=False,
            ),
        )
        name = f"row {row} of the batch" if utterances is None else f"utterance {utterances[row]}"
        raise ActivationError(
            f"decoding: {name}, step {step + 1}, {place or 'final layer norm'}: expected finite "
            f"activations, got NaN or infinity in {states.dtype}; check the checkpoint, and where "
            "model.dtype is float16 try float32"
        )

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
) -> None:
    """Write ``decoding/<task>/<language>.parquet``: utterance, tokens, n_tokens, ended, text.

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
    """
    data = open_store(encoder_store)
    states = read_states(data)
    utterances = data["utterance"].to_numpy()
    require_finite_states(states, utterances, str(encoder_store))
    decoder = Decoder(source, max_new_tokens)
    target = target_of(task, language, output_language)
    rows_of = {}
    with progress(len(states), f"decode {task} {language}") as bar:
        lengths = [len(state) for state in states]
        for rows in length_sorted_batches(lengths, batch_size, len(states)):
            contents, ended = decoder.greedy(
                *decoder.to_device([states[row] for row in rows]), target, utterances[rows]
            )
            rows_of |= dict(zip(rows.tolist(), zip(contents, ended, strict=True), strict=True))
            bar.update(len(rows))
    contents = [rows_of[row][0] for row in range(len(states))]
    write_parquet(
        pd.DataFrame(
            {
                "utterance": utterances,
                "tokens": contents,
                "n_tokens": [len(tokens) for tokens in contents],
                "ended": [rows_of[row][1] for row in range(len(states))],
                "text": [decoder.text(tokens) for tokens in contents],
            }
        ),
        output,
    )
    log.info("%s %s: %d sentences, %.1f tokens on average", task, language, len(states),
             np.mean([len(tokens) for tokens in contents]))  # fmt: skip
