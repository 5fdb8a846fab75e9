"""Recognised text against its reference: character error rate, on text without case and punctuation.

FLEURS's normalised transcriptions have neither, the model's output has both.
"""

import unicodedata

import regex
from rapidfuzz.distance import Levenshtein

# They leave no gap: apostrophes and hyphens within a word, and characters of format (joiners, soft
# hyphens, direction). A dash between words leaves one.
_WITHIN_WORD = regex.compile(r"(?<=\w)['’‘ʼʻ‐-](?=\w)|\p{Cf}")
_NOT_SPOKEN = regex.compile(r"[\p{P}\p{S}\p{C}\s]+")
# Scripts without spaces between words; FLEURS puts some between characters.
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_NO_SPACE = regex.compile(rf"(?<={_UNSPACED})\s+|\s+(?={_UNSPACED})")


def plain_text(text: str) -> str:
    """Text as it is scored: compatibility forms unified, no case, no punctuation, no symbols.

    Spaces beside characters of scripts that do without (Han, kana, Thai and so on) are dropped.

    Examples
    --------
    >>> plain_text("Das  ist — gut!"), plain_text("他 去 银 行。")
    ('das ist gut', '他去银行')
    """
    # Folding may leave letters decomposed.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    spoken = _NOT_SPOKEN.sub(" ", _WITHIN_WORD.sub("", folded)).strip()
    return _NO_SPACE.sub("", spoken)


def character_edits(reference: str, hypothesis: str) -> tuple[int, int]:
    """Edits between two texts as scored, and characters of the reference.

    Their quotient is the character error rate; it may exceed 1.
    """
    reference, hypothesis = plain_text(reference), plain_text(hypothesis)
    if not reference:
        return len(hypothesis), 0
    return Levenshtein.distance(reference, hypothesis), len(reference)


def character_error_rate(reference: str, hypothesis: str) -> float:
    """Edits over characters of the reference; NaN where the reference has none."""
    edits, length = character_edits(reference, hypothesis)
    return edits / length if length else float("nan")
