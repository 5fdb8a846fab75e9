"""Numbers as words: grouped in any way, the same words."""

import random
import signal

import pytest

from steplens.languages import load_languages
from steplens.number_words import has_digits, knows, spell_numbers

MILLION = "one million two hundred and thirty-four thousand five hundred and sixty-seven"
SPELLED = {
    "fra": [
        ("Il y a 10 000 mots.", "Il y a dix mille mots."),
        ("3,5 km et 1 234 567,5", "trois virgule cinq km et un million deux cent trente-quatre mille "
         "cinq cent soixante-sept virgule cinq"),
        ("le 1er mai, la 2e", "le premier mai, la deuxième"),
    ],
    "deu": [
        ("am 15. Mai 1984", "am fünfzehnten Mai neunzehnhundertvierundachtzig"),
        ("Es waren 1.234, ja 10'000.", "Es waren eintausendzweihundertvierunddreißig, ja zehntausend."),
        ("Es waren 15.", "Es waren fünfzehn."),
        ("die 1990er, -5 Grad, 3,5 %", "die neunzehnhundertneunziger, minus fünf Grad, drei Komma fünf %"),
        ("3.5.2010", "drei fünf zweitausendzehn"),
    ],
    "eng": [
        ("1,234 on the 19th", "one thousand two hundred and thirty-four on the nineteenth"),
        ("12,34,567 or 1234567", f"{MILLION} or {MILLION}"),
        ("in 1984, the 1990s, 1,984", "in nineteen eighty-four, the nineteen nineties, one thousand nine "
         "hundred and eighty-four"),
        ("$20 at 10:30", "twenty $ at ten thirty"),
        ("US$5.50, A$20", "five point five zero US$, twenty A$"),
        ("A380-800", "A three hundred and eighty - eight hundred"),
        ("agent 007, 5km", "agent zero zero seven, five km"),
        ("1234567890123456", "one two three four five six seven eight nine zero one two three four five six"),
    ],
    "ces": [("Bylo to 15. května.", "Bylo to patnáct května."), ("3,5", "tři celá pět")],
    "spa": [("1.234 y 1,234", "mil doscientos treinta y cuatro y mil doscientos treinta y cuatro")],
    "rus": [("10 000 и 3,5", "десять тысяч и три запятая пять")],
    "por": [("10.000 e 1º", "dez mil e primeiro"), ("R$ 20", "vinte R$")],
    "hun": [("15. május", "tizenötödik május")],
    "tur": [("3,5", "üç virgül beş")],
    "arb": [("٢٠٠٨ و 2008", "ألفان و ثمانية و ألفان و ثمانية"), ("١٬٠٠٠", "ألف")],
    "jpn": [("2010ねんに 1,000にん、3.5", "にせんじゅうねんに せんにん、さんてんご")],
    "kor": [("2010년에 1,000명", "이천십년에 천명")],
    "cmn": [("有1,000,000人", "有一百万人"), ("US$20", "二十 US$"),
            ("2010年有15个", "二零一零年有十五个"), ("3.5", "三点五")],
    "yue": [("有12000人", "有一萬兩千人")],
    # Not known: joined, in plain digits, for an engine that reads them.
    "hin": [("२०१० में 12,34,567", "2010 में 1234567")],
    "ell": [("1.234,5 και 10.000", "1234,5 και 10000")],
    "afr": [("10 000 en 3,5", "10000 en 3.5")],
}  # fmt: skip


@pytest.mark.parametrize(
    ("code", "text", "words"),
    [(code, *pair) for code, pairs in SPELLED.items() for pair in pairs],
)
def test_numbers_are_read_as_numbers(code, text, words):
    assert spell_numbers(text, code) == words


@pytest.mark.parametrize("code", [code for code in load_languages() if knows(code)])
def test_every_known_language_spells_any_number(code):
    """In a moment, with words alone; the same ones in plain and native digits."""
    draw = random.Random(5)
    numbers = [*range(32), 99, 100, 101, 1000, 1001, 1984, 2010, 10_000, 100_000, 1_000_000]
    numbers += [draw.randrange(10 ** draw.randrange(3, 17)) for _ in range(60)]
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail(f"{code}: no end"))
    signal.alarm(60)
    try:
        for number in numbers:
            for text in (
                f"a {number} b",
                f"a {number}. b",
                f"a {number}",
                f"a -{number}",
                f"$ {number}.5",
                f"{number}th",
            ):
                words = spell_numbers(text, code)
                assert words.strip()
                assert not has_digits(words), (text, words)
    finally:
        signal.alarm(0)


def test_chinese_numbers_are_those_of_another_library():
    """Of coqui-tts, which writes 二 for 两."""
    num2chn = pytest.importorskip("TTS.tts.layers.xtts.zh_num2words").num2chn
    draw = random.Random(7)
    for number in [
        *range(2000),
        *(draw.randrange(10 ** draw.randrange(4, 13)) for _ in range(500)),
    ]:
        own = spell_numbers(f"有{number}人", "cmn")[1:-1].replace("两", "二")
        theirs = num2chn(str(number)).replace("两", "二")
        assert own in (theirs, theirs.replace("零一十", "零十")), number


def test_groups_of_other_languages_are_no_groups():
    assert spell_numbers("in 2010 300 people", "eng").count("three hundred") == 1
    assert spell_numbers("3.500", "eng") == "three point five zero zero"
    assert spell_numbers("3,500", "fra") == "trois virgule cinq zéro zéro"
