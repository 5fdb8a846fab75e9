"""Numbers in digits, as words: thousands joined as the language writes them, then spelled out.

What is spelled out is spoken alike by every engine, however it was grouped. Words come from ``num2words``
where it knows the language; Chinese, which it does not, is spelled here. Digits of other languages are
joined and left to the engine, if it can read them (``speech_texts.py``).

A mark before exactly three digits is the doubtful case: it groups, unless it is the language's decimal
mark. Spanish is written with either, so that there such a mark groups always.
"""

import unicodedata
from dataclasses import dataclass
from functools import cache

import regex

# Languages with a decimal point and groups parted by commas; all others have a comma.
_DECIMAL_POINT = {
    "amh", "arb", "asm", "ben", "cmn", "cym", "eng", "gaz", "gle", "guj", "heb", "hin", "ibo", "jpn",
    "kan", "kor", "lug", "luo", "mal", "mar", "mlt", "mya", "npi", "nya", "ory", "pan", "pes", "sna",
    "snd", "som", "swh", "tam", "tel", "tgl", "tha", "urd", "yor", "yue", "zlm", "zul",
}  # fmt: skip
_EITHER_MARK = frozenset({"spa"})
# A decimal comma that eSpeak NG passes over; it reads the point.
_COMMA_PASSED_OVER = frozenset({"afr", "kat", "kir", "uzn"})


@dataclass(frozen=True)
class _Words:
    """How num2words is asked for a language's numbers."""

    code: str
    mark: str  # the word for the decimal mark
    years: bool = False  # 1984 is not read as a number of things
    ordinal_point: bool = False  # "15." is the fifteenth, and num2words knows it
    suffixes: str = ""  # what may follow an ordinal's digits, as a pattern
    spaced: bool = True  # words are parted by spaces


# Of those that num2words has, Amharic (it does not end at a million) and Kannada (lakhs come out wrong) are
# left out, and those that no engine speaks.
_KNOWN = {
    "arb": _Words("ar", "فاصلة"),
    "azj": _Words("az", "vergül"),
    "bel": _Words("be", "коска"),
    "ben": _Words("bn", "দশমিক"),
    "cat": _Words("ca", "coma"),
    "ces": _Words("cs", "celá"),
    "cmn": _Words("", "点", years=True, spaced=False),
    "cym": _Words("cy", "pwynt"),
    "dan": _Words("da", "komma", years=True, ordinal_point=True),
    "deu": _Words("de", "Komma", years=True, ordinal_point=True),
    "eng": _Words("en", "point", years=True, suffixes="st|nd|rd|th|'?s"),
    "spa": _Words("es", "coma", suffixes="[ºª]|\\.[ºª]"),
    "fin": _Words("fi", "pilkku", ordinal_point=True),
    "fra": _Words("fr", "virgule", suffixes="ers?|[rn]?des?|res?|èmes?|emes?|es?"),
    "hun": _Words("hu", "egész", ordinal_point=True),
    "ind": _Words("id", "koma"),
    "isl": _Words("is", "komma"),
    "ita": _Words("it", "virgola", suffixes="[ºª°]"),
    "jpn": _Words("ja", "てん", spaced=False),
    "kaz": _Words("kz", "бүтін"),
    "kor": _Words("ko", "점", spaced=False),
    "lit": _Words("lt", "kablelis"),
    "lvs": _Words("lv", "komats"),
    "nld": _Words("nl", "komma", years=True, suffixes="ste|de|e"),
    "nob": _Words("no", "komma", years=True, ordinal_point=True),
    "pes": _Words("fa", "ممیز"),
    "pol": _Words("pl", "przecinek"),
    "por": _Words("pt_BR", "vírgula", suffixes="[ºª]"),
    "ron": _Words("ro", "virgulă"),
    "rus": _Words("ru", "запятая"),
    "slk": _Words("sk", "celých"),
    "slv": _Words("sl", "vejica", ordinal_point=True),
    "srp": _Words("sr", "zapeta"),
    "swe": _Words("sv", "komma", suffixes=":[ae]"),
    "tel": _Words("te", "బిందువు"),
    "tur": _Words("tr", "virgül"),
    "ukr": _Words("uk", "кома"),
    "vie": _Words("vi", "phẩy"),
    "yue": _Words("", "點", years=True, spaced=False),
}
# Languages that write an ordinal with a point, and num2words does not know it: spoken as a number, without
# the point, at which a sentence would be cut.
_POINT_DROPPED = frozenset(
    ["bos", "ces", "est", "hrv", "isl", "lvs", "mkd", "pol", "slk", "srp", "tur"]
)

