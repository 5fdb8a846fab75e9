"""The one place where texts are normalised: what is read of a corpus, and what is spoken of it.

What is *read* is composed (Unicode's NFC) and otherwise as published. It is the reference, and what the
model is given. What is *spoken* is read by machines that tell apart what people do not: full-width
digits, ligatures, typographic spaces, invisible characters, letters of another script that look alike.
Texts that look alike are spoken alike, to the byte. Only what changes the look stays: superscripts,
fractions, Hangul jamo, full-width punctuation, which NFKC would all replace.

Sources: Unicode Standard Annex 15 (normal forms), Annex 9 (bidirectional text), Technical Standard 39
(confusables, through ``confusable-homoglyphs``).
"""

import unicodedata
from functools import cache

import regex

from steplens.errors import shown

# What hides or reorders text where it is shown: controls, and bidirectional overrides and isolates.
_REFUSED = regex.compile(r"[\p{Cc}\u202A-\u202E\u2066-\u2069]")

_SPACES = regex.compile(r"[\p{Z}\t]+")
_INVISIBLE = regex.compile(
    r"[\p{Default_Ignorable_Code_Point}\uFFF9-\uFFFB--[\u200B-\u200D]]", regex.V1
)
# Scripts without spaces between words: a zero-width space stands for one there.
_UNSPACED = r"[\p{Khmer}\p{Thai}\p{Lao}\p{Myanmar}]"
_ZERO_WIDTH_SPACE = regex.compile(rf"(?<!{_UNSPACED})\u200B+|\u200B+(?!{_UNSPACED})")
# Where joiners change the look: beside a virama, and a non-joiner behind an Arabic letter that would join.
_VIRAMA = r"[\p{Indic_Syllabic_Category=Virama}\p{Indic_Syllabic_Category=Pure_Killer}]"
_ARABIC_ALONE = "ءآأؤإاةدذرزوٱٲٳٵٶٷڈ-ڙۀۃ-ۋۍےۓەۮۯ"  # they never join what follows
_ARABIC_JOINING = rf"[\p{{Arabic}}&&\p{{L}}--[{_ARABIC_ALONE}]]\p{{M}}*"
_JOINER = regex.compile(
    rf"(?:(?<={_VIRAMA})|(?=[\u200C\u200D]{_VIRAMA})|(?<={_ARABIC_JOINING})(?=\u200C+\p{{Arabic}}))"
    r"(?P<kept>[\u200C\u200D])[\u200C\u200D]*|[\u200C\u200D]+",
    regex.V1,
)
_TATWEEL = "\u0640"  # stretches an Arabic word, and is never spoken

# Compatibility characters that look as what they stand for, by the tag of their decomposition …
_SAME_LOOK = frozenset(
    ["wide", "narrow", "font", "noBreak", "initial", "medial", "final", "isolated"]
)
# … and of those without a telling one: long s, digraphs, variants of Greek letters, Roman numerals,
# Latin and Armenian ligatures, radicals of Chinese characters, dots.
_SAME_LOOK_TOO = regex.compile(r"[ſŉĲĳĿŀǄ-ǌǱ-ǳϐϑϕϖϰϱϲϵⅠ-ⅿﬀ-ﬆﬓ-ﬗ⺟⻳\u2F00-\u2FD5…‥]")
# Full-width marks are part of Chinese and Japanese writing; these are read aloud, or stand in numbers.
_WIDE_MARKS = regex.compile(r"[\uFF01-\uFF5E--[＃＄％＆＋＠＝\p{L}\p{N}]]", regex.V1)
_WIDE_IN_NUMBER = regex.compile(r"(?<=\p{Nd})[．，：／](?=\p{Nd})")
_HYPHENS = {ord(one): "-" for one in "\u2010\u2011\u2212\ufe63\uff0d"}
_APOSTROPHES = regex.compile(r"(?<=[\p{L}\p{Nd}])[\u2019\u02BC\uFF07](?=[\p{L}\p{Nd}])")

# Two encodings of one letter: chillus of Malayalam, the Bengali ta without its vowel.
_CONJUNCTS = {
    "ണ്\u200d": "ൺ", "ന്\u200d": "ൻ", "ര്\u200d": "ർ", "ല്\u200d": "ൽ", "ള്\u200d": "ൾ", "ക്\u200d": "ൿ",
    "ত্\u200d": "ৎ",
}  # fmt: skip
# Letters that a keyboard of another language gives, by what the language writes.
_CEDILLAS = str.maketrans("şŞţŢ", "șȘțȚ")
_STROKES = str.maketrans("ÐƉ", "ĐĐ")
_PERSIAN = str.maketrans("يىك", "ییک")
_LETTERS = {
    "ron": _CEDILLAS, "pes": _PERSIAN, "urd": _PERSIAN,
    "bos": _STROKES, "hrv": _STROKES, "srp": _STROKES, "vie": _STROKES,
}  # fmt: skip

# Scripts that share shapes, and may therefore be mixed without being noticed.
_ALIKE = ("Latin", "Cyrillic", "Greek", "Armenian")
_WORD = regex.compile(r"[\p{L}\p{M}]+")
_MIXED = regex.compile(
    "|".join(rf"(?=.*\p{{{one}}})(?=.*\p{{{other}}})" for one, other in
             [("Latin", "Cyrillic"), ("Latin", "Greek"), ("Latin", "Armenian"), ("Cyrillic", "Greek"),
              ("Cyrillic", "Armenian"), ("Greek", "Armenian")])
)  # fmt: skip
# Letters of the main alphabets, without marks; and schwa. Dze is Macedonian alone.
_USUAL = regex.compile(r"[A-Za-zıƏəΑ-Ωα-ω\u0400-\u0404\u0406-\u0454\u0456-\u045FӘә\u0531-\u0587]")
_DZE = "Ѕѕ"
# An abbreviation with an ending of the language: SMSки.
_INFLECTED = regex.compile(
    "|".join(
        rf"(?:[\p{{{one}}}&&\p{{Lu}}]){{3,}}(?=\p{{Ll}})[\p{{L}}\p{{M}}--\p{{{one}}}]+"
        for one in _ALIKE
    ),
    regex.V1,
)
_OF_SCRIPT = {script: regex.compile(rf"\p{{{script}}}") for script in _ALIKE}


