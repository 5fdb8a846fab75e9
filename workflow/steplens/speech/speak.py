"""Stage ``speech``: audio of every sentence of one language (D13).

Audio is kept as 16-bit WAV at 16 kHz beside the table that lists it; the table is written last. An
utterance whose audio fails a check is made again, with another seed or from another recording. What
was made is remembered (``takes.py``): an interrupted synthesis continues, a larger corpus keeps what
it has, and other limits make only those again that they concern. What is lost is what was being
spoken: a take, or a batch of an engine that speaks several together.

What goes into a batch follows from the corpus and from the takes of earlier rounds, never from what
happens to be missing: samples differ in their last bits with the batch, and an interrupted synthesis
shall end with the bytes of an undisturbed one. A batch that lacks a take is spoken whole, for that take.
"""

import importlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steplens.batches.batching import length_sorted_batches
from steplens.files.atomic import read_parquet, write_parquet
from steplens.files.audio import SAMPLING_RATE_HZ, too_long, write_wav
from steplens.jobs.code_digest import code_digest
from steplens.jobs.progress import progress
from steplens.languages.table import Language
from steplens.speech.checks import Limits, Measures, measure, problem
from steplens.speech.engines.apart import open_speaker
from steplens.speech.engines.engine import Engine, Request, Take
from steplens.speech.takes import Journal, file_digest, take_key
from steplens.speech.texts import spoken_text, tell
from steplens.store.conditions import of_condition

log = logging.getLogger(__name__)

# Settings that only give leave, or say where files lie or what this machine has.
_NOT_HEARD = frozenset({"accept_cpml", "audio", "batch_size", "device"})
# The column of resources/languages.tsv with what an engine calls a language.
CODE_OF = {"espeak": "espeak", "recorded": "fleurs", "xtts": "xtts"}
# What stands for audio that cannot be had, so that stores keep a row for every sentence.
_PLACEHOLDER = np.zeros(SAMPLING_RATE_HZ, dtype=np.float32)
# Batches within which utterances are sorted by length: a larger corpus then changes the last window only.
_WINDOW = 8


@dataclass(frozen=True)
class _Wanted:
    """One utterance to be spoken."""

    request: Request
    path: Path
    first: int  # the attempt to begin with


def synthesize_corpus(
    corpus: Path,
    language: Language,
    engine: str,
    settings: dict[str, Any],
    checks: dict[str, float],
    first_attempts: dict[int, int],
    seed: int,
    threads: int,
    output: Path,
    libraries: Mapping[str, str] | None = None,
) -> None:
    """Write ``speech/<language>.parquet`` and ``speech/<language>/<id>.wav``.

    Columns: utterance, path (relative to the table), attempt, available (how many attempts there
    are; missing for any number), seed, origin, problem (of text or audio; empty if nothing is wrong),
    unusable (there is no audio, one second of silence stands for it), sha256 (of the file,
    ``takes.file_digest``), engine, voice, and the measures of ``speech_checks.Measures``.

    Parameters
    ----------
    corpus : path
        ``corpus/<language>.parquet``; the raw transcription is spoken, as ``speech_texts`` gives it.
    language : Language
    engine : {"xtts", "recorded", "espeak"}
    settings : dict
        Of the engine; see its ``open_engine``.
    checks : dict
        Limits by name (``speech_checks.Limits``), and ``max_attempts``.
    first_attempts : dict
        Utterance to the attempt to begin with, where it is not the first (``resynthesise``). One
        that the engine does not have is passed over.
    seed, threads : int
    output : path
    libraries : mapping, optional
        Versions of what the engine computes with: takes of others are made again.
    """
    sentences = read_parquet(corpus)
    folder = output.parent / language.code
    journal = Journal(folder / "takes.jsonl")
    module = importlib.import_module(f".engines.{engine}", __package__)
    texts = [spoken_text(text, language, engine) for text in sentences["raw_transcription"]]
    requests = [
        _request(row, one.text) for row, one in zip(sentences.itertuples(), texts, strict=True)
    ]
    for kind, count in tell(texts).items():
        log.warning("%s: %d of %d sentences: %s", language.code, count, len(texts), kind)
    refused = {}
    if hasattr(module, "text_faults"):  # found before a model is loaded
        faults = module.text_faults(language, settings, [one.text for one in texts])
        numbers = [request.utterance for request in requests]
        refused = {one: fault for one, fault in zip(numbers, faults, strict=True) if fault}
    limits = Limits(**{name: checks[name] for name in Limits.__dataclass_fields__})
    with open_speaker(engine, language, settings, seed, threads) as speaker:
        if refused:
            speaker = _WithoutRefused(speaker, refused)
        fixed = {
            "engine": engine,
            "settings": _heard(settings),
            "language": getattr(language, CODE_OF[engine]),
            "voice": speaker.voice,
            "seed": seed,
            "libraries": dict(libraries or {}),
            "code": code_digest(f"speech.engines.{engine}", "files.audio", "speech.checks"),
        }
        wanted = [
            _wanted(request, folder, first_attempts.get(request.utterance, 0), speaker)
            for request in requests
        ]
        with progress(len(wanted), f"speech {language.code}") as bar:
            takes = _Speaking(speaker, journal, limits, checks["max_attempts"], fixed, bar).all(
                wanted
            )
        rows = [
            {
                "path": f"{language.code}/{one.path.name}",
                "engine": engine,
                "voice": speaker.voice,
                "available": speaker.n_attempts(one.request),
            }
            | {name: value for name, value in take.items() if name not in ("key", "fault")}
            | {"problem": "; ".join(filter(None, (text.problem, take["problem"])))}
            for one, take, text in zip(wanted, takes, texts, strict=True)
        ]
    _remove_others(folder, {one.path.name for one in wanted})
    types = {"seconds_per_character": "float64", "available": "Int64"}
    table = pd.DataFrame(rows).astype(types)
    condition = {"language": language.code, "engine": engine}
    table.attrs = of_condition(condition, fixed | {"checks": checks}, {"corpus": corpus})
    write_parquet(table, output)
    log.info("%s: %.0f s of speech by %s, %d of %d utterances with a problem", language.code,
             table["seconds"].sum(), engine, (table["problem"] != "").sum(), len(table))  # fmt: skip