# Where num2words has no word for a minus, or another one.
_MINUS = {
    "cmn": "负",
    "yue": "負",
    "ces": "minus",
    "pol": "minus",
    "slk": "mínus",
    "tel": "మైనస్",
    "vie": "âm",
}
# Before them a German ordinal ends in n: am 15. Mai.
_GERMAN_OBLIQUE = regex.compile(
    r"\b(?:a[mb]|vom|zum|beim|im|de[mns]|bis|seit|nach|vor) \Z", regex.I
)

_MOST_DIGITS = 15  # longer ones are no quantity: they are read digit by digit
_DIGIT = regex.compile(r"\p{Nd}")


def decimal_mark(language: str) -> str:
    """The decimal mark of a language, by its code."""
    return "." if language in _DECIMAL_POINT else ","


def has_digits(text: str) -> bool:
    """Whether a text holds a decimal digit of any script."""
    return bool(_DIGIT.search(text))


def knows(language: str) -> bool:
    """Whether numbers of a language can be spelled out."""
    return language in _KNOWN


def spell_numbers(text: str, language: str) -> str:
    """A text with its numbers spelled out; where the language's words are not known, in plain digits.

    Thousands are joined, digits of every script taken. "15." before a word is an ordinal where the
    language writes so; 1100 to 1999 is a year where those are read in another way. A currency's
    sign goes behind its number.

    Parameters
    ----------
    text : str
        As ``text_forms.spoken_form`` gives it.
    language : str
        Its code.

    Examples
    --------
    >>> spell_numbers("Il y a 10 000 mots.", "fra"), spell_numbers("९,०००", "hin")
    ('Il y a dix mille mots.', '9000')
    """
    if not has_digits(text):
        return text
    text = _DIGIT.sub(lambda digit: str(unicodedata.digit(digit[0])), text)
    text = regex.sub(r"(?<=\d)٬(?=\d{3})", "", text)
    text = regex.sub(r"(?<=\d)٫(?=\d)", decimal_mark(language), text)
    if knows(language):  # a time of day
        text = regex.sub(r"(?<=\b\d\d?):(?=[0-5]\d\b)", " " * _parted(language), text)
    if _parted(language):  # 1984-85: "four-eighty" would be one number
        text = regex.sub(r"(?<=\d)-(?=\d)", " - ", text)
    return _pattern(language).sub(lambda found: _spoken(found, language), text)


@cache
def _pattern(language: str) -> regex.Pattern:
    """One number, with what stands around it and is read with it."""
    mark = decimal_mark(language)
    groups = "'" + (".," if language in _EITHER_MARK else {".": ",", ",": "."}[mark])
    groups += " " * (mark == ",")  # no language with a point groups by spaces
    words = _KNOWN.get(language)
    endings = [rf"(?:{words.suffixes})(?!\p{{L}})"] if words and words.suffixes else []
    if (words and words.ordinal_point) or language in _POINT_DROPPED:
        endings.append(r"\.(?= [^\W_])")
    return regex.compile(
        r"(?:(?P<currency>(?:(?<!\p{L})\p{Lu}{1,2})?[$€£¥₹₽₩]) ?)?(?:(?<![^ (\[])(?P<minus>-))?(?<!\d[.,]?)"
        r"(?:(?:(?P<whole>"
        rf"[1-9]\d{{0,2}}(?P<group>[{groups}])\d{{3}}(?:(?P=group)\d{{3}})*|"
        r"[1-9]\d{0,2}(?P<twice>[.,])\d{3}(?:(?P=twice)\d{3})+|"
        r"[1-9]\d?(?:,\d\d)+,\d{3}"
        r")(?P<part>[.,]\d+)?(?![.,]?\d))|"
        r"(?P<sequence>\d+(?:\.\d+){2,})(?!\d)|"
        r"(?P<integer>\d+)(?P<fraction>[.,]\d+)?(?!\d))"
        rf"(?P<ordinal>{'|'.join(endings) or '(?!)'})?"
    )


