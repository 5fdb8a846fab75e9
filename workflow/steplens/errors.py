"""Every error that steplens raises of its own, and how messages show what was given.

All derive from ``SteplensError``, which is a ``ValueError``: something that was given cannot be used.
"""

import reprlib
from typing import Any

_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxlist, _REPR.maxdict, _REPR.maxtuple = 3, 8, 6, 8
_REPR.maxstring = _REPR.maxother = 100


class SteplensError(ValueError):
    """Any error of steplens; the message says what is wrong where, and what to do."""


class ConfigError(SteplensError):
    """The configuration cannot be run; the message says which key, and what was expected."""


class TableError(SteplensError):
    """A table that cannot be read as it was written."""


class RecordError(SteplensError):
    """A record of a journal that is not what was written."""


class DiskSpaceError(SteplensError):
    """The file system has less room than is about to be written; the message says both."""


class HubError(SteplensError, RuntimeError):
    """A file of the hub cannot be had; the message says which, why, and what to do."""


class CheckpointError(SteplensError):
    """A checkpoint that cannot be loaded; the message says what is wrong where, and what to do."""


class StoreError(SteplensError):
    """A store is missing, incomplete, damaged or not what was expected."""


class ActivationError(SteplensError):
    """An activation that no statistic may be computed from."""


class NotFiniteError(ActivationError):
    """NaN or infinity among activations: in which row, and in which cell."""

    def __init__(self, row: int, layer: int, submodule: str):
        super().__init__(f"row {row}, layer {layer}, {submodule}: NaN or infinity")
        self.row, self.layer, self.submodule = row, layer, submodule


class TooFewUtterances(SteplensError):
    """A language has too few valid utterances for two halves; the message says which, and what to do."""


class RunError(SteplensError):
    """A run, or a result of it, that is not there; the message says what is."""


class SimilarityError(SteplensError):
    """States that cannot be compared."""


class RateError(SteplensError):
    """A row of the rates that cannot be used; the message says which, and what was expected."""


class ReportError(SteplensError):
    """A report cannot be written: something that it shows is missing."""


class VerificationError(SteplensError):
    """Results are damaged, lost or not what the configuration would have made."""


class WorkerDied(SteplensError):
    """A worker ended, or was killed at its limit of time, with a question unanswered.

    Reads as the end of a sentence: "died of signal 11 (SIGSEGV)".

    Attributes
    ----------
    in_time : bool
        It ended by itself, or somebody else ended it.
    """

    def __init__(self, how: str, in_time: bool = True):
        super().__init__(how)
        self.in_time = in_time


class WorkerError(SteplensError, RuntimeError):
    """Workers die whatever they are asked."""


def shown(value: Any, at_most: int = 100, quoted: bool = True) -> str:
    """An input for a message: its beginning, in one line, with what cannot be seen escaped.

    Parameters
    ----------
    value : object
        A text of any length; of anything else the ``repr``, which is never made whole first.
    at_most : int
        Characters, without quotes and the mark " …" of what was cut.
    quoted : bool
        Whether a text stands in quotes.

    Examples
    --------
    >>> shown("a\\u202eb\\n" + 100 * "c", 12), shown("a\\u202eb\\n" + 100 * "c", 12, quoted=False)
    ("'a\\\\u202eb\\\\ncc' …", 'a\\\\u202eb\\\\ncc …')
    """
    if isinstance(value, str):
        beginning, escaped = _beginning(value, at_most)
        end = " …" if len(beginning) < len(value) else ""
        if quoted:
            return repr(beginning) + end
        return escaped.rstrip() + end if end else escaped
    if isinstance(value, int) and value.bit_length() > 4 * at_most:
        return f"a whole number of {value.bit_length()} bits"
    text = _REPR.repr(value)
    return f"{text[:at_most]} …" if len(text) > at_most else text


def _beginning(text: str, at_most: int) -> tuple[str, str]:
    """As many characters as fit once they are escaped: as they are, and escaped."""
    escaped = ""
    for n, character in enumerate(text):
        one = character
        if not character.isprintable():
            one = character.encode("unicode_escape").decode("ascii")
        if len(escaped) + len(one) > at_most:
            return text[:n], escaped
        escaped += one
    return text, escaped
