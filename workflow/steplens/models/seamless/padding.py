"""Keeps padding out of the speech adapter, so that an utterance's states do not depend on its batch.

The adapter of SeamlessM4T shortens the sequence with strided convolutions that also read the padded
frames behind a shorter utterance (transformers masks only the attention that follows). Zero is what
the convolutions see past the end of an utterance that is alone, so the padded rows are set to zero
just before them.
"""

import torch
from torch import nn


def isolate_padding(speech_encoder: nn.Module) -> None:
    """Zero the padded rows that the adapter's convolutions read; changes ``speech_encoder`` in place.

    Works for ``SeamlessM4TSpeechEncoder`` and ``SeamlessM4Tv2SpeechEncoder``; call it once a model.
    """
    if speech_encoder.adapter is None:
        return
    for layer in speech_encoder.adapter.layers:
        keeper = _RowKeeper()
        layer.register_forward_pre_hook(keeper.remember_mask, with_kwargs=True)
        layer.residual_layer_norm.register_forward_hook(keeper.zero_padded_rows)
        layer.self_attn_layer_norm.register_forward_hook(keeper.zero_padded_rows)


class _RowKeeper:
    def __init__(self):
        self._mask: torch.Tensor | None = None  # (batch, time), 1 where valid

    def remember_mask(self, _module, args, kwargs):
        self._mask = kwargs.get("attention_mask", args[1] if len(args) > 1 else None)

    def zero_padded_rows(self, _module, _args, output):
        if self._mask is None:
            return output
        if self._mask.shape != output.shape[:2]:
            raise ValueError(
                f"speech adapter: mask of shape {tuple(self._mask.shape)} for rows of shape "
                f"{tuple(output.shape[:2])}; models with more than one adapter layer are not supported"
            )
        return output.masked_fill(~self._mask.bool().unsqueeze(-1), 0.0)
