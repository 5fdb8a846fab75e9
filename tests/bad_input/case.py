"""One case of bad input, and what every one of them must come to."""

import contextlib
import hashlib
import logging
import os
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

Parts = str | tuple[str, ...]


@dataclass(frozen=True)
class World:
    """Where a case plays, and small valid things to break."""

    folder: Path
    checkpoint: Path  # of random weights; shared, so to be copied before it is broken
    shared: Callable[[str], Any]  # fixtures that only some cases need, by name
    patch: pytest.MonkeyPatch


@dataclass(frozen=True)
class Case:
    """Bad input, the entry that is given it, and what its message must say.

    ``prepare`` makes the input in the folder and gives it to ``call``. ``error`` None stands for a flag:
    nothing is refused, and the message is in the log, or in a table whose row and column then say what
    and where. Of every part the message holds these words.
    """

    name: str
    prepare: Callable[[World], Any]
    call: Callable[[Any], Any]
    error: type[Exception] | None
    what: Parts  # which setting, file or thing
    where: Parts  # path, line, utterance, language, step
    expected: Parts
    got: Parts
    do: Parts
    appears: tuple[str, ...] = ()  # what may be in the folder afterwards
    callers_own: bool = (
        False  # an array of a caller of the package: no place, and nothing to be done
    )


def check(case: Case, world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Run a case: one message with all its parts, and nothing damaged."""
    given = case.prepare(world)
    before = snapshot(world.folder)
    caplog.set_level(logging.WARNING)
    if case.error is None:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            returned = case.call(given)
        told = [record.getMessage() for record in caplog.records]
        told += [str(one.message) for one in warned]
        told += [returned] if isinstance(returned, str) else []
        found = [one for one in told if all(part in one for part in _words(case))]
        assert found, f"{_words(case)} not in one of {told}"
        message = found[0]
    else:
        with pytest.raises(case.error) as raised:
            case.call(given)
        assert type(raised.value) is case.error  # and no subclass that is shown in another way
        message = str(raised.value)
    for part in ("what", "where", "expected", "got", "do"):
        optional = case.error is None or (case.callers_own and part in ("where", "do"))
        assert getattr(case, part) or optional, f"{part}: expected words"
        for words in _tuple(getattr(case, part)):
            words = words.format(folder=world.folder)
            assert words in message, f"{part}: {words!r} is not in {message!r}"
    _check_form(message)
    after = snapshot(world.folder)
    new = {
        name
        for name in after.keys() - before.keys()
        if not any(fnmatch(name, pattern) for pattern in case.appears)
    }
    assert not new, f"left behind: {sorted(new)}"
    changed = {name for name, content in before.items() if after.get(name) != content}
    assert not changed, f"damaged: {sorted(changed)}"


def _words(case: Case) -> list[str]:
    return [
        words
        for part in (case.what, case.where, case.expected, case.got, case.do)
        for words in _tuple(part)
    ]


def _tuple(part: Parts) -> tuple[str, ...]:
    return (part,) if isinstance(part, str) else part


def _check_form(message: str) -> None:
    """One paragraph that can be read on a terminal."""
    heading, *lines = message.splitlines()
    assert len(lines) <= 1, f"expected one line, or one below a heading, got {message!r}"
    assert not lines or lines[0].startswith("  - ")
    assert len(message) < 900
    assert "Traceback" not in message
    assert 'File "' not in message
    assert " object at 0x" not in message
    assert heading.strip() == heading


def snapshot(folder: Path) -> dict[str, str]:
    """Every file, folder and link under a folder, with a digest of its content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        kind = path.lstat()
        name = path.relative_to(folder).as_posix()
        if stat.S_ISLNK(kind.st_mode):
            found[name] = f"-> {os.readlink(path)}"
        elif stat.S_ISREG(kind.st_mode):
            with contextlib.suppress(PermissionError):
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = "folder"
    return found
