"""What can be wrong with one utterance's audio, measured as it is made (D13).

The measures are kept, the limits are config: another limit measures nothing again.
"""

import unicodedata
from dataclasses import asdict, dataclass

import numpy as np
import regex

from steplens.files.audio import MAX_SECONDS, SAMPLING_RATE_HZ

_FRAME = SAMPLING_RATE_HZ // 50  # 20 ms
_SILENT_DB = 40.0  # so far under the loudest frame
_INAUDIBLE = 1e-3  # peak of audio that holds nothing at all
_FAINT = 2.0**-8  # peak of audio of which 16-bit samples keep 8 bits with the sign, and pauses none
_OFFSET = 0.05  # mean over standard deviation; less lies under what counts as silence
_FULL_SCALE = 0.999

# How many letters of an alphabet a character of these scripts takes as long as: kana stand for a
# mora, the others for a syllable.
_WEIGHTS = (
    (regex.compile(r"[[\p{Han}\p{Hangul}\p{Ethiopic}]&&[\p{L}\p{N}]]", regex.V1), 3),
    (regex.compile(r"[[\p{Hiragana}\p{Katakana}]&&[\p{L}\p{N}]]", regex.V1), 2),
)
_SPOKEN = regex.compile(r"[\p{L}\p{N}]")


@dataclass(frozen=True)
class Limits:
    """When audio fails; as ``speech.checks`` in the configuration."""

    min_seconds_per_character: float
    max_seconds_per_character: float
    max_silent_share: float
    max_clipped_share: float


@dataclass(frozen=True)
class Measures:
    """One utterance's audio in numbers."""

    n_samples: int
    seconds: float
    peak: float  # largest magnitude
    seconds_per_character: float  # NaN without a letter or digit in the text
    silent_share: float  # of frames of 20 ms, 40 dB under the loudest
    clipped_share: float  # of samples at full scale

    def as_dict(self) -> dict[str, float]:
        """The measures by name."""
        return asdict(self)


def n_characters(text: str) -> int:
    """Letters and digits of a text; kana count as two, Han, Hangul and Ethiopic characters as three.

    Examples
    --------
    >>> n_characters("Ja, 3!"), n_characters("银行")
    (3, 6)
    """
    text = unicodedata.normalize("NFC", text)  # a Hangul syllable may be three characters
    extra = sum((weight - 1) * len(pattern.findall(text)) for pattern, weight in _WEIGHTS)
    return len(_SPOKEN.findall(text)) + extra


def measure(wave: np.ndarray, text: str) -> Measures:
    """Measure one utterance.

    Parameters
    ----------
    wave : (n_samples,) float array
        At 16 kHz, in [-1, 1].
    text : str
        What is spoken.
    """
    peak = float(np.abs(wave).max()) if len(wave) else 0.0
    frames = wave[: len(wave) // _FRAME * _FRAME].reshape(-1, _FRAME)
    if peak < _INAUDIBLE or not len(frames):
        silent = 1.0
    else:
        if abs(wave.mean(dtype=np.float64)) > _OFFSET * wave.std(dtype=np.float64):
            frames = frames - wave.mean(dtype=np.float64)  # else no pause would be silent
        power = (frames.astype(np.float64) ** 2).mean(1)
        silent = float((power <= power.max() * 10 ** (-_SILENT_DB / 10)).mean())
    characters = n_characters(text)
    seconds = len(wave) / SAMPLING_RATE_HZ
    return Measures(
        n_samples=len(wave),
        seconds=seconds,
        peak=peak,
        seconds_per_character=seconds / characters if characters else float("nan"),
        silent_share=silent,
        clipped_share=float((np.abs(wave) >= _FULL_SCALE).mean()) if len(wave) else 0.0,
    )


def problem(measures: Measures, limits: Limits) -> str:
    """What is wrong, in words and numbers; empty if nothing is."""
    if measures.peak < _INAUDIBLE:
        return "silent"
    found = []
    if measures.peak < _FAINT:
        found.append(f"very quiet: peak {measures.peak:.4f} of full scale")
    if measures.seconds > MAX_SECONDS:
        found.append(f"too long: {measures.seconds:.0f} s, more than {MAX_SECONDS:.0f} s")
    pace = measures.seconds_per_character
    if pace < limits.min_seconds_per_character:
        found.append(f"too short: {pace:.3f} s a character")
    if pace > limits.max_seconds_per_character:
        found.append(f"too long: {pace:.3f} s a character")
    if measures.silent_share > limits.max_silent_share:
        found.append(f"{measures.silent_share:.0%} silence")
    if measures.clipped_share > limits.max_clipped_share:
        found.append(f"{measures.clipped_share:.2%} of samples clipped")
    return "; ".join(found)
