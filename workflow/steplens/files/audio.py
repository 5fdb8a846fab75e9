"""Mono audio at 16 kHz: what every speech engine gives, and how it is kept."""

import hashlib
import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

from steplens.files.atomic import write_bytes
from steplens.files.input_files import open_regular, other_kind

SAMPLING_RATE_HZ = 16_000
# A sentence of FLEURS is read in 5 to 50 s. The encoder's memory grows with the square of the length: at
# ten minutes one utterance alone would take more than any GPU has.
MAX_SECONDS = 120.0
_RATES_HZ = (4_000, 384_000)  # of recordings
_LARGEST = 8.0  # peak of floats; beyond lie integers that were written as floats
# Independent channels keep so much power when they are averaged, over their number; a quarter of it is left
# where two channels correlate at -0.75.
_CANCELLED = 0.25


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
    content = io.BytesIO()  # of a full disk libsndfile says "System error"
    soundfile.write(content, samples, SAMPLING_RATE_HZ, subtype="PCM_16", format="WAV")
    write_bytes(path, content.getvalue())


def too_long(wave: np.ndarray) -> str:
    """That audio at 16 kHz is longer than is spoken or encoded, in words; empty if it is not."""
    return _too_long(len(wave), SAMPLING_RATE_HZ)


def _too_long(n_samples: int, rate_hz: int) -> str:
    seconds = n_samples / rate_hz
    return f"{seconds:.0f} s long, expected at most {MAX_SECONDS:.0f} s" * (seconds > MAX_SECONDS)


def read_utterance(path: Path, digest: str | None = None) -> np.ndarray:
    """(n_samples,) float32 audio of an utterance as the speech stage left it: mono at 16 kHz.

    Parameters
    ----------
    path : path
    digest : str, optional
        First digits of the file's SHA-256, as the table of speech has them.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        It has another digest, is no audio, has several channels, another rate or no samples, is too long,
        or holds NaN or infinity. Silence is flagged by ``speech_checks``, and no error here.
    """
    what = f"mono audio at {SAMPLING_RATE_HZ} Hz of at most {MAX_SECONDS:.0f} s, as it was spoken"
    again = f"delete {path.parent}.parquet and run the workflow again"
    if not path.is_file():
        got = other_kind(path) or "no file"
        raise FileNotFoundError(f"{path}: expected {what}, got {got}; {again}")
    with open_regular(path) as file:
        content = file.read()
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            wrong = _wrong_shape(file)
            wave = np.zeros(0, np.float32) if wrong else file.read(dtype="float32")
    except soundfile.SoundFileError as error:
        wrong = f"another file ({_own_words(error)})"
    if not wrong and not np.isfinite(wave).all():
        wrong = "NaN or infinity among its samples"
    found = hashlib.sha256(content).hexdigest()[: len(digest or "")]
    if not wrong and digest and found != digest:
        wrong = f"other audio (digest {found} instead of {digest})"
    if wrong:
        raise ValueError(f"{path}: expected {what}, got {wrong}; {again}")
    return wave


def _wrong_shape(file: soundfile.SoundFile) -> str:
    """What an opened file has in place of mono audio at 16 kHz; empty if that is what it is."""
    if file.samplerate != SAMPLING_RATE_HZ:
        return f"{file.samplerate} Hz"
    if file.channels != 1:
        return f"{file.channels} channels"
    if not file.frames:
        return "no samples"
    if _too_long(file.frames, SAMPLING_RATE_HZ):
        return f"{file.frames / SAMPLING_RATE_HZ:.0f} s"
    return ""


def read_recording(data: bytes) -> tuple[np.ndarray, int]:
    """Decode an audio file of anybody's: ((n_samples,) float32 mono, its rate in Hz).

    Several channels are averaged.

    Raises
    ------
    ValueError
        It cannot be decoded, is empty or too long, holds NaN, infinity or floats of integer scale, has
        channels that cancel each other out, or a rate that nobody records at, which could not be
        resampled either.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate, n_samples = file.samplerate, file.frames
            if not _RATES_HZ[0] <= rate <= _RATES_HZ[1]:
                raise ValueError("has {} Hz, expected {} to {} Hz".format(rate, *_RATES_HZ))
            if _too_long(n_samples, rate):  # said by the header: a few bytes may hold hours
                raise ValueError(f"is {_too_long(n_samples, rate)}")
            # In so many words: GSM 6.10 of telephones cannot be sought in.
            wave = file.read(n_samples, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise ValueError(f"cannot be decoded: {_own_words(error)}") from error
    if not len(wave):
        raise ValueError("holds no samples")
    if not np.isfinite(wave).all():
        raise ValueError("holds NaN or infinity")
    peak = np.abs(wave).max()
    if peak > _LARGEST:
        raise ValueError(f"holds floats up to {peak:.6g}, expected -1 to 1: are they integers?")
    mono = wave.mean(1)
    if wave.shape[1] > 1 and mono.var() < _CANCELLED * wave.var(0).mean() / wave.shape[1]:
        raise ValueError(
            f"has {wave.shape[1]} channels that cancel each other out: is one of them inverted?"
        )
    return mono, rate


def _own_words(error: soundfile.SoundFileError) -> str:
    # libsndfile's: the whole message has an address in memory, another one in every run.
    return getattr(error, "error_string", str(error))