def _heard(settings: dict[str, Any]) -> dict[str, Any]:
    heard = {key: one for key, one in settings.items() if key not in _NOT_HEARD}
    if heard.get("digest"):  # a checkpoint is known by its content, wherever it lies
        heard = {key: one for key, one in heard.items() if key not in ("path", "revision")}
    return heard


def _request(row, text: str) -> Request:
    recordings = tuple(
        (one["split"], one["file"], int(one["n_samples"])) for one in json.loads(row.recordings)
    )
    return Request(int(row.utterance), text, 0, recordings)


def _wanted(request: Request, folder: Path, first: int, engine: Engine) -> _Wanted:
    available = engine.n_attempts(request)
    if available is not None and first >= available:  # asked of another engine
        first = 0
    return _Wanted(request, folder / f"{request.utterance}.wav", first)


class _WithoutRefused:
    """An engine that is not given the sentences which its text front end refuses: their takes say why."""

    def __init__(self, engine: Engine, refused: dict[int, str]):
        self._engine = engine
        self._refused = refused  # utterance to what is wrong with its text
        self.voice = engine.voice
        self.batch_size = getattr(engine, "batch_size", None)

    def n_attempts(self, request: Request) -> int | None:
        """One for what is refused: no other attempt reads it."""
        return 1 if request.utterance in self._refused else self._engine.n_attempts(request)

    def speak(self, requests: Sequence[Request]) -> Iterator[Take]:
        """Yield one take a request; empty with a fault for those refused."""
        spoken = self._engine.speak([one for one in requests if one.utterance not in self._refused])
        for request in requests:
            fault = self._refused.get(request.utterance)
            yield Take(np.zeros(0, dtype=np.float32), fault=fault) if fault else next(spoken)