def _spoken(found: regex.Match, language: str) -> str:
    before = found.string[found.start() - 1 : found.start()] if found.start() else ""
    after = found.string[found.end() : found.end() + 1]
    if found["sequence"]:  # a date, a version
        numbers = [_number(one, "", language, plain=True) for one in found["sequence"].split(".")]
        number = (" " if _parted(language) else ".").join(numbers)
    elif found["whole"]:
        whole = regex.sub(r"\D", "", found["whole"])
        number = _number(whole, (found["part"] or "")[1:], language)
    else:
        plural = (found["ordinal"] or "").endswith("s") and language == "eng"  # the 1990s
        ordinal = found["ordinal"] is not None and not found["fraction"] and not plural
        number = _number(
            found["integer"], (found["fraction"] or "")[1:], language, ordinal=ordinal,
            plain=not found["currency"] and len(found["integer"]) == 4, followed_by=after,
        )  # fmt: skip
        if plural:
            number = number.removesuffix("y") + ("ies" if number.endswith("y") else "s")
        elif (
            ordinal and language == "deu" and _GERMAN_OBLIQUE.search(found.string[: found.start()])
        ):
            number += "n"
    if found["ordinal"] and (found["sequence"] or found["whole"] or found["fraction"]):
        number += found["ordinal"]
    if found["minus"]:
        number = _minus(language) + number
    if found["currency"]:
        number += f" {found['currency']}"
    if _parted(language):
        number = " " * before.isalpha() + number
        # German writes 1990er: one word.
        number += " " * (after.isalpha() and language != "deu")
    return number


def _parted(language: str) -> bool:
    return language in _KNOWN and _KNOWN[language].spaced


def _number(
    whole: str,
    fraction: str,
    language: str,
    ordinal: bool = False,
    plain: bool = False,
    followed_by: str = "",
) -> str:
    """One number: its digits before and behind the mark."""
    words = _KNOWN.get(language)
    if words is None:
        mark = "." if language in _COMMA_PASSED_OVER else decimal_mark(language)
        return f"{whole}{mark}{fraction}" if fraction else whole
    between = " " if words.spaced else ""
    if (whole.startswith("0") and len(whole) > 1) or len(whole) > _MOST_DIGITS:
        spelled = _digit_by_digit(whole, language)
    elif ordinal and language not in _POINT_DROPPED:
        spelled = _quantity(whole, language, "ordinal")
    elif plain and not words.code and followed_by == "年":  # digit by digit: 二零一零年
        spelled = _digit_by_digit(whole, language)
    elif plain and words.code and words.years and not fraction and 1100 <= int(whole) <= 1999:
        spelled = _quantity(whole, language, "year")
    else:
        spelled = _quantity(whole, language)
    if fraction:
        spelled = between.join([spelled, words.mark, _digit_by_digit(fraction, language)])
    return spelled


def _digit_by_digit(digits: str, language: str) -> str:
    between = " " if _KNOWN[language].spaced else ""
    return between.join(_in_words(int(digit), language) for digit in digits)


def _quantity(whole: str, language: str, kind: str = "cardinal") -> str:
    """A number in words; digit by digit where num2words' words end."""
    try:
        words = _in_words(int(whole), language, kind)
    except (
        Exception
    ):  # it raises what comes: OverflowError, KeyError, IndexError, NotImplementedError
        words = ""
    return words if words and not has_digits(words) else _digit_by_digit(whole, language)


def _minus(language: str) -> str:
    if language not in _KNOWN:
        return "-"
    word = _MINUS.get(language) or _in_words(-1, language).removesuffix(_in_words(1, language))
    return word.strip() + " " * _parted(language)


@cache
def _in_words(number: int, language: str, kind: str = "cardinal") -> str:
    if not _KNOWN[language].code:
        return _chinese(number).translate(_CANTONESE if language == "yue" else {})
    from num2words import num2words

    if language == "jpn":  # kana: a voice of eSpeak NG cannot read 二十
        return num2words(number, lang="ja", reading=True)
    words = num2words(number, lang=_KNOWN[language].code, to=kind)
    return " ".join(words.replace(",", "").split())  # no pauses within a number


_HAN = "零一二三四五六七八九"
_UNITS = {"万亿": 10**12, "亿": 10**8, "万": 10**4, "千": 1000, "百": 100, "十": 10}
_CANTONESE = str.maketrans("万亿点两", "萬億點兩")


def _chinese(number: int) -> str:
    """A whole number below ten to the sixteenth, as Mandarin reads it.

    Examples
    --------
    >>> _chinese(15), _chinese(2010), _chinese(10_500_003)
    ('十五', '两千零一十', '一千零五十万零三')
    """
    if number < 10:
        return _HAN[number]
    name = next(name for name in _UNITS if number >= _UNITS[name])
    base = _UNITS[name]
    many, rest = divmod(number, base)
    head = "两" if many == 2 and base >= 1000 else _chinese(many)
    head = "" if number < 20 else head  # 十五, and 一百一十五
    if not rest:
        return head + name
    zero = "零" * (rest < base // 10)
    tail = f"一{_chinese(rest)}" if 10 <= rest < 20 else _chinese(rest)
    return head + name + zero + tail
