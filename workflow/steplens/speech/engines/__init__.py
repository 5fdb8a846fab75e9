"""Speech engines (D13): each module has ``open_engine``, which gives what speaks one language.

An engine is asked for takes and gives them in the order of the requests. What it gives for a request
depends on nothing but the request, the language and the engine's settings: neither on the order,
nor on the other requests, nor on what was spoken before. An engine that speaks several requests
together has a ``batch_size``, is best asked for takes of similar length one after another, and may
differ by the rounding of floats (``xtts.py`` says what that comes to).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Request:
    """One take of one utterance."""

    utterance: int  # sentence id
    text: str  # as spoken (``texts.spoken_text``)
    attempt: int  # 0, 1, …: another seed, or another recording
    recordings: tuple[tuple[str, str, int], ...] = ()  # (split, file, n_samples) in FLEURS


@dataclass(frozen=True)
class Take:
    """What an engine gave."""

    wave: np.ndarray  # (n_samples,) float32 at 16 kHz; empty if there is no usable audio
    seed: int = 0
    origin: str = ""  # which recording, or in how many parts it was spoken
    fault: str = ""  # what is wrong with it beyond what the audio shows


class Engine(Protocol):
    """Speaks one language."""

    voice: str

    def n_attempts(self, request: Request) -> int | None:
        """How many different takes there are of an utterance; None for any number."""

    def speak(self, requests: Sequence[Request]) -> Iterator[Take]:
        """Yield one take a request, in order."""
