"""What was probably meant by a mistyped word."""

import csv
import unicodedata
from collections.abc import Collection, Iterable
from functools import cache

from steplens.languages.table import TABLE, load_languages

NAMES = TABLE.with_name("language_names.tsv")
_MOST_LETTERS = 40  # of a word that is compared: anything longer is no typing error


def edit_distance(one: str, other: str) -> int:
    """Insertions, deletions, substitutions and swaps of neighbours between two words, no letter twice.

    The optimal string alignment distance (Damerau 1964, as restricted by Oommen and Loke 1997). rapidfuzz
    has it too, but every job reads the configuration, also those of environments without rapidfuzz.

    Examples
    --------
    >>> edit_distance("jnp", "jpn"), edit_distance("jnp", "npi")
    (1, 2)
    """
    before_last: list[int] = []
    last = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, mate in enumerate(other, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != mate))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == mate:
                cost = min(cost, before_last[j - 2] + 1)
            row.append(cost)
        before_last, last = last, row
    return last[-1]


def nearest(word: str, known: Iterable[str], preferred: Collection[str] = ()) -> str | None:
    """The known word that lies a typing error from ``word``, or None.

    Parameters
    ----------
    word : str
    known : iterable of str
        Of equally near ones the first is taken, after those of ``preferred``, and of these a swap of two
        letters before another letter.
    preferred : collection of str

    Returns
    -------
    str or None
        At most one error up to seven letters, and one more for every further four.
    """
    typed = plain(word)
    if not typed or len(typed) > _MOST_LETTERS:
        return None
    most = max(1, len(typed) // 4)

    def order(one: str) -> tuple[int, bool, bool]:
        candidate = plain(one)
        return (
            edit_distance(typed, candidate),
            one not in preferred,
            sorted(typed) != sorted(candidate),
        )

    near = [one for one in dict.fromkeys(known) if abs(len(plain(one)) - len(typed)) <= most]
    found = min(near, key=order, default=None)
    return found if found is not None and order(found)[0] <= most else None


def plain(word: str) -> str:
    """Without case and accents, as words are compared."""
    letters = unicodedata.normalize("NFKD", word[: 4 * _MOST_LETTERS]).casefold()
    return "".join(one for one in letters if not unicodedata.combining(one))


@cache
def _names() -> dict[str, str]:
    """Other names of languages, plain, to their codes; the first language of the table keeps a shared one."""
    with NAMES.open(encoding="utf-8", newline="") as file:
        other = {row["code"]: row for row in csv.DictReader(file, delimiter="\t")}
    found: dict[str, str] = {}
    for code, language in load_languages().items():
        row = other.get(code, {})
        for name in (
            code,
            language.name,
            row.get("own_name", ""),
            row.get("iso_639_1", ""),
            *row.get("also_called", "").split(", "),
            language.fleurs,
            language.xtts,
            language.espeak,
        ):
            if name:
                found.setdefault(plain(name), code)
    return found


def nearest_language(word: str, preferred: Collection[str] = ()) -> str | None:
    """The code of the language that was probably meant, or None.

    By its English or own name, another code of it (ISO 639-1, ISO 639-2, those of FLEURS and the speech
    engines, with or without a country), or else the code or the name that lies a typing error away.

    Parameters
    ----------
    word : str
    preferred : collection of str
        Codes that come first among the equally near: the languages of the model.

    Examples
    --------
    >>> [nearest_language(word) for word in ("zh", "mandarin", "Deutsch", "jnp", "pt_BR")]
    ['cmn', 'cmn', 'deu', 'jpn', 'por']
    """
    names = _names()
    typed = plain(word).strip()
    for form in (typed, typed.replace("_", "-"), typed.replace("_", "-").partition("-")[0]):
        if form in names:
            return names[form]
    code = nearest(typed, load_languages(), preferred)
    if code is not None:
        return code
    # Of names alone, no short codes: these lie near everything.
    meant = {name: code for name, code in names.items() if len(name) > 3}
    name = nearest(typed, meant, {name for name, code in meant.items() if code in preferred})
    return meant.get(name) if name else None
