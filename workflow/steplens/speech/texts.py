"""What a speech engine is given of each sentence, and what is wrong with that before anything is spoken."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import regex

from steplens.errors import shown
from steplens.languages.table import Language
from steplens.languages.text_forms import spoken_form
from steplens.languages.writing_systems import members
from steplens.speech.number_words import has_digits, knows, spell_numbers

# What eSpeak NG reads in any voice: in the voice itself, or by passing the word to another one. Of other
# scripts it says the name of every letter.
_READ_BY_ALL_VOICES = (
    "Latin", "Greek", "Hangul", "Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Tamil", "Kannada",
    "Malayalam", "Georgian", "Armenian",
)  # fmt: skip
# Voices that read other scripts than all of their language's.
_SCRIPTS_OF_VOICE = {"ja": ("Hiragana", "Katakana"), "cmn": ("Han",), "yue": ("Han",)}
# Characters that a voice reads as no word all the same: small kana for counting, which it calls letters, and
# those of Mandarin's syllable iong, which it leaves to English.
_UNREAD_BY_VOICE = {
    "ja": "ヵヶ",
    "cmn": "侰僒儝兄兇兒冂冋冏凶匈匔卭哅囧坰埛夐宆幜忷恟惸扃敻桏棾橩汹泂洶澃炯烱焪焭煚煛煢熊熲琼瓊皛睘"
    "瞏穷穹窘窮竆笻筇絅綗胷胸芎茕藑藭蘏蘔蛩褧訩詗詾讻诇賯赨赹跫輁迥逈邛銎雄顈颎駉駫",
}  # fmt: skip
# A voice that reads digits of its own script, and says others in English.
_OWN_DIGITS = {"ne": ord("०")}


@dataclass(frozen=True)
class SpokenText:
    """One sentence as it is given to an engine."""

    text: str
    problem: str  # empty if nothing is wrong


def spoken_text(text: str, language: Language, engine: str) -> SpokenText:
    """What an engine is given of a text: its spoken form, with numbers as words.

    Parameters
    ----------
    text : str
        As read: the raw transcription.
    language : Language
    engine : {"xtts", "recorded", "espeak"}

    Examples
    --------
    >>> from steplens.languages.table import load_languages
    >>> spoken_text("Il y a 10 000 mots.", load_languages()["fra"], "xtts").text
    'Il y a dix mille mots.'
    """
    spoken = spell_numbers(spoken_form(text, language.code, language.script), language.code)
    if engine == "espeak" and language.espeak in _OWN_DIGITS:
        zero = _OWN_DIGITS[language.espeak]
        spoken = regex.sub(r"\d", lambda digit: chr(zero + unicodedata.digit(digit[0])), spoken)
    return SpokenText(spoken, text_problem(spoken, language, engine))


def text_problem(text: str, language: Language, engine: str) -> str:
    """What an engine cannot read of a text, in words; empty if it reads all, as who was recorded did."""
    problems = []
    if engine == "espeak":
        unread = unread_letters(text, language)
        if unread:
            problems.append(
                f"eSpeak NG cannot read {len(unread)} of its letters: {shown(unread, 20, quoted=False)}"
            )
    if engine == "xtts":  # eSpeak NG reads digits in every voice, or in digits of its own script
        problems += _digits_left(text, language)
    return "; ".join(problems)


def _digits_left(text: str, language: Language) -> list[str]:
    if knows(language.code) or not has_digits(text):
        return []
    numbers = regex.findall(r"\p{Nd}+", text)
    return [
        f"digits that cannot be spelled out in {language.name}: {shown(', '.join(numbers), 20, quoted=False)}"
    ]


def unread_letters(text: str, language: Language) -> str:
    """The letters of a text that the language's voice of eSpeak NG reads as no part of a word.

    Of kanji, for one, its Japanese voice says "Chinese letter".
    """
    scripts = _SCRIPTS_OF_VOICE.get(language.espeak)
    own = "".join(rf"\p{{{one}}}" for one in scripts) if scripts else members(language.script)
    read = own + "".join(rf"\p{{{one}}}" for one in _READ_BY_ALL_VOICES)
    # Han characters past the first plane have no reading in any voice.
    pattern = rf"[[\p{{L}}\p{{Nl}}]--[\p{{Common}}\p{{Inherited}}{read}]]|[\U00020000-\U0003FFFF]"
    unread = _UNREAD_BY_VOICE.get(language.espeak)
    if unread:
        pattern += f"|[{unread}]"
    return "".join(regex.findall(pattern, text, regex.V1))


def tell(texts: Sequence[SpokenText]) -> dict[str, int]:
    """How many of these sentences have each kind of problem, by its words before the first colon."""
    counts: dict[str, int] = {}
    for one in texts:
        for problem in filter(None, one.problem.split("; ")):
            kind = regex.sub(r" \d+ of", "", problem.partition(":")[0])
            counts[kind] = counts.get(kind, 0) + 1
    return counts
