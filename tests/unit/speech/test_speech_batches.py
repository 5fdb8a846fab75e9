"""The speech stage with an engine that speaks in batches: what goes together depends on the corpus alone."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from speech_stage import (
    Engine,
    as_if_fresh,
    make_stage,
)

from steplens.speech import speak as speech


@pytest.fixture
def stage(tmp_path, monkeypatch):
    return make_stage(tmp_path, monkeypatch)


class Together(Engine):
    """Speaks in batches, which are heard: a take's volume tells with which others it was spoken."""

    batch_size = 2

    def speak(self, requests):
        together = hashlib.sha256(repr([(one.utterance, one.attempt) for one in requests]).encode())
        volume = 1 + together.digest()[0] / 1000
        for take in super().speak(requests):
            yield replace(take, wave=(volume * take.wave).astype(np.float32))


@pytest.fixture
def batched(stage, monkeypatch):
    """The stage with an engine of batches, two to a window, and takes that fail in three rounds."""
    monkeypatch.setattr(speech, "_WINDOW", 2)
    stage.engine = Together()
    words = ["eins", "zwei", "drei", "vier"]
    stage.sentences = {
        number: " ".join(words[: 1 + number % 4]) for number in (8, 3, 14, 5, 9, 2, 11, 7, 4, 13, 6)
    }
    stage.engine.faulty = {
        (3, 0): "silent", (9, 0): "too short", (9, 1): "clipped", (4, 0): "too long",
        **{(7, attempt): "silence" for attempt in range(3)}, (6, 0): "silent",
    }  # fmt: skip
    return stage


def stopped(stage, monkeypatch, takes):
    """Run until so many takes are in the journal, and then an error."""
    add, left = speech.Journal.add, [takes]

    def stop(journal, take):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        add(journal, take)

    with monkeypatch.context() as patch:
        patch.setattr(speech.Journal, "add", stop)
        with pytest.raises(KeyboardInterrupt):
            stage.run()


N_TAKES = 11 + 7  # the utterances of ``batched``, and what it makes again


@pytest.mark.parametrize("takes", range(0, N_TAKES, 2))
def test_batches_of_an_interrupted_synthesis_are_those_of_an_undisturbed_one(
    batched, monkeypatch, takes
):
    """Wherever it was stopped: what goes together does not depend on what is missing."""
    stopped(batched, monkeypatch, takes)
    batched.run()
    assert as_if_fresh(batched)


def test_every_take_is_made_once(batched):
    batched.run()
    assert len(batched.engine.asked) == len(set(batched.engine.asked)) == N_TAKES
    batched.run()
    assert batched.engine.asked == []


@pytest.mark.parametrize("lost", range(0, N_TAKES, 4))
def test_a_lost_line_of_the_journal_changes_no_audio(batched, lost):
    """A take that failed is judged again; its utterance's file, of a later take, is left alone."""
    batched.run()
    times = {path.name: path.stat().st_mtime_ns for path in (batched.folder / "deu").glob("*.wav")}
    lines = batched.journal.read_bytes().splitlines(keepends=True)
    gone = json.loads(lines.pop(lost))
    batched.journal.write_bytes(b"".join(lines))
    batched.run()
    assert as_if_fresh(batched)
    after = {path.name: path.stat().st_mtime_ns for path in (batched.folder / "deu").glob("*.wav")}
    written = {name for name in times if after[name] != times[name]}
    assert written == ({f"{gone['utterance']}.wav"} if gone["sha256"] else set())


def test_a_larger_corpus_speaks_one_window_again_at_most(batched):
    """And writes none of the files that are there: its order is that of the smaller one, and more."""
    whole = batched.sentences
    batched.engine.faulty = {}
    batched.sentences = dict(list(whole.items())[:6])  # a window of four, and one of two
    batched.run()
    folder = batched.folder / "deu"
    before = {
        path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.glob("*.wav")
    }
    assert len(before) == 6
    batched.sentences = whole
    batched.run()
    again = {utterance for utterance, _ in batched.engine.asked} & set(list(whole)[:6])
    assert again <= set(list(whole)[4:6])
    for name, (time, content) in before.items():
        path = folder / name
        assert (path.stat().st_mtime_ns, path.read_bytes()) == (time, content)
