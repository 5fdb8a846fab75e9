"""Utterances of one length: cut, or filled up with zeros at their end (``encoding.fixed_seconds``).

The paper's words are "fixed temporal length by truncation or zero padding", without the length. All
positions then count as valid, silence included. Otherwise utterances have their natural length, and padding
is masked (D2).
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SAMPLING_RATE_HZ = 16_000
# One stacked frame, below which there are no features, and the longest audio that is ever encoded.
SHORTEST_SECONDS = 0.035
LONGEST_SECONDS = 120.0


def n_samples_of(seconds: float) -> int:
    """Samples at 16 kHz."""
    return round(seconds * SAMPLING_RATE_HZ)


def fitted(wave: "np.ndarray", seconds: float) -> "np.ndarray":
    """Audio cut, or filled up with zeros at its end.

    Parameters
    ----------
    wave : (n_samples,) array
        Mono audio at 16 kHz.
    seconds : float
        The length that it gets.

    Returns
    -------
    (n_samples_of(seconds),) array of the same dtype
    """
    import numpy as np

    n_samples = n_samples_of(seconds)
    return np.pad(wave[:n_samples], (0, max(0, n_samples - len(wave))))


def cut_and_padded(n_samples: "np.ndarray", seconds: float) -> tuple[int, str]:
    """What a fixed length takes from utterances and adds to them.

    Parameters
    ----------
    n_samples : (n_utterances,) int array
        Natural lengths, at 16 kHz.
    seconds : float

    Returns
    -------
    n_cut : int
        Utterances that lose something.
    text : str
        For people: how many are cut and padded, and by how much.
    """
    import numpy as np

    too_long = (np.asarray(n_samples) - n_samples_of(seconds)) / SAMPLING_RATE_HZ  # seconds
    parts = []
    for beyond, what, lost in (
        (too_long, "cut", "of speech not heard"),
        (-too_long, "padded", "of zeros"),
    ):
        some = beyond[beyond > 0]
        part = f"{len(some)} of {len(too_long)} {what}"
        if len(some):
            part += f" ({some.sum():.1f} s {lost}, {some.max():.1f} s of one at most)"
        parts.append(part)
    return int((too_long > 0).sum()), ", ".join(parts)
