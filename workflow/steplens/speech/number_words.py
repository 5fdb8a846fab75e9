"""Numbers in digits, as words: thousands joined as the language writes them, then spelled out.

What is spelled out is spoken alike by every engine, however it was grouped. Words come from ``num2words``
where it knows the language; Chinese, which it does not, is spelled here. Digits of other languages are
joined and left to the engine, if it can read them (``texts.py``).

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
    most_digits: int = 15  # longer ones are no quantity, or num2words errs: read digit by digit


# Endings of an ordinal, as written behind its digits: what num2words is asked for.
_RUSSIAN = {
    "й": {}, "ый": {}, "ой": {}, "я": {"gender": "f"}, "ая": {"gender": "f"}, "е": {"gender": "n"},
    "ое": {"gender": "n"}, "го": {"case": "g"}, "ого": {"case": "g"}, "му": {"case": "d"},
    "ому": {"case": "d"}, "м": {"case": "p"}, "ом": {"case": "p"}, "ю": {"case": "a", "gender": "f"},
    "ую": {"case": "a", "gender": "f"}, "х": {"case": "g", "plural": True},
    "ых": {"case": "g", "plural": True}, "ые": {"plural": True}, "ми": {"case": "i", "plural": True},
}  # fmt: skip
_RUSSIAN_SUFFIXES = f"-(?:{'|'.join(sorted(_RUSSIAN, key=len, reverse=True))})"
# … and, as it knows but the nominative, the endings of hard and soft adjectives.
_UKRAINIAN = {
    "й": ("ий", "ій"), "а": ("а", "я"), "я": ("а", "я"), "е": ("е", "є"), "го": ("ого", "ього"),
    "му": ("ому", "ьому"), "м": ("им", "ім"), "у": ("у", "ю"), "ю": ("у", "ю"), "і": ("і", "і"),
    "х": ("их", "іх"), "ми": ("ими", "іми"),
}  # fmt: skip
# Of 5-та the consonant belongs to the stem.
_UKRAINIAN_SUFFIXES = f"-[гмтш]?(?:{'|'.join(sorted(_UKRAINIAN, key=len, reverse=True))})"
# "2-х" is no ordinal: of two.
_OF_SOME = {
    "rus": {"2": "двух", "3": "трёх", "4": "четырёх"},
    "ukr": {"2": "двох", "3": "трьох", "4": "чотирьох"},
}

# Of those that num2words has, Amharic (it does not end at a million) and Kannada (lakhs come out wrong) are
# left out, and those that no engine speaks.
_KNOWN = {
    "arb": _Words("ar", "فاصلة"),
    "azj": _Words("az", "vergül"),
    "bel": _Words("be", "коска"),
    "ben": _Words("bn", "দশমিক"),
    "cat": _Words("ca", "coma", suffixes="r|n|t|è|é|a"),
    "ces": _Words("cs", "celá"),
    "cmn": _Words("", "点", years=True, spaced=False),
    "cym": _Words("cy", "pwynt", most_digits=9),
    "dan": _Words("da", "komma", years=True, ordinal_point=True),
    "deu": _Words("de", "Komma", years=True, ordinal_point=True),
    "eng": _Words("en", "point", years=True, suffixes="st|nd|rd|th|'?s"),
    "spa": _Words("es", "coma", suffixes="\\.?(?:[ºª]|er[oa]?|[drtmvn][oa])"),
    "fin": _Words("fi", "pilkku", ordinal_point=True),
    "fra": _Words("fr", "virgule", suffixes="ers?|n?de?s?|è?res?|i?[èe]mes?|es?"),
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
    "por": _Words("pt_BR", "vírgula", suffixes="\\.?[ºª]"),
    "ron": _Words("ro", "virgulă", most_digits=12),
    "rus": _Words("ru", "запятая", suffixes=_RUSSIAN_SUFFIXES),
    "slk": _Words("sk", "celých"),
    "slv": _Words("sl", "vejica", ordinal_point=True),
    "srp": _Words("sr", "zapeta"),
    "swe": _Words("sv", "komma", suffixes=":[ae]"),
    "tel": _Words("te", "బిందువు"),
    "tur": _Words("tr", "virgül"),
    "ukr": _Words("uk", "кома", suffixes=_UKRAINIAN_SUFFIXES),
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
    "ben": "মাইনাস",
    "cmn": "负",
    "yue": "負",
    "ces": "minus",
    "pol": "minus",
    "slk": "mínus",
    "tel": "మైనస్",
    "vie": "âm",
}
# Languages that say a thousand without a one, which num2words leaves out of 21,000 and 301,000 too: such
# numbers are put together here, and this stands between their parts.
_THOUSAND_WITHOUT_ONE = {"azj": " ", "tur": ""}
# Before them a German ordinal ends in n: am 15. Mai.
_GERMAN_OBLIQUE = regex.compile(
    r"\b(?:a[mb]|vom|zum|beim|im|de[mns]|bis|seit|nach|vor) \Z", regex.I
)

# Before them and a noun a number with a point is an ordinal, or it ends the sentence before these.
_GERMAN_DETERMINER = regex.compile(
    r"\b(?:d(?:er|ie|as|en|em|es)|am|i[mn]s?|vom|zu[mr]|beim|(?:[mds]ein|ihr|unser|dies|jed)e?[nmrs]?) \Z",
    regex.I,
)
_GERMAN_OPENING = regex.compile(
    r" (?:Aber|Als|Am|An|Auch|Auf|Bei|Da|Danach|Dann|Das|Dabei|Damals|Darauf|Dem|Den|Denn|Der|Des|Die|"
    r"Dies\w*|Dort|Ein\w*|Er|Es|Für|Heute|Hier|Ich|Ihr\w*|Im|In|Ist|Man|Mit|Nach|Nun|Ob|Seit|Sein\w*|Sie|So|Später|"
    r"Um|Und|Von|Vor|Während|War|Was|Wenn|Wer|Wie|Wir|Wo|Zu\w?)\b"
)
_GERMAN_MONTH = regex.compile(
    r" (?:Jan|Jän|Feb|März|Mrz|Apr|Mai|Jun|Jul|Aug|Sep|Okt|Nov|Dez|Jh|Jahrhundert)\p{L}*\b"
)
# What German writes in one word with a number: 1990er, zweimal.
_GERMAN_SUFFIX = regex.compile(
    r"(?:ern?|erjahren?|st?e[nrms]?|te[nrms]?|mal|fach\p{L}*|\p{L}{3,}(?:ig|lich)(?:e[nrms]?)?|teil\p{L}*)"
    r"(?!\p{L})"
)

# The ending of an ordinal, where it is raised: 3ᵉ, 4ᵗʰ.
_RAISED = regex.compile(r"(?<=\d)[\p{Lm}&&\p{Latin}]+(?!\p{L})", regex.V1)
_TIME = regex.compile(
    r"(?<![\d.,:])(?P<hour>\d\d?):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?![.,:]?\d)"
)
_HOURS_AND_MINUTES = {
    "cmn": "点分秒",
    "yue": "點分秒",
    "kor": "시분초",
    "jpn": ("じ", "ふん", "びょう"),
}
_JAPANESE_HOURS = {4: "よ", 7: "しち", 9: "く"}
_JAPANESE_MINUTES = {
    0: "じゅっぷん", 1: "いっぷん", 2: "にふん", 3: "さんぷん", 4: "よんぷん", 5: "ごふん", 6: "ろっぷん",
    7: "ななふん", 8: "はっぷん", 9: "きゅうふん",
}  # fmt: skip
# Words beside which 8.05 is a time of day: before it, or behind it and then said between hour and minutes.
_BEFORE_TIMES = {
    "dan": r"kl\.?|klokken", "nob": r"kl\.?|klokk[ae]n?", "swe": r"kl\.?|klockan", "isl": r"kl\.?|klukkan",
    "fin": "klo|kello", "ita": "(?:al)?le|ore", "pol": r"godz\.?|godzinie",
}  # fmt: skip
_BEHIND_TIMES = {"deu": "Uhr", "nld": "uur"}

_CURRENCY = r"(?:(?<!\p{L})\p{Lu}{1,2})?[$€£¥₹₽₩]"
# Millions and the like, by how they begin in any language.
_SCALE = (
    r"(?i:(?:hundred )?thousand|tausend|duizend|tusen|tusind|mille?|mil|tisíc|tysięcy|тысяч\p{L}*|тыс|"
    r"(?:m|b|tr)il[lijyhn]*[oóaáãõu]\p{L}*|м[иі]л[льийјі]*[оаяё]\p{L}*|bn|mn|mio|mln|mld|mrd|млн|млрд|"
    r"juta|ribu|triệu|tỷ|مليونا?|ملايين|مليارا?|مليارات|ألف|آلاف|میلیون|میلیارد|هزار)(?![\p{L}-])"
)
_SCALE_UNSPACED = "[万萬億亿兆千百천백만억조]+"
_AMOUNT = regex.compile(
    rf"(?P<currency>{_CURRENCY}) ?(?P<number>\d+(?:[.,' ]\d+)*)(?P<scale> ?{_SCALE}|{_SCALE_UNSPACED})"
)
# Groups of digits that are no quantity, as of a telephone: said digit by digit from so many on.
_GROUPS_OF_DIGITS = regex.compile(
    r"(?<![\d.,\p{L}-])(?:\+\d+(?:[ -]\d+)+|0\d*(?:[ -]\d+){2,}|\d+(?:-\d+){2,})(?![-.,]?\d)"
)
_FEWEST_OF_GROUPS = 7
# … unless they are thousands or a date.
_GROUPS_ELSE = regex.compile(r"\+?[1-9]\d{0,2}(?: \d{3})+|\d{4}-\d\d?-\d\d?|\d\d?-\d\d?-\d{4}")
# What is counted by 两 and not by 二.
_COUNTED = "个個位次名种種条條家只隻张張本块塊件部场場点點人周週天"
# Duals that lose their last letter but before what they count.
_ARABIC_DUAL = regex.compile(r"(?<= |^)(ألفا|مئتا|مليونا|مليارا|تريليونا)$")

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

    Thousands are joined, digits of every script taken. "15." is an ordinal where the language writes
    so and the sentence goes on: before a lower-case letter, in German by the words around it. 1100 to
    1999 is a year where those are read in another way. A time of day is hours and minutes. A currency's
    sign goes behind its number, and behind the million.

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
    text = regex.sub(r"(?<![^ (\[])(?<!\d )–(?=\d)", "-", text)  # a dash for a minus
    text = _lists_parted(text, language)
    if knows(language):
        text = _RAISED.sub(lambda found: _ending(found[0], language), text)
        text = _times(text, language)
        text = _GROUPS_OF_DIGITS.sub(lambda found: _groups_of_digits(found[0], language), text)
        text = _AMOUNT.sub(
            lambda found: f"{found['number']}{found['scale']} {found['currency']}", text
        )
    if language in ("cmn", "yue"):
        text = regex.sub(
            rf"(?<![\d.,/第-])2(?= ?[{_COUNTED}])", "两" if language == "cmn" else "兩", text
        )
    if language == "kor":  # June and October
        text = regex.sub(
            r"(?<!\d)(0?6|10)(?=월)", lambda month: "시" if month[0] == "10" else "유", text
        )
    if _parted(language):  # 1984-85: "four-eighty" would be one number
        text = regex.sub(r"(?<=\d)-(?=\d)", " - ", text)
    spoken = _pattern(language).sub(lambda found: _spoken(found, language), text)
    if knows(language) and has_digits(spoken):  # right behind another number's mark: 1,5,3
        spoken = _pattern(language).sub(lambda found: _spoken(found, language), spoken)
    return spoken


def _lists_parted(text: str, language: str) -> str:
    """A text with a pause behind commas that neither group three digits nor are decimal marks."""
    groups = r"[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d?(?:,\d\d)+,\d{3}"
    if decimal_mark(language) == ".":
        # Of another language, and no list: an amount, a percentage.
        one = r"(?<![\d.,])(\d+)"
        text = regex.sub(rf"(?<={_CURRENCY} ?){one},(\d\d?)(?![.,]?\d)", r"\1.\2", text)
        text = regex.sub(rf"{one},(\d\d?)(?= ?[%€£])", r"\1.\2", text)
        groups += r"|0,\d+"  # no list begins with nothing: the mark of another language
        least = 1
    else:
        least = 2
    return regex.sub(
        rf"(?<!\d)\d+(?:,\d+){{{least},}}",
        lambda found: (
            found[0] if regex.fullmatch(groups, found[0]) else found[0].replace(",", ", ")
        ),
        text,
    )


def _ending(raised: str, language: str) -> str:
    """Raised letters as plain ones, where those are the ending of an ordinal: not 2ⁿ."""
    plain = unicodedata.normalize("NFKC", raised)
    return plain if regex.fullmatch(_KNOWN[language].suffixes, plain) else raised


def _groups_of_digits(groups: str, language: str) -> str:
    if len(regex.findall(r"\d", groups)) < _FEWEST_OF_GROUPS or _GROUPS_ELSE.fullmatch(groups):
        return groups
    spelled = [_digit_by_digit(one, language) for one in regex.findall(r"\d+", groups)]
    return "+ " * groups.startswith("+") + ", ".join(spelled)


def _times(text: str, language: str) -> str:
    """A text with hours parted from minutes, in words where digits would run together."""
    behind = _BEHIND_TIMES.get(language)
    if behind:  # zehn Uhr dreißig
        text = regex.sub(
            rf"(?<![\d.,:])(\d\d?)[.:]([0-5]\d) ?({behind})\b",
            lambda found: f"{found[1]} {found[3]}" + (f" {found[2]}" if int(found[2]) else ""),
            text,
        )
        if language == "deu":
            text = regex.sub(r"(?<![\d.,:])0?1(?= Uhr\b)", "ein", text)
    before = _BEFORE_TIMES.get(language)
    if before:
        time = r"\d\d?[.:][0-5]\d"
        text = regex.sub(
            rf"(?<=\b(?:{before}) (?:{time} ?(?:-|–|og|och|ja) ?)?\d\d?)\.(?=[0-5]\d(?![.,]?\d))",
            " ", text, flags=regex.I,
        )  # fmt: skip
    return _TIME.sub(lambda found: _time(found, language), text)


def _time(found: regex.Match, language: str) -> str:
    hour, minute, second = found["hour"], found["minute"], found["second"]
    if _parted(language):
        return " ".join(filter(None, [hour, minute, second]))
    if int(hour) > 24:
        return found[0]
    whole = int(minute)
    hours, minutes, seconds = _HOURS_AND_MINUTES[language]
    seconds = _in_words(int(second), language) + seconds if second and int(second) else ""
    if language == "jpn":
        tens = _in_words(int(hour) // 10 * 10, language) if int(hour) > 9 else ""
        ones = int(hour) % 10
        said = _JAPANESE_HOURS.get(ones) or (_in_words(ones, language) if ones or not tens else "")
        said = "れい" if not int(hour) else tens + said
        tens = _in_words(whole // 10 * 10, language) if whole > 9 else ""
        if whole and not whole % 10:
            tens = tens.removesuffix("じゅう")
        return f"{said}{hours}" + (tens + _JAPANESE_MINUTES[whole % 10] if whole else "") + seconds
    if language == "kor":
        said = [f"{int(hour)}{hours}", f"{whole}{minutes}" * bool(whole), seconds]
        return " ".join(filter(None, said))
    said = _in_words(int(hour), language)
    if int(hour) == 2:
        said = "两" if language == "cmn" else "兩"
    if not whole:
        return said + hours + seconds
    return f"{said}{hours}{'' if whole > 9 else '零'}{_in_words(whole, language)}{minutes}{seconds}"


@cache
def _pattern(language: str) -> regex.Pattern:
    """One number, with what stands around it and is read with it."""
    mark = decimal_mark(language)
    groups = "'" + (".," if language in _EITHER_MARK else {".": ",", ",": "."}[mark])
    # Those with a point do not group by spaces, but where spaces part no words.
    groups += " " * (mark == "," or language in ("cmn", "yue", "jpn"))
    # Elsewhere a comma is no decimal mark, but for a lone 0,5.
    fraction = r"[.,]\d+" if mark == "," else r"\.\d+|(?<=(?<!\d)0),\d+"
    words = _KNOWN.get(language)
    endings = [rf"(?:{words.suffixes})(?!\p{{L}})"] if words and words.suffixes else []
    if (words and words.ordinal_point) or language in _POINT_DROPPED:
        endings.append(r"\.(?= [^\W_])")
    return regex.compile(
        r"(?:(?P<currency>" + _CURRENCY + r") ?)?(?:(?<![^ (\[])(?P<minus>-))?(?<!\d[.,]?)"
        r"(?:(?:(?P<whole>"
        rf"[1-9]\d{{0,2}}(?P<group>[{groups}])\d{{3}}(?:(?P=group)\d{{3}})*|"
        r"[1-9]\d{0,2}(?P<twice>[.,])\d{3}(?:(?P=twice)\d{3})+|"
        r"[1-9]\d?(?:,\d\d)+,\d{3}"
        r")(?P<part>[.,]\d+)?(?![.,]?\d))|"
        r"(?P<sequence>\d+(?:\.\d+){2,})(?!\d)|"
        rf"(?P<integer>\d+)(?P<fraction>{fraction})?(?!\d))"
        rf"(?P<ordinal>{'|'.join(endings) or '(?!)'})?"
    )


def _spoken(found: regex.Match, language: str) -> str:
    before = found.string[found.start() - 1 : found.start()] if found.start() else ""
    after = found.string[found.end() : found.end() + 1]
    suffix, stop = found["ordinal"] or "", ""
    if found["sequence"]:  # a date, a version
        numbers = [_number(one, "", language, plain=True) for one in found["sequence"].split(".")]
        number = (" " if _parted(language) else ".").join(numbers)
    elif found["whole"]:
        whole = regex.sub(r"\D", "", found["whole"])
        number = _number(whole, (found["part"] or "")[1:], language)
    else:
        plural = suffix.endswith("s") and language == "eng"  # the 1990s
        ordinal = bool(suffix) and not found["fraction"] and not plural
        integer = found["integer"]
        if ordinal and suffix == ".":
            ordinal, stop = _before_point(found, language)
            if ordinal and len(integer) == 2:  # 05. Mai
                integer = integer.removeprefix("0")
        number = _number(
            integer, (found["fraction"] or "")[1:], language, ordinal=ordinal,
            plain=not found["currency"] and len(integer) == 4, followed_by=after,
        )  # fmt: skip
        if ordinal:
            number = _inflected(number, integer, suffix, language)
        if plural:
            number = number.removesuffix("y") + ("ies" if number.endswith("y") else "s")
        elif (
            ordinal and language == "deu" and _GERMAN_OBLIQUE.search(found.string[: found.start()])
        ):
            number += "n"
    if found["ordinal"] and (found["sequence"] or found["whole"] or found["fraction"]):
        stop = suffix
    if found["minus"]:
        number = _minus(language) + number
    if found["currency"]:
        number += f" {found['currency']}"
    if _parted(language):
        number = " " * before.isalpha() + number
        glued = language == "deu" and _GERMAN_SUFFIX.match(found.string, found.end())
        number += " " * (after.isalpha() and not glued and not stop)
    return number + stop


def _before_point(found: regex.Match, language: str) -> tuple[bool, str]:
    """Whether a number with a point before a word is an ordinal; and the full stop, if it is one."""
    before, after = found.string[: found.start()], found.string[found.end() :]
    short = len(found["integer"]) < 4
    if after[1].islower():  # the sentence goes on
        return short, ""
    if after[1].isdigit():  # 15. 5. 2010
        date = regex.match(r" \d\d?\. ", after) or (
            regex.match(r" \d{4}\b", after) and regex.search(r"(?<!\d)\d\d?\. \Z", before)
        )
        return (short, "") if short and date else (False, ".")
    if language == "deu" and short:
        if _GERMAN_MONTH.match(after):
            return True, ""
        if _GERMAN_DETERMINER.search(before):
            return True, "." if _GERMAN_OPENING.match(after) else ""
    return False, "."


def _inflected(ordinal: str, digits: str, suffix: str, language: str) -> str:
    """An ordinal in the form that its suffix tells."""
    suffix = suffix.lstrip(".-")
    if language == "fra":
        if digits == "2" and "d" in suffix:
            return "seconde" if "e" in suffix else "second"
        return "première" if ordinal == "premier" and "re" in suffix else ordinal
    if language in ("spa", "por", "ita") and suffix[-1] in "aª":
        return regex.sub(r"o\b", "a", ordinal)
    if language == "spa" and suffix == "er":
        return regex.sub(r"(?<=primer|tercer)o$", "", ordinal)
    if language == "cat" and suffix == "a":
        return ordinal.removesuffix("è") + ("ena" if ordinal.endswith("è") else "a")
    if suffix == "х" and digits in _OF_SOME.get(language, ()):
        return _OF_SOME[language][digits]
    if language == "rus" and len(digits) < 10:
        from num2words import num2words

        if suffix == "е" and digits.endswith("0"):  # the nineties
            suffix = "ые"
        return num2words(int(digits), lang="ru", to="ordinal", **_RUSSIAN[suffix])
    if language == "ukr" and ordinal[-2:] in ("ий", "ій"):
        ending = suffix if suffix in _UKRAINIAN else suffix[1:]
        return ordinal[:-2] + _UKRAINIAN[ending][ordinal.endswith("ій")]
    return ordinal


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
    if (whole.startswith("0") and len(whole) > 1) or len(whole) > words.most_digits:
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
    for one in (kind, "cardinal"):
        try:
            words = _in_words(int(whole), language, one)
        except (
            Exception
        ):  # it raises what comes: OverflowError, KeyError, IndexError, NotImplementedError
            continue
        if words and not has_digits(words):
            return words
    return _digit_by_digit(whole, language)


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
    if language in _THOUSAND_WITHOUT_ONE and number > 1000:
        base = max(one for one in (10**3, 10**6, 10**9, 10**12) if one <= number)
        head, rest = divmod(number, base)
        if rest or base == 1000:
            whole = [head, base] if base == 1000 and head > 1 else [head * base]
            parts = [_in_words(one, language) for one in (*whole, rest) if one]
            return _THOUSAND_WITHOUT_ONE[language].join(parts)
    words = num2words(number, lang=_KNOWN[language].code, to=kind)
    if language == "arb":
        words = _ARABIC_DUAL.sub(r"\1ن", words)
    words = unicodedata.normalize("NFC", words)
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
