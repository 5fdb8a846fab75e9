"""Splits a sentence that a speech engine cannot speak at once, where a speaker would pause."""

import math
from collections.abc import Callable
from itertools import pairwise

import regex

# What may stand between a mark and the end of its sentence. Quotes that close in one language open in
# another: behind Latin marks, a space after them tells; behind Chinese and Japanese ones their form.
_CLOSING = r"""(?:["'’”“»«›‹)\]]|\s[»›](?=\s|$))*"""
_CJK_CLOSING = r"""["'’”」』〉》）】\]]"""


def _marks(cjk: str, others: str) -> regex.Pattern:
    """Behind these marks; a mark of the second kind needs a space, or it stands within a number."""
    return regex.compile(
        rf"(?<=[{cjk}]{_CJK_CLOSING}*)(?![{cjk}]|{_CJK_CLOSING})"
        rf"|(?<=[{others}]{_CLOSING})(?=\s)(?!\s[»›](?:\s|$))",
        regex.V1,
    )


# From the best place to the worst: ends of sentences, ends of clauses, spaces; then within words.
_BOUNDARIES = (
    _marks("。！？｡।॥", ".!?…؟۔።"),
    _marks("、，；：", ",;:،؛፣–—"),
    regex.compile(r"(?=\s)"),
)
_SENTENCE, _CLAUSE, _SPACE, _WITHIN_WORD = range(4)


def split_text(text: str, fits: Callable[[str], bool]) -> list[str]:
    """Parts of a text, each of which fits.

    Of all ways to split it, the one with the fewest cuts within words, then with the fewest cuts at
    spaces within clauses, then with the fewest parts, then with the fewest cuts at ends of clauses
    rather than of sentences, and of these the one whose parts are most alike in length.

    Parameters
    ----------
    text : str
    fits : function of str to bool
        Whether a part can be spoken; a shorter part always can if a longer one can.

    Returns
    -------
    list of str
        At least one; joined, they hold every character of the text but spaces at the seams.

    Raises
    ------
    ValueError
        Not even one character fits.

    Examples
    --------
    >>> split_text("Ja. Das ist gut, sehr gut.", lambda part: len(part) <= 17)
    ['Ja. Das ist gut,', 'sehr gut.']
    """
    text = text.strip()
    if fits(text):
        return [text]
    places = _places(text, fits)
    at = sorted(places)
    # Cost of the best way to split the text up to each place, and where its last part begins.
    best: list[tuple] = [(0,) * 5, *[(math.inf,)] * (len(at) - 1)]
    begin = [0] * len(at)
    reach = 0
    for i, start in enumerate(at[:-1]):
        reach = max(reach, i)
        while reach + 1 < len(at) and fits(text[start : at[reach + 1]].strip()):
            reach += 1
        for j in range(i + 1, reach + 1):
            where = places[at[j]]
            n = len(text[start : at[j]].strip())
            cut = (where == _WITHIN_WORD, where == _SPACE, 1, where == _CLAUSE, n * n)
            cost = tuple(a + b for a, b in zip(best[i], cut, strict=True))
            if cost < best[j]:
                best[j], begin[j] = cost, i
        if reach == i:
            raise ValueError(f"expected text that can be spoken part by part, got {text!r}")
    parts = []
    end = len(at) - 1
    while end:
        parts.append(text[at[begin[end]] : at[end]].strip())
        end = begin[end]
    return parts[::-1]


def _places(text: str, fits: Callable[[str], bool]) -> dict[int, int]:
    """Where the text may be cut, and what kind of place it is; both ends are among them."""
    places = {0: _SENTENCE, len(text): _SENTENCE}
    for kind, pattern in enumerate(_BOUNDARIES):
        for match in pattern.finditer(text):
            places.setdefault(match.start(), kind)
    for start, end in pairwise(sorted(places)):
        if not fits(text[start:end].strip()):
            for character in regex.finditer(r"\X", text[start:end]):
                places.setdefault(start + character.start(), _WITHIN_WORD)
    return places
