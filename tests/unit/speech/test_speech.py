"""The speech stage: what it writes, what it makes again, and how it goes on where it was killed."""

import hashlib
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
from speech_stage import (
    CHECKS,
    GERMAN,
    SENTENCES,
    as_if_fresh,
    files,
    make_stage,
)

from steplens.files.atomic import write_parquet
from steplens.speech import speak
from steplens.speech.engines.espeak import synthesize
from steplens.speech.speak import synthesize_corpus


@pytest.fixture
def stage(tmp_path, monkeypatch):
    return make_stage(tmp_path, monkeypatch)


# eSpeak NG


def test_audio_does_not_depend_on_order_neighbours_or_threads():
    """Whatever was spoken before, and however many at a time."""
    first, second = "heute kauft der koch", "im winter sucht das mädchen eine lampe"
    alone = next(synthesize([second], "de"))
    after = list(synthesize([first, second, first], "de", threads=2))
    np.testing.assert_array_equal(alone, after[1])
    np.testing.assert_array_equal(after[0], after[2])


def test_an_unknown_voice_is_refused():
    with pytest.raises(ValueError, match=r"voice.*'not-a-voice'"):
        list(synthesize(["a"], "not-a-voice"))


def test_the_stage_speaks_the_raw_text_with_espeak(tmp_path):
    """16-bit WAV at 16 kHz, as long as the table says; there is one take of each, and no more."""
    corpus = pd.DataFrame(
        {"utterance": [4, 2], "raw_transcription": ["Guten Tag.", "Ja."], "text": ["x", "y"]}
    )
    write_parquet(corpus.assign(recordings="[]"), tmp_path / "corpus.parquet")
    output = tmp_path / "speech" / "deu.parquet"
    settings = {"words_per_minute": 200}
    synthesize_corpus(
        tmp_path / "corpus.parquet", GERMAN, "espeak", settings, CHECKS, {2: 5}, 1, 1, output
    )
    table = pd.read_parquet(output)
    assert table["utterance"].tolist() == [4, 2]
    for row in table.itertuples():
        information = soundfile.info(output.parent / row.path)
        assert information.samplerate == 16_000
        assert information.subtype == "PCM_16"
        assert information.frames == row.n_samples
        assert row.seconds == pytest.approx(row.n_samples / 16_000)
    assert table["seconds"][0] > table["seconds"][1]
    assert table[["engine", "voice"]].to_numpy().tolist() == [["espeak", "de"]] * 2
    assert table["available"].tolist() == [1, 1]
    assert table["attempt"].tolist() == [0, 0]
    assert not table["unusable"].any()
    for path, digest in zip(table["path"], table["sha256"], strict=True):
        assert digest == hashlib.sha256((output.parent / path).read_bytes()).hexdigest()[:16]


# What is made again


def test_a_second_run_speaks_nothing(stage):
    """Whatever was made again in the first one, and whatever kept its problem."""
    stage.engine.faulty = {(4, 0): "silent", **{(2, attempt): "clipped" for attempt in range(3)}}
    stage.run()
    before = files(stage.folder)
    stage.run()
    assert stage.engine.asked == []
    assert files(stage.folder) == before


KILLS = {
    "before the first take": ("speak", 1),
    "before the third": ("speak", 3),
    "while an utterance is spoken again": ("speak", 5),
    "between an audio file and its line": ("line", 3),
    "within a line": ("torn", 3),
    "before the table": ("table", 1),
}


@pytest.mark.parametrize(("where", "when"), KILLS.values(), ids=KILLS)
def test_a_killed_synthesis_goes_on_where_it_was(stage, monkeypatch, where, when):
    """Finished takes are not spoken again; table and audio are those of an undisturbed run."""
    stage.engine.faulty = {(4, 0): "silent", (9, 0): "too short", (9, 1): "clipped"}
    n_takes = len(SENTENCES) + 3

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def killed():
        left = [when]

        def count(*_):
            left[0] -= 1
            if not left[0]:
                die()

        if where == "speak":
            stage.engine.before = count
        elif where == "table":
            monkeypatch.setattr(speak, "write_parquet", count)
        else:
            add = speak.Journal.add

            def kill_around(journal, take):
                if where == "line":
                    count()
                add(journal, take)
                left[0] -= where == "torn"
                if not left[0]:
                    os.truncate(stage.journal, stage.journal.stat().st_size - 20)
                    die()

            monkeypatch.setattr(speak.Journal, "add", kill_around)
        stage.run()

    child = multiprocessing.get_context("fork").Process(target=killed)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert not stage.output.exists()
    stage.run()
    finished = {"speak": when - 1, "line": when - 1, "torn": when - 1, "table": n_takes}[where]
    assert len(stage.engine.asked) == n_takes - finished
    assert as_if_fresh(stage)


