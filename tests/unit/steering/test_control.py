"""Tokens are counted by script in every writing system; rates pool them (D10, D11)."""

import itertools
import math
import unicodedata
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steplens.control import control_rate, count_script_tokens, effect_ratios
from steplens.languages.table import load_languages
from steplens.languages.writing_systems import Tokens

SCRIPTS = sorted({language.script for language in load_languages().values()})
PAIRS = list(itertools.combinations(SCRIPTS, 2))

# How the Unicode names of a script's characters begin.
NAMES = {
    **{script: (f"{script.upper()} ",) for script in SCRIPTS},
    "CJK": ("CJK UNIFIED IDEOGRAPH", "CJK COMPATIBILITY IDEOGRAPH", "HIRAGANA ", "KATAKANA "),
}
# What parts no word, beside marks: for all scripts, and for one.
CARRIED = "\u200c\u200d\u00ad\u2060\u200e\u02bb"
CARRIED_BY = {"Arabic": "\u0640", "Armenian": "՚՛՜՞", "Hebrew": "׳"}
OTHERS = " \n0٣१,.;!?'’-„、。ー〇Ⅷ½€\u200b\u0301" + CARRIED + "".join(CARRIED_BY.values())


def characters(script):
    """Some 400 letters, marks, digits and punctuation of a script, by their names."""
    found = [one for one in map(chr, range(0x10000)) if named(one, script)]
    return found[:: max(1, len(found) // 400)]


def named(character, script):
    """By their names alone, the Arabic tatweel and the Greek numeral sign belong to one script."""
    if character in "\u0640\u0374":
        return False
    return unicodedata.name(character, "").startswith(NAMES[script])


CHARACTERS = {script: characters(script) for script in SCRIPTS}


def slow_count(text, script):
    """Read letter by letter: a letter of the script opens a token unless it carries one on."""
    tokens, inside = 0, False
    for character in text:
        category = unicodedata.category(character)
        if category.startswith("L") and named(character, script):
            tokens += script == "CJK" or not inside
            inside = True
        elif not (category.startswith("M") or character in CARRIED + CARRIED_BY.get(script, "")):
            inside = False
    return tokens


@pytest.mark.parametrize("script", SCRIPTS)
def test_counts_equal_a_reading_letter_by_letter(script):
    """Texts of the script, of two others and of what stands between words."""
    generator = np.random.default_rng(SCRIPTS.index(script))
    for _ in range(60):
        others = generator.choice([one for one in SCRIPTS if one != script], 2).tolist()
        pools = [CHARACTERS[one] for one in (script, script, *others)] + [list(OTHERS)]
        chosen = generator.integers(0, len(pools), generator.integers(0, 40))
        text = "".join(str(generator.choice(pools[one])) for one in chosen)
        for one in (script, *others):
            assert count_script_tokens(text, one) == slow_count(text, one), repr(text)


def slow_characters(text, script):
    """Every letter of the script, as Unicode composes them."""
    return sum(
        unicodedata.category(character).startswith("L") and named(character, script)
        for character in unicodedata.normalize("NFC", text)
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_characters_are_letters_one_by_one(script):
    """By their names and categories alone; marks, digits and punctuation count for nothing."""
    generator = np.random.default_rng(100 + SCRIPTS.index(script))
    other = SCRIPTS[SCRIPTS.index(script) - 1]
    for _ in range(60):
        pools = [CHARACTERS[script], CHARACTERS[other], list(OTHERS)]
        chosen = generator.integers(0, len(pools), generator.integers(0, 40))
        text = "".join(str(generator.choice(pools[one])) for one in chosen)
        counts = {one: slow_characters(text, one) for one in (script, other)}
        for one, expected in counts.items():
            assert count_script_tokens(text, one, "characters") == expected, repr(text)
        total = sum(counts.values())
        rate = counts[script] / total if total else math.nan
        found = control_rate([text], script, other, tokens="characters")
        assert found == pytest.approx(rate, nan_ok=True)


@pytest.mark.parametrize(
    ("text", "script", "n_runs", "n_characters"),
    [
        ("das ist gut", "Latin", 3, 9),
        ("cafe\u0301 e\u0301te\u0301", "Latin", 2, 7),
        ("日本語です", "CJK", 5, 5),
        ("かﾞが", "CJK", 2, 2),
        ("हिन्दी में", "Devanagari", 2, 4),
        ("한국어 좋아", "Hangul", 2, 5),
        ("don't l'été", "Latin", 4, 8),
    ],
)
def test_two_ways_to_count_a_text(text, script, n_runs, n_characters):
    """Composed and decomposed alike."""
    for form in ("NFC", "NFD"):
        written = unicodedata.normalize(form, text)
        assert count_script_tokens(written, script) == n_runs
        assert count_script_tokens(written, script, "characters") == n_characters


@settings(max_examples=40, deadline=None)
@given(st.text(st.sampled_from([*OTHERS, *(c for one in CHARACTERS.values() for c in one)])))
def test_there_are_at_least_as_many_characters_as_runs(text):
    for script in SCRIPTS:
        runs, letters = (count_script_tokens(text, script, kind) for kind in get_args(Tokens))
        assert (runs == letters) if script == "CJK" else (runs <= letters)


def test_tokens_of_another_name_are_refused():
    with pytest.raises(ValueError, match="tokens: expected script_runs or characters, got 'words'"):
        control_rate(["a"], "CJK", "Latin", tokens="words")


@st.composite
def mixed_texts(draw):
    """Words of several scripts with something or nothing between them."""
    words = st.sampled_from(SCRIPTS).flatmap(
        lambda script: st.text(st.sampled_from(CHARACTERS[script]), min_size=1, max_size=6)
    )
    parts = draw(st.lists(st.one_of(words, st.text(OTHERS, max_size=2)), max_size=12))
    return "".join(parts)


@settings(max_examples=15, deadline=None)
@given(st.lists(mixed_texts(), max_size=3))
def test_rates_of_a_pair_and_of_its_reverse_add_up_to_one(texts):
    for one, other in PAIRS:
        there, back = control_rate(texts, one, other), control_rate(texts, other, one)
        if math.isnan(there):
            assert math.isnan(back)
        else:
            assert 0 <= there <= 1
            assert there + back == pytest.approx(1, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(mixed_texts())
def test_composed_and_decomposed_text_count_alike(text):
    for script in SCRIPTS:
        counts = {
            count_script_tokens(unicodedata.normalize(form, text), script)
            for form in ("NFC", "NFD")
        }
        assert counts == {count_script_tokens(text, script)}, (script, text)


@settings(max_examples=15, deadline=None)
@given(mixed_texts(), mixed_texts())
def test_two_texts_pool_like_one_text_of_both(first, second):
    for one, other in PAIRS:
        apart = control_rate([first, second], one, other)
        assert apart == pytest.approx(
            control_rate([f"{first} {second}"], one, other), nan_ok=True, abs=1e-12
        )


@pytest.mark.parametrize("script", SCRIPTS)
def test_nothing_but_letters_counts(script):
    """All digits, marks, punctuation, signs and formatting of Unicode."""
    text = "".join(
        character
        for character in map(chr, range(0x20000))
        if unicodedata.category(character)[0] not in "LC" or character in CARRIED
    )
    assert count_script_tokens(text, script) == 0


@pytest.mark.parametrize(
    ("text", "script", "n_tokens"),
    [
        ("Das ist gut", "Latin", 3),
        ("l'été vient", "Latin", 3),
        (unicodedata.normalize("NFD", "l'été vient"), "Latin", 3),
        ("das本ist", "Latin", 2),
        ("Привет, мир!", "Cyrillic", 2),
        ("हिन्दी में", "Devanagari", 2),
        ("كِتَابٌ جديد", "Arabic", 2),
        ("안녕 세계", "Hangul", 2),
        (unicodedata.normalize("NFD", "안녕 세계"), "Hangul", 2),
        ("ラーメン", "CJK", 3),
        ("銀行に行く", "CJK", 5),
        ("カタカナ", "CJK", 4),
        (unicodedata.normalize("NFD", "がぎぐ"), "CJK", 3),
        ("銀行に行く", "Han", 3),
        ("銀行に行く", "Hiragana", 2),
        ("12 34, … ! — '", "Latin", 0),
        ("3 、。！１２", "CJK", 0),
        ("१२ । ॥", "Devanagari", 0),
        ("٣٤ ، ؟", "Arabic", 0),
        ("", "Latin", 0),
        # Vowel signs, viramas and points are parts of words.
        ("বাংলা ভাষা", "Bengali", 2),
        ("ਪੰਜਾਬੀ ਬੋਲੀ", "Gurmukhi", 2),
        ("ગુજરાતી ભાષા", "Gujarati", 2),
        ("ଓଡ଼ିଆ ଭାଷା", "Oriya", 2),
        ("தமிழ் மொழி", "Tamil", 2),
        ("తెలుగు భాష", "Telugu", 2),
        ("ಕನ್ನಡ ಭಾಷೆ", "Kannada", 2),
        ("മലയാളം ഭാഷ", "Malayalam", 2),
        ("שָׁלוֹם עוֹלָם", "Hebrew", 2),
        # So are joiners: without them these words would fall apart.
        ("क्\u200dष र्\u200dय", "Devanagari", 2),
        ("می\u200cروند کتاب\u200cها", "Arabic", 2),
        ("ശ്രീ അവന്\u200d", "Malayalam", 2),
        ("un\u00adsicht\u00adbar", "Latin", 1),
        # Letters that scripts share, and signs that are written inside words.
        ("كتـــاب جـديد", "Arabic", 2),
        ("ـــ", "Arabic", 0),
        ("o\u02bbquvchi g\u02bboya", "Latin", 2),
        ("здоров\u02bcя", "Cyrillic", 1),
        ("ինչո՞ւ, ո՛չ", "Armenian", 2),
        ("ג׳ירפה", "Hebrew", 1),
        # Unsegmented scripts: runs between spaces, not words (D10).
        ("ภาษาไทยง่าย ที่นี่", "Thai", 2),
        ("ພາສາລາວ ນີ້", "Lao", 2),
        ("ភាសាខ្មែរ\u200bនេះ ល្អ", "Khmer", 3),
        ("မြန်မာဘာသာ စကား", "Myanmar", 2),
        ("ሰላም፡ለዓለም።", "Ethiopic", 2),
        ("ქართული ᲔᲜᲐ", "Georgian", 2),
        ("Հայերեն լեզու", "Armenian", 2),
        ("Ὁ λόγος τῆς Ἑλλάδος", "Greek", 4),
        (unicodedata.normalize("NFD", "Ὁ λόγος τῆς Ἑλλάδος"), "Greek", 4),
        (unicodedata.normalize("NFD", "чайный ёж"), "Cyrillic", 2),
    ],
)
def test_runs_of_letters_count_once_and_han_and_kana_one_by_one(text, script, n_tokens):
    assert count_script_tokens(text, script) == n_tokens


def test_one_text_in_place_of_a_list_is_refused():
    with pytest.raises(ValueError, match=r"texts: expected a list of texts, got one text"):
        control_rate("das ist 本", "CJK", "Latin")


def test_tokens_of_another_name_are_refused_without_a_text_too():
    with pytest.raises(
        ValueError, match="tokens: expected script_runs or characters, got 'letters'"
    ):
        control_rate([], "CJK", "Latin", "letters")


def test_the_example_of_the_documentation():
    assert control_rate(["das ist 本"], "CJK", "Latin") == 1 / 3


@pytest.mark.parametrize(
    ("target", "other", "text", "rate"),
    [
        ("Cyrillic", "Latin", "das Haus и дом стоит", 3 / 5),
        ("Devanagari", "Latin", "my घर", 1 / 2),
        ("Arabic", "CJK", "本本本 كتاب", 1 / 4),
        ("Hangul", "Latin", "집 집 집", 1.0),
        ("Latin", "CJK", "日本", 0.0),
    ],
)
def test_other_scripts_than_the_two_do_not_count(target, other, text, rate):
    assert control_rate([text + " ქართული ไทย 42"], target, other) == pytest.approx(rate)


def test_tokens_are_pooled_over_texts_and_rates_not_averaged():
    """Rates 1 and 1/4 average to 0.625; pooled, two of five tokens are Chinese characters."""
    assert control_rate(["本", "本 a b c"], "CJK", "Latin") == 2 / 5


def test_a_text_without_a_token_changes_nothing():
    assert control_rate(["本 a", "", "12 !", "дом"], "CJK", "Latin") == 1 / 2


@pytest.mark.parametrize("texts", [[], [""], ["12 … !"], ["дом"]])
def test_without_a_token_in_either_script_the_rate_is_nan(texts):
    assert math.isnan(control_rate(texts, "CJK", "Latin"))


@pytest.mark.parametrize(
    ("target", "other", "message"),
    [
        ("Latin", "Latin", "two different scripts, got 'Latin' twice"),
        ("Klingon", "Latin", "expected a Unicode script .* got 'Klingon'"),
        ("Latin", "", "expected a Unicode script .* got ''"),
        ("Common", "Latin", "expected a Unicode script .* got 'Common'"),
        ("Latin", "Inherited", "expected a Unicode script .* got 'Inherited'"),
        ("Latin", "latin", "without a letter in common, got 'Latin' and 'latin'"),
        ("Latn", "Latin", "without a letter in common, got 'Latn' and 'Latin'"),
        ("CJK", "Han", "without a letter in common, got 'CJK' and 'Han'"),
        ("Katakana", "CJK", "without a letter in common, got 'Katakana' and 'CJK'"),
    ],
)
def test_unknown_and_equal_scripts_are_refused(target, other, message):
    with pytest.raises(ValueError, match=message):
        control_rate(["a"], target, other)


@pytest.mark.parametrize(
    ("name", "alias", "text"),
    [("Latin", "latin", "ein Wort"), ("Cyrillic", "Cyrl", "и слово"), ("CJK", "cjk", "日本"),
     ("Han", "HAN", "日本"), ("Hiragana", "Hira", "ひらがな")],
)  # fmt: skip
def test_scripts_go_by_any_of_their_names(name, alias, text):
    assert count_script_tokens(text, alias) == count_script_tokens(text, name) >= 2


def rates(*rows):
    return pd.DataFrame(rows, columns=["source", "target", "step", "task", "rate"])


def test_ratio_is_tr_over_asr_of_each_pair_and_step():
    generator = np.random.default_rng(1)
    pairs = [(s, t, step) for step in (1, 6) for s, t in [("deu", "jpn"), ("jpn", "deu")]]
    frame = rates(*[(*p, task, generator.uniform(0.2, 1)) for p in pairs for task in ("tr", "asr")])
    found = effect_ratios(frame)
    assert list(found.columns) == ["source", "target", "step", "asr", "tr", "ratio"]
    assert found.index.tolist() == list(range(4))
    for row in found.itertuples():
        one = frame[(frame.source == row.source) & (frame.target == row.target)]
        rate = one[one.step == row.step].set_index("task")["rate"]
        assert (row.asr, row.tr) == (rate["asr"], rate["tr"])
        assert row.ratio == pytest.approx(rate["tr"] / rate["asr"], rel=1e-15)


def test_pairs_below_the_threshold_are_left_out_and_those_at_it_kept():
    frame = rates(
        ("deu", "jpn", 1, "asr", 0.10), ("deu", "jpn", 1, "tr", 0.05),
        ("fra", "jpn", 1, "asr", 0.0999), ("fra", "jpn", 1, "tr", 0.05),
    )  # fmt: skip
    assert effect_ratios(frame)["source"].tolist() == ["deu"]
    assert effect_ratios(frame)["ratio"].tolist() == [0.5]
    assert effect_ratios(frame, min_source_rate=0.05)["source"].tolist() == ["deu", "fra"]


@pytest.mark.parametrize(
    "rows",
    [
        [("deu", "jpn", 1, "asr", 0.5)],
        [("deu", "jpn", 1, "tr", 0.5)],
        [("deu", "jpn", 1, "asr", 0.5), ("deu", "jpn", 6, "tr", 0.5)],
        [("deu", "jpn", 1, "asr", 0.5), ("deu", "jpn", 1, "tr", np.nan)],
        [("deu", "jpn", 1, "asr", np.nan), ("deu", "jpn", 1, "tr", 0.5)],
        [],
    ],
)
def test_pairs_without_both_rates_are_left_out(rows):
    found = effect_ratios(rates(*rows))
    assert list(found.columns) == ["source", "target", "step", "asr", "tr", "ratio"]
    assert found.empty


def test_rows_are_sorted_by_step_and_pairs_stay_as_they_came():
    pairs = [("spa", "jpn", 6), ("deu", "cmn", 6), ("spa", "jpn", 1), ("deu", "cmn", 1)]
    found = effect_ratios(rates(*[(*pair, task, 0.5) for pair in pairs for task in ("asr", "tr")]))
    assert list(found[["source", "step"]].itertuples(index=False, name=None)) == [
        ("spa", 1), ("deu", 1), ("spa", 6), ("deu", 6),
    ]  # fmt: skip


def test_other_tasks_and_columns_are_left_aside():
    frame = rates(
        ("deu", "jpn", 1, "asr", 0.5), ("deu", "jpn", 1, "tr", 0.4), ("deu", "jpn", 1, "s2t", 0.9)
    ).assign(control="steered")
    assert effect_ratios(frame)["ratio"].tolist() == [0.8]


def test_a_condition_that_stands_twice_is_refused():
    frame = rates(("deu", "jpn", 1, "asr", 0.5), ("deu", "jpn", 1, "asr", 0.6))
    with pytest.raises(ValueError, match=r"one row a condition, got two for .*'deu'.*'asr'"):
        effect_ratios(frame)


def test_a_missing_column_is_refused():
    with pytest.raises(ValueError, match=r"no \['step', 'rate'\]"):
        effect_ratios(rates().drop(columns=["step", "rate"]))
