"""The speech stage: what it writes, what it makes again, and how it goes on where it was killed."""

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile

from steplens import speech
from steplens.atomic import write_parquet
from steplens.engines import Take
from steplens.engines.espeak import synthesize
from steplens.languages import load_languages
from steplens.speech import synthesize_corpus

GERMAN = load_languages()["deu"]
SENTENCES = {
    4: "Guten Tag, Herr Müller.", 2: "Ja.", 9: "Heute kauft der Koch Brot.", 7: "Es regnet."
}  # fmt: skip
CHECKS = {
    "max_attempts": 3, "min_seconds_per_character": 0.03, "max_seconds_per_character": 0.2,
    "max_silent_share": 0.5, "max_clipped_share": 0.001,
}  # fmt: skip


def tone(request, seed, seconds_per_character=0.08):
    """A tone whose pitch tells every utterance, text, attempt and seed apart."""
    name = f"{request.utterance} {request.text} {request.attempt} {seed}"
    pitch = 200 + hashlib.sha256(name.encode()).digest()[0] * 10
    letters = sum(one.isalnum() for one in request.text)
    time = np.arange(round(16_000 * seconds_per_character * letters)) / 16_000
    return (0.4 * np.sin(2 * np.pi * pitch * time)).astype(np.float32)


# Takes that fail, as an engine may give them.
FAULTY = {
    "silent": lambda request, seed: np.zeros_like(tone(request, seed)),
    "too short": lambda request, seed: tone(request, seed, 0.01),
    "too long": lambda request, seed: tone(request, seed, 0.3),
    "silence": lambda request, seed: tone(request, seed) * (np.arange(len(tone(request, seed))) < 800),
    "clipped": lambda request, seed: 4 * tone(request, seed),
    "NaN": lambda request, seed: np.full_like(tone(request, seed), np.nan),
    "empty": lambda request, seed: np.zeros(0, np.float32),
}  # fmt: skip


class Engine:
    """Speaks tones; ``faulty`` says which takes fail and how, by (utterance, attempt)."""

    def __init__(self):
        self.voice = "tone"
        self.available = None
        self.faulty = {}
        self.faults = {}
        self.seed = 0
        self.asked = []  # (utterance, attempt) of every take asked for
        self.before = lambda request: None

    def n_attempts(self, request):
        return self.available

    def speak(self, requests):
        for request in requests:
            self.before(request)
            key = request.utterance, request.attempt
            self.asked.append(key)
            wave = FAULTY[self.faulty[key]] if key in self.faulty else tone
            yield Take(
                wave(request, self.seed), 2**62 + self.seed, "a tone", self.faults.get(key, "")
            )


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """The stage with an engine of tones: ``run`` gives the table and asks for takes as needed."""
    one = SimpleNamespace(
        engine=Engine(), sentences=dict(SENTENCES), settings={"speed": 1}, checks=dict(CHECKS),
        first={}, seed=1, code="code", libraries={"tts": "1.0"}, folder=tmp_path / "speech", language=GERMAN,
    )  # fmt: skip
    module = ModuleType("steplens.engines.tones")

    def open_engine(language, settings, seed, threads):
        one.engine.seed = seed
        return one.engine

    module.open_engine = open_engine
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(speech, "code_digest", lambda *modules: one.code)
    monkeypatch.setitem(speech.CODE_OF, "tones", "xtts")

    def run(folder=None):
        one.engine.asked.clear()
        texts = list(one.sentences.values())
        corpus = pd.DataFrame({"utterance": list(one.sentences), "raw_transcription": texts})
        write_parquet(corpus.assign(text="x", recordings="[]"), tmp_path / "corpus.parquet")
        output = (folder or one.folder) / "deu.parquet"
        synthesize_corpus(
            tmp_path / "corpus.parquet", one.language, "tones", one.settings, one.checks, one.first,
            one.seed, 1, output, one.libraries,
        )  # fmt: skip
        return pd.read_parquet(output).set_index("utterance")

    one.run = run
    one.output = one.folder / "deu.parquet"
    one.journal = one.folder / "deu" / "takes.jsonl"
    one.fresh = tmp_path / "fresh"
    return one


def files(folder):
    """Content of the table and of all audio, by name."""
    paths = [folder / "deu.parquet", *(folder / "deu").glob("*.wav")]
    return {path.name: path.read_bytes() for path in paths}


def as_if_fresh(stage):
    """Whether table and audio are to the byte those of a run that found nothing."""
    asked = list(stage.engine.asked)
    stage.run(stage.fresh)
    stage.engine.asked[:] = asked
    found = files(stage.folder) == files(stage.fresh)
    shutil.rmtree(stage.fresh)
    return found


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
            monkeypatch.setattr(speech, "write_parquet", count)
        else:
            add = speech.Journal.add

            def kill_around(journal, take):
                if where == "line":
                    count()
                add(journal, take)
                left[0] -= where == "torn"
                if not left[0]:
                    os.truncate(stage.journal, stage.journal.stat().st_size - 20)
                    die()

            monkeypatch.setattr(speech.Journal, "add", kill_around)
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


# Batches


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


# Attempts


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
