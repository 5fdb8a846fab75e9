"""Which utterances go through the model together."""

from collections.abc import Iterator, Sequence

import numpy as np


def length_sorted_batches(
    lengths: Sequence[int], batch_size: int, window: int
) -> Iterator[np.ndarray]:
    """Batches of utterances of similar length, so that little of a batch is padding.

    Utterances are sorted within windows of ``window`` rows, so that a store that is written window
    by window never waits for a row from far away. The longest come first: what does not fit into
    memory fails at once.

    Parameters
    ----------
    lengths : (n,) sequence of int
    batch_size : int
    window : int

    Yields
    ------
    (<= batch_size,) int array of row numbers; every row comes exactly once.
    """
    lengths = np.asarray(lengths)
    for start in range(0, len(lengths), window):
        rows = np.arange(start, min(start + window, len(lengths)))
        rows = rows[np.argsort(-lengths[rows], kind="stable")]
        for first in range(0, len(rows), batch_size):
            yield rows[first : first + batch_size]


def pad_states(states: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Stack encoder states of different length.

    Parameters
    ----------
    states : sequence of (n_positions, hidden) arrays

    Returns
    -------
    padded : (batch, positions, hidden) array, zero behind the end
    mask : (batch, positions) int64 array, 1 where valid
    """
    longest = max(len(state) for state in states)
    padded = np.zeros((len(states), longest, states[0].shape[1]), dtype=states[0].dtype)
    mask = np.zeros((len(states), longest), dtype=np.int64)
    for row, state in enumerate(states):
        padded[row, : len(state)] = state
        mask[row, : len(state)] = 1
    return padded, mask
