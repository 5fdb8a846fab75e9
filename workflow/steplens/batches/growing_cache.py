"""Keys and values of generated tokens, written in place; rows that have ended can leave.

transformers' own cache puts old and new ones into a new tensor for every token: of a batch, as many bytes
as the weights have.
"""

import torch

from steplens.jobs.lean_imports import lean_transformers

with lean_transformers():
    from transformers.cache_utils import DynamicLayer

# Positions by which the cache grows: it is copied once for so many tokens.
CACHE_BLOCK = 64


class GrowingLayer(DynamicLayer):
    """Keys and values of one layer, with room for the tokens to come.

    Parameters
    ----------
    most : int, optional
        Positions at all, where that is known: no more room is made.
    """

    def __init__(self, most: int | None = None):
        super().__init__()
        self._most = most
        self._stored: list[torch.Tensor] = []  # keys and values (batch, heads, room, width)
        self._length = 0

    def update(self, key_states, value_states, *_args, **_kwargs):
        """Append; returns all keys and values so far."""
        length = self._length + key_states.shape[-2]
        if not self._stored or length > self._stored[0].shape[-2]:
            self._grow((key_states, value_states), length)
        for stored, new in zip(self._stored, (key_states, value_states), strict=True):
            stored[:, :, self._length : length] = new
        self._set_length(length)
        self.is_initialized = True
        return self.keys, self.values

    def _grow(self, like, length: int) -> None:
        room = -(-length // CACHE_BLOCK) * CACHE_BLOCK
        if self._most is not None:
            room = max(length, min(self._most, room))
        for number, new in enumerate(like):
            larger = new.new_empty((*new.shape[:2], room, new.shape[-1]))
            if self._length:
                larger[:, :, : self._length] = self._stored[number][:, :, : self._length]
                self._stored[number] = larger
            else:
                self._stored.append(larger)

    def _set_length(self, length: int) -> None:
        self._length = length
        self.keys, self.values = (one[:, :, :length] for one in self._stored)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows."""
        for number in range(2):  # one after another: there is never a second copy of both
            self._stored[number] = self._stored[number].index_select(0, indices)
        self._set_length(self._length)
