"""Keys and values of the XTTS GPT: written in place, and left by rows that have ended."""

import torch
from transformers.cache_utils import Cache, DynamicLayer

# Positions by which the buffers grow: three seconds of speech. A copy of the cache each time.
GROWTH = 64


class _Layer(DynamicLayer):
    """One layer's keys and values in buffers with room behind the end.

    The library's own cache is concatenated, that is copied, at every position: for sixteen rows as
    many bytes as the weights have.
    """

    length = 0

    def get_seq_length(self) -> int:
        return self.length

    def update(self, keys: torch.Tensor, values: torch.Tensor, *args, **kwargs):
        """Add positions; gives all positions so far.

        Parameters
        ----------
        keys, values : (batch, heads, new positions, width of a head) tensor

        Returns
        -------
        keys, values : (batch, heads, positions, width of a head) tensor
            Views of the buffers.
        """
        start, self.length = self.length, self.length + keys.shape[2]
        if self.keys is None or self.length > self.keys.shape[2]:
            self.keys = _grown(self.keys, keys, start, self.length + GROWTH)
            self.values = _grown(self.values, values, start, self.length + GROWTH)
            self.is_initialized = True
        self.keys[:, :, start : self.length] = keys
        self.values[:, :, start : self.length] = values
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


def _grown(
    old: torch.Tensor | None, like: torch.Tensor, n_filled: int, n_positions: int
) -> torch.Tensor:
    batch, heads, _, width = like.shape
    new = like.new_empty(batch, heads, n_positions, width)
    if old is not None:
        new[:, :, :n_filled] = old[:, :, :n_filled]
    return new


class RowCache(Cache):
    """The cache of a batch whose rows leave it when they have ended."""

    def __init__(self):
        super().__init__(layer_class_to_replicate=_Layer)

    def keep(self, rows: torch.Tensor) -> None:
        """Keep some rows of the batch, by number."""
        for layer in self.layers:
            layer.keys = layer.keys.index_select(0, rows)
            layer.values = layer.values.index_select(0, rows)
