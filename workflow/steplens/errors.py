"""Errors that more than one module raises, and how they show what was given."""

import reprlib
from typing import Any

_SHOWN = reprlib.Repr()
_SHOWN.maxlevel, _SHOWN.maxlist, _SHOWN.maxdict, _SHOWN.maxtuple = 3, 8, 6, 8
_SHOWN.maxstring = _SHOWN.maxother = 100


class ConfigError(ValueError):
    """The configuration cannot be run; the message says which key, and what was expected."""


def shown(value: Any, at_most: int = 100) -> str:
    """``repr`` of an input for a message: of at most so many characters, and never made whole first."""
    if isinstance(value, int) and value.bit_length() > 4 * at_most:
        return f"a whole number of {value.bit_length()} bits"
    text = repr(value[:at_most]) if isinstance(value, str) else _SHOWN.repr(value)
    cut = len(text) > at_most or (isinstance(value, str) and len(value) > at_most)
    return f"{text[: at_most - 1]}…" if cut else text
