"""Speech synthesis with eSpeak NG (D13, engine ``espeak``): small, offline, deterministic.

eSpeak NG is GPL software; it is not part of steplens. The library and its voices come with the
optional package ``espeakng-loader`` and are loaded at run time through ctypes.

eSpeak NG keeps wave generator state in static variables that survive even its own termination, so
that a sentence's audio depends on what was spoken before it. Each sentence is therefore spoken in
a process of its own, forked (in a few milliseconds) from one that has never spoken. Some texts make the
library crash: such a sentence has no audio, and the others go on.
"""

import ctypes
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from steplens.errors import WorkerDied
from steplens.files.audio import resample, too_long
from steplens.jobs.workers import each
from steplens.speech.engines.engine import Request, Take

if TYPE_CHECKING:
    from steplens.languages.table import Language

# Constants of espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_POS_CHARACTER = 1
_CHARS_UTF8 = 1
_PARAMETER_RATE = 1
_OK = 0

_SECONDS = 60.0  # for a sentence; a minute of speech takes some tenths of a second

_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def open_engine(
    language: "Language", settings: dict[str, Any], seed: int, threads: int
) -> "Espeak":
    """One language's voice of eSpeak NG.

    Parameters
    ----------
    language : Language
    settings : dict
        ``words_per_minute``.
    seed : int
        Not used: eSpeak NG draws nothing.
    threads : int
        Sentences spoken at a time.
    """
    return Espeak(language.espeak, settings["words_per_minute"], threads)


class Espeak:
    """Speaks one language, each sentence always alike."""

    def __init__(self, voice: str, words_per_minute: int, threads: int):
        self.voice = voice
        self._words_per_minute = words_per_minute
        self._threads = threads

    def n_attempts(self, request: Request) -> int:
        """One: there is nothing to be drawn again."""
        return 1

    def speak(self, requests: Sequence[Request]) -> Iterator[Take]:
        """Yield one take a request."""
        texts = [request.text for request in requests]
        for wave in _waves(texts, self.voice, self._words_per_minute, self._threads):
            if isinstance(wave, WorkerDied):
                yield Take(np.zeros(0, dtype=np.float32), fault=f"the speaker {wave}")
            elif too_long(wave):  # no encoder could take it
                yield Take(np.zeros(0, dtype=np.float32), fault=f"speech is {too_long(wave)}")
            else:
                yield Take(wave, fault="" if len(wave) else "eSpeak NG gave no audio")


def synthesize(
    texts: Iterable[str], voice: str, words_per_minute: int = 175, threads: int = 1
) -> Iterator[np.ndarray]:
    """Speak each text: yields (n_samples,) float32 at 16 kHz, in [-1, 1], in the order of ``texts``.

    A text that gives no audio yields an empty array.

    Parameters
    ----------
    texts : iterable of str
        Sentences; each one's audio depends on nothing but itself, the voice and the rate.
    voice : str
        eSpeak NG voice, for example ``"de"`` or ``"cmn"`` (``resources/languages.tsv``).
    words_per_minute : int
        Speaking rate; eSpeak NG's own default is 175.
    threads : int
        Sentences spoken at a time.

    Raises
    ------
    ModuleNotFoundError
        ``espeakng-loader`` is not installed.
    ValueError
        eSpeak NG has no such voice.
    RuntimeError
        The library could not be initialised, or crashes whatever it is given (``WorkerError``).
    WorkerDied
        It crashed at a text, was killed, or took more than a minute.
    """
    for wave in _waves(texts, voice, words_per_minute, threads):
        if isinstance(wave, WorkerDied):
            raise wave
        yield wave


def _waves(
    texts: Iterable[str], voice: str, words_per_minute: int, threads: int
) -> Iterator[np.ndarray | WorkerDied]:
    """The audio of each text, or what became of its speaker."""
    try:
        import espeakng_loader
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "speech engine 'espeak' needs the package espeakng-loader: "
            "pip install espeakng-loader, or choose another engine under speech.engine"
        ) from error
    library, voices = espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
    start = partial(_load, library, voices, voice, words_per_minute)
    return each(start, texts, threads, _SECONDS, name="speaker")


def _load(
    library_path: str, data_path: str, voice: str, words_per_minute: int
) -> tuple[None, Callable[[str], Iterator[np.ndarray]]]:
    library = ctypes.CDLL(library_path)
    native_hz = library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, data_path.encode(), 0)
    if native_hz <= 0:
        raise RuntimeError(f"eSpeak NG could not be initialised from {data_path}")
    samples: list[np.ndarray] = []

    def collect(wave, n_samples, _events) -> int:
        if wave and n_samples > 0:
            samples.append(np.ctypeslib.as_array(wave, shape=(n_samples,)).copy())
        return 0

    callback = _CALLBACK(collect)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.encode()) != _OK:
        raise ValueError(
            f"resources/languages.tsv: espeak: expected a voice of eSpeak NG, got {voice!r}, which it does "
            "not have; mend the row of the language, or speak it by another engine"
        )
    library.espeak_SetParameter(_PARAMETER_RATE, words_per_minute, 0)

    def speak(
        text: str, _kept=callback
    ) -> Iterator[np.ndarray]:  # the library keeps an address of it
        encoded = text.encode("utf-8")
        status = library.espeak_Synth(
            encoded, len(encoded) + 1, 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None
        )
        library.espeak_Synchronize()
        if status != _OK or not samples:
            yield np.zeros(0, dtype=np.float32)
        else:
            yield resample(np.concatenate(samples).astype(np.float32) / 32768.0, native_hz)

    return None, speak