def refusal(text: str) -> str:
    """What must not stand in a text that is read, in words; empty if nothing does.

    Control characters, and characters that override the direction in which text is shown. Line ends and
    the tabs between fields are for the caller to take away first.

    Examples
    --------
    >>> refusal("gut"), refusal("a\\x1b[2Jb")
    ('', "expected text without control characters and bidirectional overrides, got U+001B in 'a\\\\x1b[2Jb'")
    """
    found = _REFUSED.search(text)
    if found is None:
        return ""
    name = unicodedata.name(found[0], "")
    start = max(0, found.start() - 25)
    return (
        "expected text without control characters and bidirectional overrides, got "
        f"U+{ord(found[0]):04X}{f' ({name})' if name else ''} in {shown(text[start:], 50)}"
    )


def read_form(text: str) -> str:
    """A text as it is read: letters composed (NFC), nothing else changed, without spaces around it."""
    return unicodedata.normalize("NFC", text).strip()


def spoken_form(text: str, language: str, script: str) -> str:
    """A text as it is spoken: what looks alike is one text.

    Parameters
    ----------
    text : str
        As read.
    language : str
        Its code; a few have letters of their own that are often mistyped.
    script : str
        As in ``resources/languages.tsv``; a word of mixed scripts is spoken in it where that is possible.

    Returns
    -------
    str
        NFC; spaces plain and single; without invisible characters, but for joiners that show.

    Examples
    --------
    >>> spoken_form("Il a\\u00a0２０ ﬁls.", "fra", "Latin"), spoken_form("в Mоскве", "rus", "Cyrillic")
    ('Il a 20 fils.', 'в Москве')
    """
    text = _WIDE_IN_NUMBER.sub(lambda mark: _same_look(mark[0], marks=True), text)
    text = "".join(map(_same_look, text))
    text = _INVISIBLE.sub("", text).replace(_TATWEEL, "")
    text = _ZERO_WIDTH_SPACE.sub("", text)
    for sequence, letter in _CONJUNCTS.items():
        text = text.replace(sequence, letter)
    text = _JOINER.sub(lambda found: found["kept"] or "", text)
    text = (
        unicodedata.normalize("NFC", text).translate(_HYPHENS).translate(_LETTERS.get(language, {}))
    )
    text = _APOSTROPHES.sub("'", text)
    text = _WORD.sub(lambda word: _of_one_script(word[0], language, script), text)
    return _SPACES.sub(" ", text).strip()


@cache
def _same_look(character: str, marks: bool = False) -> str:
    """What a compatibility character stands for, where it looks the same."""
    if character.isascii() or (_WIDE_MARKS.match(character) and not marks):
        return character
    tag, *codes = unicodedata.decomposition(character).split() or [""]
    if not (tag.strip("<>") in _SAME_LOOK or _SAME_LOOK_TOO.match(character)):
        return character
    return "".join(_same_look(chr(int(code, 16))) for code in codes)


def _of_one_script(word: str, language: str, script: str) -> str:
    """A word of mixed scripts in one: letters of others replaced by those of its own that look alike.

    In the language's script if that gives the whole word, else in the one of most of its letters, else
    the word stays: it is mixed on purpose.
    """
    if word.isascii() or not _MIXED.match(word) or _INFLECTED.fullmatch(word):
        return word
    counts = {one: len(letters.findall(word)) for one, letters in _OF_SCRIPT.items()}
    most = max(counts, key=lambda one: counts[one])
    own = [script] if counts.get(script) else []
    folded = (_in_script(word, one, language) for one in [*own, most])
    return next(filter(None, folded), word)


def _in_script(word: str, script: str, language: str) -> str:
    """A word in letters of a script alone; empty where one has no look-alike."""
    letters = [
        _look_alike(letter, script, language == "mkd")
        if any(pattern.match(letter) for one, pattern in _OF_SCRIPT.items() if one != script)
        else letter
        for letter in unicodedata.normalize("NFD", word)
    ]
    return unicodedata.normalize("NFC", "".join(letters)) if all(letters) else ""


@cache
def _look_alike(letter: str, script: str, with_dze: bool = False) -> str:
    """The letter of a script that looks like a letter of another one; empty without any.

    Lower-case Greek letters are symbols in other words (TNFα), but for omicron.
    """
    from confusable_homoglyphs.confusables import confusables_data

    if _OF_SCRIPT["Greek"].match(letter) and letter.islower() and letter != "ο":
        return ""
    near = [one["c"] for one in confusables_data.get(letter, [])]
    for prototype in list(near):
        near += [one["c"] for one in confusables_data.get(prototype, [])]
    fitting = {
        one
        for one in near
        if len(one) == 1
        and _OF_SCRIPT[script].match(one)
        and (_USUAL.match(one) or (with_dze and one in _DZE))
        and unicodedata.category(one) == unicodedata.category(letter)
        and not unicodedata.decomposition(one)
    }
    return min(fitting, default="")  # the plain letter of several has the smallest code
