"""Tokens by script, for every script of Unicode, against another library's table of scripts (D10)."""

import collections
import itertools
import unicodedata

import pytest
from fontTools.unicodedata import script, script_name
from hypothesis import given
from hypothesis import strategies as st
from property_settings import examples

from steplens.control import control_rate, count_script_tokens
from steplens.languages.writing_systems import CJK_SCRIPTS, letter_pattern, share_letters


def _letters():
    """Letters of every script in the order of their codes; those of several scripts left out."""
    found = collections.defaultdict(list)
    for code in range(0x110000):
        character = chr(code)
        if unicodedata.category(character).startswith("L"):
            found[script_name(script(character)).replace(" ", "_")].append(character)
    for shared in ("Common", "Inherited", "Unknown"):
        found.pop(shared, None)
    return dict(found)


LETTERS = _letters()
SCRIPTS = sorted(LETTERS)
# The first, the last and some between: planes beyond the first (Adlam, Gothic) included.
SAMPLES = {name: every[:: max(1, len(every) // 25)] + every[-1:] for name, every in LETTERS.items()}
MARKS = (
    "\u0301\u0308\u064b\u093f\u0e31\u3099\U0001e944"  # accents and vowel signs of several scripts
)
JOINERS = "\u200c\u200d"
BREAKS = " \n0٣१𝟗.,;!?-„、。₤€😀\u200b\ue000"


def is_single(name):
    return name in CJK_SCRIPTS


def test_the_table_holds_what_is_meant():
    assert len(SCRIPTS) > 150
    assert {"Latin", "Han", "Hiragana", "Katakana", "Gothic", "Adlam", "Osage", "Thai"} <= {
        *SCRIPTS
    }
    assert all(ord(letter) > 0xFFFF for letter in LETTERS["Adlam"] + LETTERS["Gothic"])


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_counts_all_letters_of_its_own_and_none_of_another(name):
    own = LETTERS[name]
    assert count_script_tokens(" ".join(own), name) == len(own)
    # In one run, too: one token, or one a character where words are not spelled with letters.
    in_cjk = "CJK" if is_single(name) else name
    assert count_script_tokens("".join(own), in_cjk) == (len(own) if is_single(name) else 1)
    others = " ".join(letter for other in SCRIPTS if other != name for letter in SAMPLES[other])
    assert count_script_tokens(others, name) == 0


def test_every_letter_of_unicode_belongs_to_its_script_alone():
    """All letters, not a sample: as many match as the script has."""
    everything = "".join(letter for every in LETTERS.values() for letter in every)
    for name, own in LETTERS.items():
        assert len(letter_pattern(name).findall(everything)) == len(own)
    assert len(letter_pattern("CJK").findall(everything)) == sum(
        len(LETTERS[name]) for name in CJK_SCRIPTS
    )


def test_scripts_share_letters_with_themselves_and_with_cjk_alone():
    for name in SCRIPTS:
        assert share_letters(name, name)
        assert share_letters(name, "CJK") == is_single(name)
    for one, other in itertools.pairwise(SCRIPTS):
        assert not share_letters(one, other)


@pytest.mark.parametrize("name", ["Common", "Inherited", "Zyyy", "Klingon", "", "Latin}", r"\w"])
def test_what_has_no_letters_of_its_own_is_refused(name):
    with pytest.raises(ValueError, match="expected a Unicode script"):
        count_script_tokens("abc", name)


@st.composite
def texts(draw):
    """Letters of a few scripts, with marks, joiners, and what parts words, in any order."""
    names = draw(st.lists(st.sampled_from(SCRIPTS), min_size=1, max_size=3))
    names += draw(st.sampled_from([[], ["Han", "Hiragana"], ["Latin", "Katakana"]]))
    pools = [SAMPLES[name] for name in names] + [MARKS, JOINERS, BREAKS]
    chosen = draw(st.lists(st.tuples(st.sampled_from(pools), st.integers(0, 10**6)), max_size=30))
    return names, "".join(pool[place % len(pool)] for pool, place in chosen)


def slow_count(text, names, single):
    """Character by character: a letter opens a token, or goes on with the one before."""
    tokens, inside = 0, False
    for character in text:
        category = unicodedata.category(character)
        if category.startswith("L"):
            own = script_name(script(character)).replace(" ", "_") in names
            tokens += own and (single or not inside)
            inside = own
        elif not (category.startswith("M") or character in JOINERS):
            inside = False
    return tokens


@examples(150)
@given(texts())
def test_mixed_texts_count_as_read_character_by_character(drawn):
    names, text = drawn
    for name in {*names, "Latin"}:
        if is_single(name):
            continue
        assert count_script_tokens(text, name) == slow_count(text, {name}, single=False)
    assert count_script_tokens(text, "CJK") == slow_count(text, {*CJK_SCRIPTS}, single=True)


@examples(60)
@given(st.lists(texts(), max_size=3))
def test_a_rate_is_the_share_of_pooled_tokens(drawn):
    written = [text for _, text in drawn]
    for name in ("Latin", "Thai", "Adlam"):
        target = sum(slow_count(text, {*CJK_SCRIPTS}, True) for text in written)
        other = sum(slow_count(text, {name}, False) for text in written)
        expected = target / (target + other) if target + other else float("nan")
        assert control_rate(written, "CJK", name) == pytest.approx(expected, nan_ok=True)
