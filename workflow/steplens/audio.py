"""Mono audio at 16 kHz: what every speech engine gives, and how it is kept."""

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

from .atomic import atomic_path

SAMPLING_RATE_HZ = 16_000


def resample(wave: np.ndarray, rate_hz: int) -> np.ndarray:
    """Audio at 16 kHz, by polyphase filtering.

    Parameters
    ----------
    wave : (n_samples,) float array
    rate_hz : int
        Its sampling rate.

    Returns
    -------
    (n_resampled,) float32 array
    """
    ratio = Fraction(SAMPLING_RATE_HZ, rate_hz)
    if ratio == 1 or not len(wave):
        return np.asarray(wave, dtype=np.float32)
    return resample_poly(wave, ratio.numerator, ratio.denominator).astype(np.float32)


def write_wav(path: Path, wave: np.ndarray) -> None:
    """Write (n_samples,) float audio in [-1, 1] at 16 kHz as 16-bit PCM, atomically."""
    samples = np.round(np.clip(wave, -1, 1) * 32767).astype(np.int16)
    with atomic_path(path) as partial:
        soundfile.write(partial, samples, SAMPLING_RATE_HZ, subtype="PCM_16")


def read_recording(data: bytes) -> tuple[np.ndarray, int]:
    """Decode an audio file: ((n_samples,) float32 mono, its rate in Hz).

    Several channels are averaged.

    Raises
    ------
    ValueError
        It cannot be decoded, is empty, or holds NaN or infinity.
    """
    try:
        wave, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise ValueError(f"cannot be decoded: {error}") from error
    if not len(wave):
        raise ValueError("holds no samples")
    if not np.isfinite(wave).all():
        raise ValueError("holds NaN or infinity")
    return wave.mean(1), rate
