"""Greedy generation from encoder states, in which a finished sentence costs nothing any more.

``generate`` of transformers passes every row until the last one has ended, and copies the whole cache for
every token. Here rows leave the batch, and the cache is written in place. The tokens are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from steplens.batches.growing_cache import GrowingLayer
from steplens.errors import ActivationError
from steplens.hooks.recorder import first_non_finite
from steplens.jobs.lean_imports import lean_transformers

with lean_transformers():
    from transformers.cache_utils import Cache, DynamicLayer, EncoderDecoderCache

if TYPE_CHECKING:
    from steplens.hooks.intervention import Intervention

# Finished rows leave when they are so many of the batch: to take them out copies the others' cache.
LEAVING_SHARE = 0.25
# Steps between looks at the tokens. On a GPU every look waits for it.
STEPS_BETWEEN_LOOKS = {"cpu": 1, "cuda": 4}
_NOT_FINITE = -1  # instead of a token


@dataclass(frozen=True)
class Generated:
    """What a batch wrote, a row a sentence."""

    contents: list[list[int]]  # tokens after the language tag and before the end of sentence
    ended: list[bool]  # whether the sentence ended before the limit


@torch.inference_mode()
def generate(
    model: Any,
    states: torch.Tensor,
    mask: torch.Tensor,
    start: Sequence[int],
    max_new_tokens: int,
    intervention: "Intervention | None" = None,
    names: Sequence[str] | None = None,
) -> Generated:
    """Write the likeliest token at every step until the end of sentence.

    Parameters
    ----------
    model : SeamlessM4T…ForTextToText
    states : (batch, positions, hidden) tensor
        Encoder states.
    mask : (batch, positions) tensor
        1 where a state is valid; valid ones come first.
    start : sequence of int
        Tokens that every sentence starts with: the start token and the language tag.
    max_new_tokens : int
        Tokens at most, end of sentence included.
    intervention : Intervention, optional
        Fixes neurons of the rows meanwhile.
    names : sequence of str, optional
        What the rows are called in messages.

    Raises
    ------
    ActivationError
        NaN or infinity on the way to a token: which would be chosen then means nothing.
    """
    names = names or [f"row {row} of the batch" for row in range(len(states))]
    batch = _Batch(model, states, mask, start, max_new_tokens, intervention)
    if intervention is None:
        return _run(batch, max_new_tokens, names)
    with intervention:
        return _run(batch, max_new_tokens, names)


def _run(batch: "_Batch", max_new_tokens: int, names: Sequence[str]) -> Generated:
    contents: list[list[int]] = [[] for _ in names]
    ended = np.zeros(len(names), dtype=bool)
    end = batch.model.config.eos_token_id
    every = STEPS_BETWEEN_LOOKS.get(batch.tokens.device.type, 1)
    looked = 0
    for step in range(1, max_new_tokens + 1):
        batch.step()
        if step % every and step < max_new_tokens:
            continue
        written = batch.written(looked, step)
        for row, tokens in zip(batch.rows.tolist(), written.tolist(), strict=True):
            if ended[row]:
                continue
            until = tokens.index(end) if end in tokens else len(tokens)
            if _NOT_FINITE in tokens[:until]:
                at = looked + tokens.index(_NOT_FINITE)
                raise _not_finite(batch, names[row], int(np.searchsorted(batch.rows, row)), at)
            contents[row] += tokens[:until]
            ended[row] = until < len(tokens)
        looked = step
        going = np.flatnonzero(~ended[batch.rows])
        if not len(going):
            break
        if len(going) <= (1 - LEAVING_SHARE) * len(batch.rows) and step < max_new_tokens:
            batch.keep(going)
    return Generated(contents, ended.tolist())


class _Batch:
    """The rows that are still in the batch, and all that belongs to them."""

    def __init__(self, model, states, mask, start, max_new_tokens, intervention):
        self.model = model
        self.rows = np.arange(len(states))  # of the batch that was given
        self.states = states
        self.n_start = len(start)
        self._lengths = mask.sum(1).cpu().numpy()  # of the encoder states
        self._intervention = intervention
        n_positions = self.n_start + max_new_tokens
        self.tokens = torch.empty(
            (len(states), n_positions), dtype=torch.long, device=states.device
        )
        self.tokens[:, : self.n_start] = torch.tensor(start, device=states.device)
        # Of each step, the first of which comes with the last of the start tokens.
        self._finite = torch.empty(
            (len(states), max_new_tokens), dtype=torch.bool, device=states.device
        )
        self._steps = 0
        n_layers = len(model.text_decoder.layers)
        # The last token that is written is never read.
        self._cache = EncoderDecoderCache(
            Cache(layers=[GrowingLayer(n_positions - 1) for _ in range(n_layers)]),
            Cache(layers=[DynamicLayer() for _ in range(n_layers)]),
        )
        self._set_mask()

    def _set_mask(self) -> None:
        """Which encoder states attention sees: (batch, 1, 1, positions), None for all.

        In the shape that attention takes it: the decoder would make it anew, and wait for the GPU to
        see if there is any padding, at every step.
        """
        longest = self.states.shape[1]
        self.mask = None
        if (self._lengths < longest).any():
            lengths = torch.from_numpy(self._lengths).to(self.states.device)
            positions = torch.arange(longest, device=self.states.device)
            self.mask = (positions < lengths[:, None])[:, None, None, :]

    def step(self) -> None:
        """Choose the next token of every row."""
        at = self.n_start + self._steps
        inputs = self.tokens[:, :at] if self._steps == 0 else self.tokens[:, at - 1 : at]
        hidden = self.model.text_decoder(
            input_ids=inputs,
            encoder_hidden_states=self.states,
            encoder_attention_mask=self.mask,
            past_key_values=self._cache,
            use_cache=True,
        ).last_hidden_state
        self._finite[:, self._steps] = torch.isfinite(hidden).all((1, 2))
        self.tokens[:, at] = self.model.lm_head(hidden[:, -1]).argmax(-1)
        self._steps += 1

    def written(self, since: int, until: int) -> np.ndarray:
        """Tokens of steps ``since`` to ``until`` (exclusive, from 0): (rows, steps), -1 if not finite."""
        tokens = self.tokens[:, self.n_start + since : self.n_start + until]
        finite = self._finite[:, since:until]
        return torch.where(finite, tokens, _NOT_FINITE).cpu().numpy()

    def keep(self, chosen: np.ndarray) -> None:
        """Let all but some rows leave, and with them the padding that only they had not."""
        rows = torch.from_numpy(chosen).to(self.states.device)
        self.rows, self._lengths = self.rows[chosen], self._lengths[chosen]
        longest = int(self._lengths.max())
        self.states = self.states[rows, :longest]
        self.tokens, self._finite = self.tokens[rows], self._finite[rows]
        self._cache.self_attention_cache.batch_select_indices(rows)
        for layer in self._cache.cross_attention_cache.layers:
            layer.keys, layer.values = (
                one[rows, :, :longest].contiguous() for one in (layer.keys, layer.values)
            )
        self._set_mask()
        if self._intervention is not None:
            self._intervention.keep(chosen)

    def pass_again(self, n_steps: int) -> None:
        """Pass the first ``n_steps`` steps at once, without the cache."""
        self.model.text_decoder(
            input_ids=self.tokens[:, : self.n_start + n_steps - 1],
            encoder_hidden_states=self.states,
            encoder_attention_mask=self.mask,
            use_cache=False,
        )


def _not_finite(batch: _Batch, name: str, row: int, step: int) -> ActivationError:
    """The error for a row at a step (from 0), with the place where it arises."""
    place = first_non_finite(
        batch.model.text_decoder, batch.model.config, row, lambda: batch.pass_again(step + 1)
    )
    return ActivationError(
        f"decoding: {name}, step {step + 1}, {place or 'final layer norm'}: expected finite "
        f"activations, got NaN or infinity in {batch.states.dtype}; check the checkpoint, and where "
        "model.dtype is float16 try float32"
    )