class _Speaking:
    """Rounds of takes, until each utterance has one that passes or has used up its attempts."""

    def __init__(
        self, engine: Engine, journal: Journal, limits: Limits, max_attempts: int, fixed: dict, bar
    ):
        self._engine = engine
        self._journal = journal
        self._limits = limits
        self._max_attempts = max_attempts
        self._fixed = fixed
        self._bar = bar
        self._fallback: dict[int, int] = {}  # utterance to the attempt that stays after all

    def all(self, wanted: list[_Wanted]) -> list[dict[str, Any]]:
        """The kept take of every utterance."""
        place = {one.request.utterance: number for number, one in enumerate(wanted)}
        kept: dict[int, dict[str, Any]] = {}
        waiting = [(one, one.first) for one in wanted]
        while waiting:
            retry: list[tuple[_Wanted, int]] = []
            known = [self._known(one, attempt) for one, attempt in waiting]
            for (one, _), take in zip(waiting, known, strict=True):
                if take is not None:
                    self._judge(one, take, kept, retry)
            missing = [take is None for take in known]
            for one, take in self._make(waiting, missing):
                self._judge(one, take, kept, retry)
            # In the order of the corpus, whatever was there before: batches follow from it.
            waiting = sorted(retry, key=lambda one: place[one[0].request.utterance])
        return [kept[one.request.utterance] for one in wanted]

    def _known(self, one: _Wanted, attempt: int) -> dict[str, Any] | None:
        """A take of an earlier run: its audio must be there, unless it failed and is not the last.

        One with a fault is none: a recording that was missing may be there by now.
        """
        take = self._journal.find(one.request.utterance, attempt, self._key(one))
        if take is None or take["fault"]:
            return None
        final = not self._problem(take) or self._is_last(one, attempt)
        return None if final and file_digest(one.path) != take["sha256"] else take

    def _make(
        self, waiting: list[tuple[_Wanted, int]], missing: list[bool]
    ) -> Iterator[tuple[_Wanted, dict[str, Any]]]:
        """The missing takes of a round, as they are made."""
        for batch in self._batches(waiting, missing):
            requests = [
                Request(one.request.utterance, one.request.text, attempt, one.request.recordings)
                for one, attempt in (waiting[number] for number in batch)
            ]
            spoken = self._engine.speak(requests)
            for number, request, take in zip(batch, requests, spoken, strict=True):
                if missing[number]:
                    one, attempt = waiting[number]
                    yield one, self._keep(one, attempt, request, take)

    def _batches(
        self, waiting: list[tuple[_Wanted, int]], missing: list[bool]
    ) -> Iterator[list[int]]:
        """Numbers in ``waiting`` of what is spoken together, where any of it is missing."""
        size = getattr(self._engine, "batch_size", None)
        if size is None:  # each take by itself: no other is touched
            batches = [np.flatnonzero(missing)]
        else:
            lengths = [len(one.request.text) for one, _ in waiting]
            batches = length_sorted_batches(lengths, size, _WINDOW * size)
        for batch in batches:
            numbers = [int(number) for number in batch]
            if any(missing[number] for number in numbers):
                yield numbers

    def _keep(self, one: _Wanted, attempt: int, request: Request, take: Take) -> dict[str, Any]:
        finite = bool(np.isfinite(take.wave).all())
        fault = take.fault or ("" if finite else "NaN or infinity in the audio")
        fault = fault or too_long(take.wave)
        unusable = len(take.wave) == 0 or not finite or bool(too_long(take.wave))
        wave = _PLACEHOLDER if unusable else take.wave
        # Measured before it is placed between -1 and 1: what lies beyond would be clipped.
        measures = measure(wave, request.text)
        kept = {
            "utterance": one.request.utterance,
            "attempt": attempt,
            "key": self._key(one),
            "seed": take.seed,
            "origin": take.origin,
            "fault": fault,
            "unusable": unusable,
            "sha256": "",
            **measures.as_dict(),
        }
        # A take that will be made again leaves the file alone: a later one may already be there.
        if not self._problem(kept) or self._is_last(one, attempt):
            write_wav(one.path, wave)
            kept["sha256"] = file_digest(one.path)
        self._journal.add(kept)
        return kept

    def _judge(self, one: _Wanted, take: dict, kept: dict, retry: list) -> None:
        wrong = self._problem(take)
        number, attempt = take["utterance"], take["attempt"]
        if wrong and not self._is_last(one, attempt):
            log.info("utterance %d, attempt %d: %s", number, attempt, wrong)
            retry.append((one, attempt + 1))
            return
        if take["unusable"] and number not in self._fallback:
            earlier = self._first_usable(one, attempt)
            if earlier is not None:  # any audio is better than none
                self._fallback[number] = earlier
                retry.append((one, earlier))
                return
        if wrong:
            log.warning("utterance %d, attempt %d, the last: %s", number, attempt, wrong)
        kept[number] = take | {"problem": wrong}
        self._bar.update()

    def _first_usable(self, one: _Wanted, before: int) -> int | None:
        for attempt in range(one.first, before):
            take = self._journal.find(one.request.utterance, attempt, self._key(one))
            if take is not None and not take["unusable"]:
                return attempt
        return None

    def _is_last(self, one: _Wanted, attempt: int) -> bool:
        return attempt == self._fallback.get(one.request.utterance, self._end(one) - 1)

    def _problem(self, take: dict[str, Any]) -> str:
        if take["fault"]:
            return take["fault"]
        values = {name: take[name] for name in Measures.__dataclass_fields__}
        if values["seconds_per_character"] is None:
            values["seconds_per_character"] = float("nan")
        return problem(Measures(**values), self._limits)

    def _end(self, one: _Wanted) -> int:
        """The attempt after the last one."""
        available = self._engine.n_attempts(one.request)
        end = one.first + self._max_attempts
        return max(one.first + 1, end if available is None else min(end, available))

    def _key(self, one: _Wanted) -> str:
        recordings = one.request.recordings if self._fixed["engine"] == "recorded" else ()
        return take_key(text=one.request.text, recordings=recordings, **self._fixed)


def _remove_others(folder: Path, names: set[str]) -> None:
    """Audio of sentences that are no longer in the corpus, and what a killed writer left."""
    for path in folder.glob("*.wav"):
        if path.name not in names:
            path.unlink()
