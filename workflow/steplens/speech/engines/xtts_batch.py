"""Many texts through the GPT of XTTS at once, each as if it were alone.

Prefixes (voice, text) are padded on the left, where a mask hides the padding. All rows then stand at the
same position of speech, which is what the GPT's learned positions count; nothing in it knows how much
stands before. A row that has ended leaves the batch.

The library makes a second pass over the codes to get the latents that its vocoder wants. They are the
states from which the codes were drawn, so they are kept from the first pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import pad
from transformers.cache_utils import Cache
from TTS.tts.layers.xtts.gpt import GPT

from steplens.batches.growing_cache import GrowingLayer
from steplens.speech.engines.xtts_sampling import RowSampler, Sampling

# What the library's fake prefix of a text consists of: the repetition penalty sees it.
_FAKE = 1


@dataclass(frozen=True)
class Spoken:
    """One text in codes."""

    codes: torch.Tensor  # (n_codes,) int64; the last one ends it, unless the GPT has no more room
    latents: torch.Tensor  # (n_codes, hidden): what the vocoder wants


@torch.inference_mode()
def generate(
    gpt: GPT,
    voice: torch.Tensor,
    texts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    sampling: Sampling,
) -> list[Spoken]:
    """Codes and latents of every text.

    Each row equals what ``gpt.generate`` and ``gpt(..., return_latent=True)`` give for that text alone
    after ``torch.manual_seed``, but for the rounding of floats: products over other numbers of rows add
    up in another order. Where two codes are all but equally good, that may tip the choice, rarely.

    Parameters
    ----------
    gpt : GPT
        Of coqui-tts, ready for inference.
    voice : (1, n_latents, hidden) tensor
        Conditioning latents of the speaker.
    texts : sequence of sequences of int
        Text tokens, without start and stop.
    seeds : sequence of int
        One a text; whatever else is in the batch, it gives the same codes.
    sampling : Sampling

    Returns
    -------
    list of Spoken
    """
    # No gradients, no fp16: as the library computes.
    emb, n_padding = _prefixes(gpt, voice, texts)
    device = emb.device
    n_rows, n_most = len(texts), gpt.max_gen_mel_tokens
    codes = torch.empty(n_rows, n_most, dtype=torch.int64, device=device)
    latents = emb.new_empty(n_rows, n_most, emb.shape[2])
    lengths = [n_most] * n_rows
    alive = list(range(n_rows))
    mask = _mask(n_padding, emb, n_most)
    before = torch.tensor([[_FAKE, gpt.start_audio_token]] * n_rows, device=device)
    sampler = RowSampler(sampling, seeds, device)
    cache = Cache(layer_class_to_replicate=GrowingLayer)
    for step in range(n_most):
        hidden = gpt.gpt(
            inputs_embeds=emb,
            past_key_values=cache,
            attention_mask=_visible(mask, emb, cache),
            use_cache=True,
        ).last_hidden_state[:, -1]
        latent = gpt.final_norm(hidden)
        new = sampler.draw(before, gpt.mel_head(latent))
        rows = torch.tensor(alive, device=device)
        codes[rows, step] = new
        latents[rows, step] = latent
        going_on = [
            place for place, code in enumerate(new.tolist()) if code != gpt.stop_audio_token
        ]
        if len(going_on) < len(alive):
            for place in set(range(len(alive))) - set(going_on):
                lengths[alive[place]] = step + 1
            if not going_on:
                break
            alive = [alive[place] for place in going_on]
            kept = torch.tensor(going_on, device=device)
            cache.batch_select_indices(kept)
            sampler.keep(going_on)
            mask = mask if mask is None else mask[kept]
            before, new = before[kept], new[kept]
        before = torch.cat([before, new[:, None]], dim=1)
        emb = (gpt.mel_embedding(new) + gpt.mel_pos_embedding.emb.weight[step + 1])[:, None]
    return [Spoken(codes[row, :n], latents[row, :n]) for row, n in enumerate(lengths)]


def _prefixes(
    gpt: GPT, voice: torch.Tensor, texts: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, list[int]]:
    """Embedded prefixes with the start of speech, (rows, positions, hidden), and the padding of each."""
    device = voice.device
    ends = (gpt.start_text_token, gpt.stop_text_token)
    start = gpt.mel_embedding.weight[gpt.start_audio_token] + gpt.mel_pos_embedding.emb.weight[0]
    rows = []
    for text in texts:
        tokens = torch.tensor([ends[0], *text, ends[1]], device=device)
        embedded = gpt.text_embedding(tokens) + gpt.text_pos_embedding.emb.weight[: len(tokens)]
        rows.append(torch.cat([voice[0], embedded, start[None]]))
    longest = max(map(len, rows))
    n_padding = [longest - len(row) for row in rows]
    return torch.stack(
        [pad(row, (0, 0, n, 0)) for row, n in zip(rows, n_padding, strict=True)]
    ), n_padding


def _mask(n_padding: list[int], emb: torch.Tensor, n_more: int) -> torch.Tensor | None:
    """What is added to the scores of attention: (rows, 1, 1, positions), -inf at padding."""
    if not any(n_padding):
        return None
    mask = emb.new_zeros(len(n_padding), 1, 1, emb.shape[1] + n_more)
    for row, n in zip(mask, n_padding, strict=True):
        row[..., :n] = -torch.inf
    return mask


def _visible(mask: torch.Tensor | None, emb: torch.Tensor, cache: Cache) -> torch.Tensor | None:
    """The mask for the positions that go through the GPT now: (rows, 1, new positions, positions)."""
    if mask is None:  # transformers then takes the causal path that the library takes
        return None
    n_new = emb.shape[1]
    mask = mask[..., : cache.get_seq_length() + n_new]
    if n_new == 1:
        return mask
    later = torch.full((n_new, n_new), -torch.inf, device=emb.device).triu(1)
    # Padding sees itself: with nothing to see at all, its states would be NaN, which no mask hides.
    return (mask + later).masked_fill(torch.eye(n_new, dtype=torch.bool, device=emb.device), 0.0)
