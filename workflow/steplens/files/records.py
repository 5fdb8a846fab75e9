"""Records of journals, each with a digest of itself.

A journal says what was done already, so that it is not done again. A record whose digest does not fit it
was damaged, torn or written by another version: it counts as not there, and what it told of is done again.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steplens.errors import RecordError
from steplens.files.atomic import write_text
from steplens.files.input_files import open_regular

log = logging.getLogger(__name__)

DIGEST = "digest"


def to_line(record: Mapping[str, Any]) -> str:
    """A record and its digest as one line of JSON, without the end of line.

    Parameters
    ----------
    record : mapping of str
        Of what JSON gives back as it was: nested mappings have names too, sequences are lists.
    """
    return json.dumps({**record, DIGEST: _digest(record)}, ensure_ascii=False)


def from_line(line: str | bytes) -> dict[str, Any]:
    """The record of a line of ``to_line``, without its digest.

    Raises
    ------
    RecordError
        No JSON, no digest, or one that does not fit.
    """
    try:
        record = json.loads(line)
        told = record.pop(DIGEST)
        found = _digest(record)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise RecordError(
            f"expected a record with its digest, got {type(error).__name__}"
        ) from error
    if told != found:
        raise RecordError(f"expected a record with digest {str(told)[:32]!r}, got {found!r}")
    return record


def write_record(record: Mapping[str, Any], path: Path) -> None:
    """Write a file of one record, atomically."""
    write_text(path, to_line(record) + "\n")


def read_record(path: Path) -> dict[str, Any] | None:
    """The record of ``write_record``; None without the file, and, with a warning, where it does not fit."""
    try:
        with open_regular(path) as file:
            return from_line(file.read())
    except FileNotFoundError:
        return None
    except ValueError as error:  # no file, or a record that does not fit
        log.warning("%s: counts as not there: %s", path, error)
        return None


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:32]
