"""Which utterances go through the model together."""

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

log = logging.getLogger(__name__)

Result = TypeVar("Result")
# Who speaks when torch finds no memory on the host: a plain RuntimeError.
_HOST_ALLOCATOR = "DefaultCPUAllocator"


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


def run_batches(
    lengths: Sequence[int],
    batch_size: int,
    window: int,
    run: Callable[[np.ndarray], Result],
    names: Sequence[object] | None = None,
) -> Iterator[tuple[np.ndarray, Result]]:
    """Run length-sorted batches, halved for good whenever the device's or the host's memory is too small.

    Parameters
    ----------
    lengths, batch_size, window
        As in ``length_sorted_batches``.
    run : callable
        Takes the row numbers of a batch. It may be called again for half of the rows, so it must
        leave nothing behind when it fails.
    names : (n,) sequence, optional
        Sentence ids, for the message.

    Yields
    ------
    row numbers and what ``run`` gave for them; every row comes exactly once.

    Raises
    ------
    MemoryError
        A batch of one row does not fit.
    """
    fits = batch_size
    for rows in length_sorted_batches(lengths, batch_size, window):
        while len(rows):
            batch, failed = rows[:fits], False
            try:
                result = run(batch)
            except Exception as error:
                if not _is_out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise MemoryError(_too_large(batch[0], lengths, names, error)) from error
                fits, failed = len(batch) // 2, True
                log.warning("out of memory with a batch of %d: going on with %d", len(batch), fits)
            if failed:  # outside of `except`, where the error still holds the tensors
                if "torch" in sys.modules:
                    sys.modules["torch"].cuda.empty_cache()
                continue
            yield batch, result
            rows = rows[len(batch) :]


def _is_out_of_memory(error: Exception) -> bool:
    # Without importing torch: whoever ran out of the device's memory has it.
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (
        torch is not None and isinstance(error, torch.OutOfMemoryError)
    ):
        return True
    # On a CPU torch has no class of its own for it.
    return isinstance(error, RuntimeError) and _HOST_ALLOCATOR in str(error)


def _too_large(
    row: int, lengths: Sequence[int], names: Sequence[object] | None, error: Exception
) -> str:
    which = f"row {row}" if names is None else f"utterance {names[row]}"
    why = (str(error) or type(error).__name__).splitlines()[0]
    return (
        f"{which}: expected a batch of one to fit into memory, got length {np.asarray(lengths)[row]}, which "
        f"does not fit: {why}; give the job more memory, shorten or drop the utterance, or compute on "
        "another device (model.device)"
    )


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
