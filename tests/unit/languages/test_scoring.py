"""Text as it is scored, and the character error rate against an edit distance of its own."""

import doctest
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steplens.languages import error_rate
from steplens.languages.error_rate import character_edits, character_error_rate, plain_text
from steplens.speech import checks


def slow_edits(one, other):
    """Levenshtein's distance by its recurrence, a row at a time."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        above, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (a != b))
    return row[-1]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Das  ist — gut!", "das ist gut"),
        ("  „Ja“, sagte er;\t(leise)…\n", "ja sagte er leise"),
        ("l'eau, l’eau", "leau leau"),
        ("oʻzbek o‘zbek o'zbek", "ozbek ozbek ozbek"),
        ("rock 'n' roll", "rock n roll"),
        ("deutsch-französisch", "deutschfranzösisch"),
        ("well\u2010known well\u2011known", "wellknown wellknown"),
        ("er kam - sie ging – heim", "er kam sie ging heim"),
        ("5 % von 3.500 €", "5 von 3 500"),
        ("他 去 银 行。", "他去银行"),
        ("他 去 3 家 New York 的 银 行", "他去3家new york的银行"),
        ("コー ヒー・カップ、です", "コーヒーカップです"),
        ("สวัสดี ครับ", "สวัสดีครับ"),
        ("안녕 하세요.", "안녕 하세요"),
        ("ＡＢＣ１２３　ｶﾞｽ", "abc123ガス"),
        ("Stra\u00dfe STRASSE", "strasse strasse"),
        ("Stra\u00adße", "strasse"),  # a soft hyphen
        ("می\u200cخواهم", "میخواهم"),  # a joiner
        ("cafe\u0301", "caf\u00e9"),
        ("ΐ", "\u0390"),  # folding alone would leave three characters
        ("प्रेम है।", "प्रेम है"),
        ("— … !", ""),
        ("", ""),
    ],
)
def test_only_what_is_spoken_is_scored(text, plain):
    assert plain_text(text) == plain


@given(st.text("aẞİ ’-–,.\t\n\u200b\u3000銀ｶﾞไ1½", max_size=30))
def test_plain_text_has_single_spaces_and_none_at_its_ends(text):
    plain = plain_text(text)
    assert plain == " ".join(plain.split())


@pytest.mark.parametrize(
    ("reference", "hypothesis"),
    [
        ("die straße ist groß", "Die STRASSE ist gross."),
        ("他 去 3 银 行", "他去3银行。"),
        ("l'eau est là", "L’eau est là !"),
        ("ｶﾞｽ", "ガス"),
        ("ıstanbul", "ıstanbul"),
    ],
)
def test_ways_to_write_the_same_words_are_no_error(reference, hypothesis):
    assert character_error_rate(reference, hypothesis) == 0
    assert character_error_rate(hypothesis, reference) == 0


letters = st.text("abc äß銀行", max_size=25)


@given(letters, letters)
def test_the_error_rate_is_the_edit_distance_over_the_reference(reference, hypothesis):
    one, other = plain_text(reference), plain_text(hypothesis)
    assert character_edits(reference, hypothesis) == (slow_edits(one, other), len(one))
    if one:
        expected = slow_edits(one, other) / len(one)
        assert character_error_rate(reference, hypothesis) == expected


def test_the_error_rate_may_exceed_one():
    assert character_error_rate("ja", "ja ja ja ja") == 4.5


def test_nothing_recognised_is_all_wrong():
    assert character_error_rate("gut", "") == 1
    assert character_edits("gut", "...") == (3, 3)


@pytest.mark.parametrize("reference", ["", "…", " "])
def test_without_a_reference_there_is_no_rate(reference):
    """Its characters are none, and what was recognised are insertions."""
    assert math.isnan(character_error_rate(reference, "ja"))
    assert character_edits(reference, "ja") == (2, 0)


@pytest.mark.parametrize("module", [error_rate, checks], ids=lambda one: one.__name__)
def test_the_examples_hold(module):
    assert doctest.testmod(module).failed == 0
