"""The speech stage where takes fail: they are made again, in order, and the best is kept."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
from speech_stage import (
    FAULTY,
    SENTENCES,
    as_if_fresh,
    files,
    make_stage,
    tone,
)


@pytest.fixture
def stage(tmp_path, monkeypatch):
    return make_stage(tmp_path, monkeypatch)


@pytest.mark.parametrize("fault", FAULTY)
def test_a_take_that_fails_is_made_again(stage, fault):
    """The first that passes is kept; the others are not disturbed."""
    stage.engine.faulty = {(9, 0): fault, (9, 1): fault}
    table = stage.run()
    assert stage.engine.asked == [*[(number, 0) for number in SENTENCES], (9, 1), (9, 2)]
    assert table["attempt"].to_dict() == {4: 0, 2: 0, 9: 2, 7: 0}
    assert table["problem"].eq("").all()
    assert not table["unusable"].any()
    wave, _ = soundfile.read(stage.folder / table["path"][9])
    request = SimpleNamespace(utterance=9, text=SENTENCES[9], attempt=2)
    np.testing.assert_allclose(wave, tone(request, 1), atol=1e-4)


PROBLEMS = {
    "silent": "silent", "too short": "too short: 0.010 s a character",
    "too long": "too long: 0.300 s a character", "silence": "% silence", "clipped": "clipped",
}  # fmt: skip


@pytest.mark.parametrize(("fault", "words"), PROBLEMS.items(), ids=PROBLEMS)
def test_after_the_last_attempt_the_problem_stays(stage, fault, words):
    """With its audio: it is no placeholder."""
    stage.engine.faulty = {(9, attempt): fault for attempt in range(9)}
    row = stage.run().loc[9]
    assert stage.engine.asked[len(SENTENCES) :] == [(9, 1), (9, 2)]
    assert words in row["problem"]
    assert (row["attempt"], row["unusable"]) == (2, False)


@pytest.mark.parametrize(
    ("fault", "said", "words"),
    [
        ("empty", "recording test/9.wav is missing", "recording test/9.wav is missing"),
        ("empty", "", "silent"),
        ("NaN", "", "NaN or infinity in the audio"),
    ],
)
def test_without_any_audio_a_second_of_silence_stands_for_it(stage, fault, said, words):
    stage.engine.faulty = {(9, attempt): fault for attempt in range(9)}
    stage.engine.faults = {(9, attempt): said for attempt in range(9)}
    row = stage.run().loc[9]
    assert row["unusable"]
    assert row["problem"] == words
    wave, _ = soundfile.read(stage.folder / row["path"])
    assert len(wave) == row["n_samples"] == 16_000
    assert not wave.any()


def test_audio_with_a_problem_is_kept_rather_than_none(stage):
    """Where the last recordings are missing, the first one stays, flagged; also in a second run."""
    stage.engine.available = 3
    stage.engine.faulty = {(9, 0): "clipped", (9, 1): "empty", (9, 2): "empty"}
    stage.engine.faults = {(9, 1): "missing", (9, 2): "missing"}
    row = stage.run().loc[9]
    assert (row["attempt"], row["unusable"]) == (0, False)
    assert row["problem"].endswith("clipped")
    before = files(stage.folder)
    stage.run()
    assert files(stage.folder) == before
    assert as_if_fresh(stage)


def test_a_fault_is_not_remembered(stage):
    """A recording that was missing and is there now is taken."""
    stage.engine.available = 1
    stage.engine.faulty, stage.engine.faults = {(9, 0): "empty"}, {(9, 0): "missing"}
    assert stage.run()["unusable"].sum() == 1
    stage.engine.faulty, stage.engine.faults = {}, {}
    assert not stage.run()["unusable"].any()
    assert stage.engine.asked == [(9, 0)]
    assert as_if_fresh(stage)


def test_no_more_takes_are_asked_for_than_there_are(stage):
    stage.engine.available = 2
    stage.engine.faulty = {(9, attempt): "silent" for attempt in range(9)}
    table = stage.run()
    assert stage.engine.asked[len(SENTENCES) :] == [(9, 1)]
    assert table["attempt"][9] == 1
    assert table["available"].tolist() == [2] * len(SENTENCES)


def test_resynthesis_begins_with_the_attempt_it_asked_for(stage):
    """That one and those after it; other utterances stay as they are."""
    stage.engine.faulty = {(9, 5): "silent"}
    before = stage.run()
    stage.first = {9: 5}
    table = stage.run()
    assert stage.engine.asked == [(9, 5), (9, 6)]
    assert table["attempt"].to_dict() == {4: 0, 2: 0, 9: 6, 7: 0}
    pd.testing.assert_frame_equal(table.drop(index=9), before.drop(index=9))
    assert table["available"].isna().all()
    assert as_if_fresh(stage)


def test_an_attempt_that_the_engine_does_not_have_is_passed_over(stage):
    """It was asked of another engine: the first recording is the one to take."""
    stage.engine.available, stage.first = 2, {9: 2, 4: 1}
    assert stage.run()["attempt"].to_dict() == {4: 1, 2: 0, 9: 0, 7: 0}


def test_the_journal_has_a_line_a_take(stage):
    stage.engine.faulty = {(9, 0): "silent"}
    stage.run()
    lines = [json.loads(line) for line in stage.journal.read_text().splitlines()]
    assert [(line["utterance"], line["attempt"]) for line in lines] == stage.engine.asked
