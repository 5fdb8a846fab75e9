"""The speech stage with an engine of tones, for the tests of what it makes again and when."""

import hashlib
import shutil
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd

from steplens.files.atomic import write_parquet
from steplens.languages.table import load_languages
from steplens.speech import speak as speech
from steplens.speech.engines.engine import Take
from steplens.speech.speak import synthesize_corpus

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


def make_stage(tmp_path, monkeypatch):
    """The stage with an engine of tones: ``run`` gives the table and asks for takes as needed."""
    one = SimpleNamespace(
        engine=Engine(), sentences=dict(SENTENCES), settings={"speed": 1}, checks=dict(CHECKS),
        first={}, seed=1, code="code", libraries={"tts": "1.0"}, folder=tmp_path / "speech", language=GERMAN,
    )  # fmt: skip
    module = ModuleType("steplens.speech.engines.tones")

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
