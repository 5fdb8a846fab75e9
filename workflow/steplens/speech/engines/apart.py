"""An engine in a process of its own, so that its death costs the take that killed it and no other.

For engines that hold a model, and threads or a GPU with it: a fresh interpreter loads it once, and again
where it died. What it was at is asked for again whole, since the last bits of samples differ with the batch:
after a kill by accident, audio has the bytes of an undisturbed synthesis. Where it dies once more, each
request is spoken alone, and those at which it dies then have a fault instead of audio.
"""

import contextlib
import importlib
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from steplens.errors import WorkerDied
from steplens.jobs.workers import DeathsInARow, Worker
from steplens.speech.engines.engine import Engine, Request, Take

if TYPE_CHECKING:
    from steplens.languages.table import Language

log = logging.getLogger(__name__)

# How long an utterance may take, for engines that are kept apart. On two cores XTTS takes about a minute.
SECONDS = {"xtts": 300.0}
_START_SECONDS = 900.0  # to load a model, from a slow disk perhaps
_TRIES = 2  # of a batch


@contextlib.contextmanager
def open_speaker(
    engine: str, language: "Language", settings: dict[str, Any], seed: int, threads: int
) -> Iterator[Engine]:
    """What speaks one language: the engine, or what asks it in a process of its own.

    Parameters
    ----------
    engine : str
        A module beside this one.
    language, settings, seed, threads
        See its ``open_engine``.
    """
    arguments = (language, settings, seed, threads)
    if engine not in SECONDS:
        yield _module(engine).open_engine(*arguments)
        return
    speaker = SpeakerApart(partial(_start, engine, arguments), SECONDS[engine])
    try:
        yield speaker
    finally:
        speaker.close()


def _module(engine: str) -> ModuleType:
    return importlib.import_module(f".{engine}", __package__)


def _start(engine: str, arguments: tuple) -> tuple[tuple[str, int], Callable]:
    speaker = _module(engine).open_engine(*arguments)
    return (speaker.voice, speaker.batch_size), speaker.speak


class SpeakerApart:
    """Asks an engine that speaks batches, and takes any number of attempts, in another process.

    Parameters
    ----------
    start : callable
        For ``workers.Worker``; describes itself by voice and batch size.
    seconds : float
        How long an utterance may take.
    """

    def __init__(self, start: Callable, seconds: float):
        self._start = start
        self._seconds = seconds
        self._deaths = DeathsInARow("speaker")
        self._worker: Worker | None = None
        self._open()

    def n_attempts(self, request: Request) -> None:
        """Any number: every attempt has another seed."""
        return None

    def speak(self, requests: Sequence[Request]) -> Iterator[Take]:
        """Yield one take a request, in order.

        Raises
        ------
        WorkerError
            The engine dies as it starts, or at one request after another.
        """
        done = 0
        for _ in range(_TRIES):
            try:
                for number, take in enumerate(self._ask(requests)):
                    if number == done:  # those before were given before it died
                        done += 1
                        self._deaths.none()
                        yield take
                return
            except WorkerDied as died:
                log.warning("the speaker %s, at a batch of %d utterances; it is opened again",
                            died, len(requests))  # fmt: skip
                if not died.in_time:  # to wait as long once more would tell nothing
                    break
        for request in requests[done:]:
            yield self._alone(request)

    def _alone(self, request: Request) -> Take:
        try:
            (take,) = self._ask([request])
        except WorkerDied as died:
            self._deaths.another(died)
            return Take(np.zeros(0, dtype=np.float32), fault=f"the speaker {died}")
        self._deaths.none()
        return take

    def _ask(self, requests: Sequence[Request]) -> Iterator[Take]:
        if self._worker is None:
            self._open()
        seconds = self._seconds * len(requests)
        try:
            self._worker.ask(list(requests), seconds)
            yield from self._worker.answers(seconds)
        except WorkerDied:
            self.close()
            raise

    def _open(self) -> None:
        worker = Worker(self._start, fresh=True, name="speaker")
        self._worker, (self.voice, self.batch_size) = worker.started(_START_SECONDS)

    def close(self) -> None:
        """End the process."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None
