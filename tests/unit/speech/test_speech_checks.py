"""Measures of audio equal values by hand; each limit has its words, and its boundary."""

import unicodedata
from dataclasses import replace

import numpy as np
import pytest

from steplens.speech.checks import Limits, Measures, measure, n_characters, problem

LIMITS = Limits(
    min_seconds_per_character=0.03,
    max_seconds_per_character=0.2,
    max_silent_share=0.5,
    max_clipped_share=0.01,
)
GOOD = Measures(
    n_samples=16_000,
    seconds=1.0,
    peak=0.5,
    seconds_per_character=0.1,
    silent_share=0.1,
    clipped_share=0.0,
)


def tone(seconds, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * 400 * np.arange(round(16_000 * seconds)) / 16_000)


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("Guten Tag, Herr Müller!", 18),
        ("3.500 €", 4),
        ("银行，3。", 7),  # 2 x 3 + 1
        ("ひらがな・カタカナ", 16),
        ("コーヒー", 6),  # the mark of length is one letter
        ("한국어 말", 12),
        ("日本語のテスト", 17),  # 3 x 3 + 4 x 2
        ("ሰላም። ፩", 12),  # neither the full stop nor the space
        ("नमस्ते", 4),  # vowel signs belong to the letter before them
        ("  … — !?", 0),
        ("", 0),
    ],
)
def test_characters_weigh_what_they_take_to_say(text, n):
    """Letters and digits one, kana two, Han, Hangul and Ethiopic three."""
    assert n_characters(text) == n


@pytest.mark.parametrize("text", ["한국", "ガ", "é"])
def test_decomposed_text_counts_alike(text):
    assert n_characters(unicodedata.normalize("NFD", text)) == n_characters(text)


@pytest.mark.parametrize(("text", "n"), [("abcd efgh", 8), ("银行", 6), ("かな", 4), ("한국", 6)])
def test_pace_is_seconds_over_characters(text, n):
    found = measure(tone(1.2), text)
    assert found.seconds == 1.2
    assert found.n_samples == 19_200
    assert found.seconds_per_character == pytest.approx(1.2 / n)


def test_a_tone_that_stops_halfway_is_half_silent():
    wave = np.concatenate([tone(0.5), np.zeros(8_000)])
    assert measure(wave, "a").silent_share == 0.5


@pytest.mark.parametrize("offset", [0.02, -0.5])
def test_an_offset_does_not_hide_silence(offset):
    wave = np.concatenate([tone(0.5, 0.3), np.zeros(8_000)])
    assert measure(wave + offset, "a").silent_share == 0.5
    assert measure(np.full(16_000, offset), "a").silent_share == 1.0


@pytest.mark.parametrize(("decibels", "share"), [(-38, 0.0), (-42, 0.2)])
def test_silence_lies_forty_decibels_under_the_loudest_frame(decibels, share):
    """So that a quiet recording is not silent."""
    wave = np.concatenate([tone(0.8), tone(0.2) * 10 ** (decibels / 20)])
    for gain in (1, 0.01):
        assert measure(gain * wave, "a").silent_share == share


def test_clipping_is_the_share_of_samples_at_full_scale():
    wave = np.full(1000, 0.5)
    wave[:30] = 1.0
    wave[30:50] = -1.2
    wave[50:60] = 0.99
    found = measure(wave, "a")
    assert found.clipped_share == 0.05
    assert found.peak == 1.2


@pytest.mark.parametrize("wave", [np.zeros(16_000), np.full(16_000, 5e-4), np.zeros(0)])
def test_inaudible_audio_is_silent_and_nothing_else(wave):
    found = measure(wave, "Ein Satz.")
    assert found.silent_share == 1.0
    assert found.clipped_share == 0.0
    assert problem(found, LIMITS) == "silent"


def test_audio_shorter_than_a_frame_is_too_short():
    assert problem(measure(np.full(300, 0.5), "a"), LIMITS).startswith("too short: 0.019 s")


def test_text_without_letters_has_no_pace():
    """Nothing says how long it should take: the other checks hold."""
    found = measure(tone(30), "…")
    assert np.isnan(found.seconds_per_character)
    assert problem(found, LIMITS) == ""
    assert problem(replace(found, silent_share=0.9), LIMITS) == "90% silence"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, ""),
        ({"peak": 0.0009}, "silent"),
        ({"peak": 0.002}, "very quiet: peak 0.0020 of full scale"),
        ({"seconds_per_character": 0.02}, "too short: 0.020 s a character"),
        ({"seconds_per_character": 0.3}, "too long: 0.300 s a character"),
        ({"silent_share": 0.65}, "65% silence"),
        ({"clipped_share": 0.0123}, "1.23% of samples clipped"),
        (
            {"seconds_per_character": 0.3, "silent_share": 0.75, "clipped_share": 0.02},
            "too long: 0.300 s a character; 75% silence; 2.00% of samples clipped",
        ),
    ],
)
def test_a_problem_is_told_in_words_and_numbers(values, words):
    assert problem(replace(GOOD, **values), LIMITS) == words


@pytest.mark.parametrize(
    ("name", "limit", "beyond"),
    [
        ("peak", 2**-8, -1),
        ("seconds_per_character", 0.03, -1),
        ("seconds_per_character", 0.2, 1),
        ("silent_share", 0.5, 1),
        ("clipped_share", 0.01, 1),
    ],
)
def test_a_value_at_its_limit_passes(name, limit, beyond):
    assert problem(replace(GOOD, **{name: limit}), LIMITS) == ""
    assert problem(replace(GOOD, **{name: np.nextafter(limit, beyond * np.inf)}), LIMITS) != ""
