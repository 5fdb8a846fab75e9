"""Sorts the activations of many neurons by their bit patterns, for the statistics of ranks.

A float's bits, flipped the right way, are an unsigned integer in the same order. A radix sort of such
keys takes two passes for float16 and four for float32, however the values are distributed; what belongs
to an example (its label, or its number) travels in the low bits.
"""

import numpy as np

from steplens.ranking.kernels import kernel

NEURONS_AT_A_TIME = 32  # of a thread: 64 bytes of every row, a cache line of float16
_ROWS_AT_A_TIME = 8  # loads from memory that are under way side by side


def bit_patterns(activations: np.ndarray) -> np.ndarray:
    """A float16 or float32 array as unsigned integers of its size."""
    return activations.view(np.uint16 if activations.dtype == np.float16 else np.uint32)


def packed_type(activations: np.ndarray, payload_bits: int) -> np.dtype:
    """The smallest type that holds a key and ``payload_bits`` beside it."""
    bits = 8 * activations.dtype.itemsize + payload_bits
    return np.dtype(np.uint32 if bits <= 32 else np.uint64)


def require_finite(activations: np.ndarray) -> None:
    """Raise ValueError naming the first NaN or infinity."""
    if not np.isfinite(activations).all():
        row, column = np.argwhere(~np.isfinite(activations))[0]
        raise ValueError(
            f"activations: expected finite values, got {activations[row, column]} at example "
            f"{row}, neuron {column}"
        )


@kernel(nogil=True)
def gather(bits, first, keys):
    """Take the columns from ``first`` on out of rows: ``keys[c, r] = bits[r, first + c]``."""
    n_columns, n_rows = keys.shape
    for start in range(0, n_rows, _ROWS_AT_A_TIME):
        stop = min(start + _ROWS_AT_A_TIME, n_rows)
        for column in range(n_columns):
            for row in range(start, stop):
                keys[column, row] = bits[row, first + column]


@kernel(nogil=True)
def make_sortable(keys):
    """Turn the bit patterns of floats into integers of the same order, in place; both zeros are one.

    Returns the largest magnitude among the patterns: NaN and infinity have those above the floats'.
    """
    number = keys.dtype.type
    n_bits = number(8 * keys.itemsize - 1)
    sign = number(1) << n_bits
    worst = number(0)
    for i in range(len(keys)):
        pattern = keys[i]
        magnitude = number(pattern & number(sign - number(1)))
        worst = max(worst, magnitude)
        if magnitude == number(0):
            keys[i] = number(sign)
        elif pattern >= sign:
            keys[i] = number(~pattern)
        else:
            keys[i] = number(pattern ^ sign)
    return worst


@kernel(nogil=True)
def pattern_of(key, keys):
    """The inverse of ``make_sortable`` for one key of an array's type."""
    number = keys.dtype.type
    sign = number(1) << number(8 * keys.itemsize - 1)
    key = number(key)
    return number(key ^ sign) if key >= sign else number(~key)


@kernel(nogil=True)
def sort_packed(keys, payload, payload_bits, packed, scratch, counts):
    """Sort ``keys[i] << payload_bits | payload[i]`` by key, ascending and stable, into ``packed``.

    Parameters
    ----------
    keys : (n,) uint16 or uint32 array
    payload : (n,) unsigned array
    payload_bits : int
    packed, scratch : (n,) arrays of ``packed_type``
    counts : (itemsize of keys, 256) uint32 array
        Working memory.
    """
    n_passes = keys.itemsize
    byte = np.uint32(255)
    counts[:] = 0
    for i in range(len(keys)):
        key = keys[i]
        for step in range(n_passes):
            counts[step, (key >> np.uint32(8 * step)) & byte] += np.uint32(1)
    for step in range(n_passes):
        position = np.uint32(0)
        for digit in range(256):
            size = counts[step, digit]
            counts[step, digit] = position
            position += size
    start = counts[0]
    shift = np.uint64(payload_bits)
    for i in range(len(keys)):
        digit = keys[i] & byte
        at = start[digit]
        scratch[at] = (np.uint64(keys[i]) << shift) | np.uint64(payload[i])
        start[digit] = at + np.uint32(1)
    source, target = scratch, packed
    for step in range(1, n_passes):
        start = counts[step]
        shift = np.uint64(payload_bits + 8 * step)
        for i in range(len(source)):
            value = source[i]
            digit = (value >> shift) & np.uint64(255)
            at = start[digit]
            target[at] = value
            start[digit] = at + np.uint32(1)
        source, target = target, source
