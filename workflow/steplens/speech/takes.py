"""The journal of one language's takes: what was spoken so far, so that nothing is spoken twice.

``takes.jsonl`` beside the audio holds a line for every take ever made: which utterance and attempt,
a key of everything that the audio depends on, its measures and the digest of its file, as a record with
a digest of its own (``files/records.py``). A line is written after the file; one that was torn or damaged is
forgotten. A take that failed a check and is followed by another has no file, and an empty digest of it.

``first_attempts.json`` beside it says with which takes to begin where it is not with the first.
"""

import hashlib
import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steplens.errors import RecordError
from steplens.files.atomic import write_bytes
from steplens.files.input_files import open_regular, other_kind
from steplens.files.records import from_line, read_record, to_line, write_record

log = logging.getLogger(__name__)

# Of a line: counts up when its fields change, and takes of another format are made again.
_FORMAT = 2


class Journal:
    """Takes by (utterance, attempt).

    Parameters
    ----------
    path : path
        ``speech/<language>/takes.jsonl``; need not exist.
    """

    def __init__(self, path: Path):
        self._path = path
        self._takes: dict[tuple[int, int], dict[str, Any]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            self._read()

    def _read(self) -> None:
        with open_regular(self._path) as file:
            data = file.read()
        fitting = []
        lines = data.splitlines(keepends=True)
        for line in lines:
            try:
                take = from_line(line)
            except (
                RecordError
            ):  # torn, zeros after the power failed, a flipped bit, an earlier version
                continue
            if line.endswith(b"\n"):
                fitting.append(line)
                self._takes[take["utterance"], take["attempt"]] = take
        if len(fitting) < len(lines):
            log.warning("%s: %d lines are not as they were written: their takes are made again",
                        self._path, len(lines) - len(fitting))  # fmt: skip
            write_bytes(self._path, b"".join(fitting))

    def find(self, utterance: int, attempt: int, key: str) -> dict[str, Any] | None:
        """The take of this attempt, if it was made under this key."""
        take = self._takes.get((utterance, attempt))
        return take if take is not None and take["key"] == key else None

    def add(self, take: dict[str, Any]) -> None:
        """Keep a take whose audio is on disk."""
        plain = {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in take.items()
        }
        self._takes[take["utterance"], take["attempt"]] = plain
        with self._path.open("a", encoding="utf-8") as file:
            file.write(to_line(plain) + "\n")


def take_key(**depends_on: Any) -> str:
    """Sixteen hex digits of everything that a take's audio depends on."""
    plain = json.dumps([_FORMAT, depends_on], sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Sixteen hex digits of a file's content; empty without a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""


def first_attempts(path: Path, engine: str | None) -> dict[int, int]:
    """Utterance to the attempt to begin with, as ``ask_for`` left them for this engine.

    What was asked of one engine says nothing about another one's takes, nor do files of another language.
    """
    found = None if other_kind(path) else read_record(path)
    if found is None or (found["language"], found["engine"]) != (path.parent.name, engine):
        return {}
    return {int(utterance): attempt for utterance, attempt in found["attempts"].items()}


def ask_for(path: Path, engine: str, attempts: Mapping[int, int]) -> None:
    """Begin with these attempts of an engine; what was asked for before stays, but of another engine.

    Parameters
    ----------
    path : path
        ``speech/<language>/first_attempts.json``.
    engine : str
    attempts : mapping
        Utterance to attempt.
    """
    asked = first_attempts(path, engine) | dict(attempts)
    plain = {str(utterance): attempt for utterance, attempt in sorted(asked.items())}
    write_record({"language": path.parent.name, "engine": engine, "attempts": plain}, path)