@pytest.mark.parametrize("rest", [b'{"utterance": 2, "att', b"\0" * 300 + b"\n", b"[]\n", b"\n"])
def test_lines_that_are_no_takes_are_forgotten(stage, rest):
    """Torn by a kill, or zeros after the power failed; the next line can be read."""
    stage.run()
    stage.journal.write_bytes(stage.journal.read_bytes() + rest)
    stage.sentences[11] = "Noch ein Satz."
    stage.run()
    assert stage.engine.asked == [(11, 0)]
    stage.run()
    assert stage.engine.asked == []


def test_a_line_separator_in_a_take_tears_no_line(stage):
    stage.engine.faults = {(4, 0): "recording a\u2028b\x85c is strange"}
    stage.checks["max_attempts"] = 1
    assert stage.run()["problem"][4] == stage.engine.faults[4, 0]
    stage.run()
    assert stage.engine.asked == [(4, 0)]


@pytest.mark.parametrize("harm", ["deleted", "emptied", "other", "truncated"])
def test_audio_that_is_gone_or_damaged_is_made_again(stage, harm):
    stage.engine.faulty = {(2, 0): "too long"}
    stage.run()
    before = files(stage.folder)
    audio = stage.folder / "deu" / "2.wav"
    if harm == "deleted":
        audio.unlink()
    elif harm == "other":
        shutil.copy(stage.folder / "deu" / "4.wav", audio)
    else:
        os.truncate(audio, 0 if harm == "emptied" else 100)
    stage.run()
    assert stage.engine.asked == [(2, 1)]
    assert files(stage.folder) == before


CHANGES = {
    "seed": lambda stage: setattr(stage, "seed", 2),
    "settings": lambda stage: stage.settings.update(speed=2),
    "code": lambda stage: setattr(stage, "code", "other"),
    "voice": lambda stage: setattr(stage.engine, "voice", "another"),
    "libraries": lambda stage: setattr(stage, "libraries", {"tts": "1.1"}),
    "language code": lambda stage: setattr(stage, "language", replace(GERMAN, xtts="de-at")),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_audio_depends_on_makes_all_of_it_again(stage, change):
    stage.run()
    change(stage)
    stage.run()
    assert stage.engine.asked == [(number, 0) for number in SENTENCES]
    assert as_if_fresh(stage)


def test_another_text_makes_its_utterance_again(stage):
    stage.run()
    stage.sentences[2] = "Nein."
    stage.run()
    assert stage.engine.asked == [(2, 0)]
    assert as_if_fresh(stage)


def test_what_is_not_heard_makes_nothing_again(stage):
    """Leave that was given, and where files lie whose content is known."""
    stage.settings = {"accept_cpml": False, "audio": {"test": "a"}, "path": "a", "digest": "12"}
    stage.run()
    stage.settings |= {"accept_cpml": True, "audio": {"test": "b"}, "path": "b"}
    stage.run()
    assert stage.engine.asked == []
    stage.settings |= {"digest": "34"}
    stage.run()
    assert len(stage.engine.asked) == len(SENTENCES)


LIMITS = {
    "tighter": ({}, {"max_seconds_per_character": 0.07}, [(n, a) for a in (1, 2) for n in SENTENCES]),
    "tighter for one": ({(2, 0): "too long"}, {"max_attempts": 1}, [(2, 0)]),
    "looser for one": ({(2, 0): "too long"}, {"max_seconds_per_character": 0.4}, [(2, 0)]),
    "looser for the last": (
        {(2, 0): "too long", (2, 1): "clipped", (2, 2): "silence"}, {"max_silent_share": 1.0}, [],
    ),
    "more attempts": ({(2, n): "too long" for n in range(3)}, {"max_attempts": 4}, [(2, 3)]),
}  # fmt: skip


@pytest.mark.parametrize(("faulty", "checks", "asked"), LIMITS.values(), ids=LIMITS)
def test_other_limits_make_only_those_again_that_they_concern(stage, faulty, checks, asked):
    """And give what a run with these limits from the beginning gives."""
    stage.engine.faulty = faulty
    stage.run()
    stage.checks |= checks
    stage.run()
    assert stage.engine.asked == asked
    assert as_if_fresh(stage)


def test_a_larger_corpus_keeps_the_audio_it_has(stage):
    stage.run()
    before = files(stage.folder)
    stage.sentences = {11: "Noch ein Satz.", **SENTENCES, 12: "Und noch einer."}
    table = stage.run()
    assert stage.engine.asked == [(11, 0), (12, 0)]
    assert table.index.tolist() == list(stage.sentences)
    after = files(stage.folder)
    assert all(after[f"{number}.wav"] == before[f"{number}.wav"] for number in SENTENCES)
    assert as_if_fresh(stage)


def test_a_smaller_corpus_removes_what_is_left(stage):
    """Also what a killed writer left; the journal remembers, but audio must be there to count."""
    stage.run()
    (stage.folder / "deu" / ".partial-1-4.wav").write_bytes(b"half")
    stage.sentences = {4: SENTENCES[4]}
    stage.run()
    assert stage.engine.asked == []
    assert as_if_fresh(stage)
    stage.sentences = dict(SENTENCES)
    stage.run()
    assert stage.engine.asked == [(2, 0), (9, 0), (7, 0)]
