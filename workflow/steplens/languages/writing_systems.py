"""Writing systems: the letters of a script."""

from functools import cache, lru_cache
from typing import Literal

import regex

# What counts as a token of a control rate (``control.count_script_tokens``).
Tokens = Literal["script_runs", "characters"]
# Japanese mixes three scripts and Chinese uses one of them: one class.
CJK_SCRIPTS = ("Han", "Hiragana", "Katakana")


@lru_cache(maxsize=64)
def letter_pattern(script: str) -> regex.Pattern:
    """One letter of a Unicode script, or of ``"CJK"`` (Han, Hiragana and Katakana).

    Raises
    ------
    ValueError
        No such script, or one without letters of its own (``"Common"``, ``"Inherited"``).
    """
    refusal = (
        f"script: expected a Unicode script such as 'Latin', 'Cyrillic' or 'CJK', got {script!r}"
    )
    if not script.replace("_", "").isalpha():  # regex takes \p{Script=} for something
        raise ValueError(refusal)
    try:
        pattern = regex.compile(rf"[[{members(script)}]&&\p{{L}}]", regex.V1)
    except regex.error as error:
        raise ValueError(refusal) from error
    found = pattern.search(_characters())
    if found is None or regex.match(r"\p{Script=Common}", found[0]):
        raise ValueError(refusal)
    return pattern


def share_letters(one: str, other: str) -> bool:
    """Whether two scripts have a letter in common: aliases of one script, or ``"CJK"`` and its parts.

    Every character has one script, so that the first letters tell.
    """
    return bool(
        letter_pattern(one).match(_first_letter(other))
        or letter_pattern(other).match(_first_letter(one))
    )


def members(script: str, prop: str = "Script") -> str:
    """The characters of a script (or, by ``"scx"``, of it among others) inside a set of ``regex``."""
    names = CJK_SCRIPTS if script.upper() == "CJK" else (script,)
    return "".join(rf"\p{{{prop}={name}}}" for name in names)


@lru_cache(maxsize=64)
def _first_letter(script: str) -> str:
    return letter_pattern(script).search(_characters())[0]


@cache
def _characters() -> str:
    """The planes in which every script has its first letter."""
    return "".join(map(chr, range(0x20000)))
