"""Tokens are counted by script in every writing system; rates pool them (D10, D11)."""

import math
import unicodedata

import numpy as np
import pandas as pd
import pytest

from steplens.control import control_rate, count_script_tokens, effect_ratios

# How the Unicode names of a script's letters begin.
NAMES = {
    "Latin": ("LATIN ",),
    "Cyrillic": ("CYRILLIC ",),
    "Devanagari": ("DEVANAGARI LETTER",),
    "Arabic": ("ARABIC LETTER",),
    "Hangul": ("HANGUL ",),
    "CJK": ("CJK UNIFIED IDEOGRAPH", "HIRAGANA LETTER", "KATAKANA LETTER"),
}


def slow_count(text, script):
    """Read letter by letter: a letter of the script opens a token unless it carries one on."""
    tokens, inside = 0, False
    for character in text:
        if unicodedata.category(character).startswith("M"):
            continue  # a mark belongs to what stands before it
        member = unicodedata.name(character, "").startswith(NAMES[script])
        tokens += member and (script == "CJK" or not inside)
        inside = member
    return tokens


@pytest.mark.parametrize("script", list(NAMES))
@pytest.mark.parametrize("seed", range(3))
def test_counts_equal_a_reading_letter_by_letter(script, seed):
    letters = "abé zß ,.!1 жЯй хинकखगहिन्दी١ءبتك 한국말 日本語文字ひらがカタ 、。१٣-'"
    pool = [*letters, "\u0301", "\u0651"]
    generator = np.random.default_rng(seed)
    for _ in range(200):
        text = "".join(generator.choice(pool, generator.integers(0, 25)))
        assert count_script_tokens(text, script) == slow_count(text, script), repr(text)


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
    ],
)
def test_runs_of_letters_count_once_and_han_and_kana_one_by_one(text, script, n_tokens):
    assert count_script_tokens(text, script) == n_tokens


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
    ],
)
def test_unknown_and_equal_scripts_are_refused(target, other, message):
    with pytest.raises(ValueError, match=message):
        control_rate(["a"], target, other)


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
