"""Audio as it lies on the disk before encode, recordings of FLEURS, and engines of speech."""

import os

import numpy as np
from fleurs_files import LANGUAGES, directory, member, spoken, tone, wav, write_archive
from judged_speech import judged, write_run

from bad_input.case import Case, World
from steplens.corpus.fleurs import check_corpus
from steplens.errors import ConfigError
from steplens.files.audio import read_utterance
from steplens.models.seamless.features import speech_features
from steplens.speech.checks import Limits, measure, problem
from steplens.speech.engines import espeak, recorded
from steplens.speech.engines.engine import Request
from steplens.speech.takes import file_digest

DEU = LANGUAGES["deu"]
GOOD = tone(300, 1.0)
LIMITS = Limits(0.025, 0.25, 0.6, 0.001)


def audio(content: bytes | None):
    """Prepares one utterance's file beside its table; gives its path."""

    def prepare(world: World):
        path = world.folder / "deu" / "7.wav"
        path.parent.mkdir()
        if content is not None:
            path.write_bytes(content)
        return path

    return prepare


def cut_off(world: World):
    """Gives a file and the digest that it had when it was whole."""
    path = audio(wav(GOOD))(world)
    digest = file_digest(path)
    path.write_bytes(path.read_bytes()[:20_000])
    return path, digest


def unusable(name: str, content: bytes | None, got: str, error=ValueError):
    return Case(
        f"audio: {name}", audio(content), read_utterance, error, "mono audio at 16000 Hz",
        "{folder}/deu/7.wav", "expected mono audio", f"got {got}", "delete {folder}/deu.parquet",
    )  # fmt: skip


def pipe(world: World):
    path = audio(b"")(world)
    path.unlink()
    os.mkfifo(path)
    return path


def flagged(name: str, wave: np.ndarray, *words: str):
    """What the checks of the speech stage say, which makes such audio again and then leaves it out."""
    return Case(
        f"speech check: {name}", lambda world: wave,
        lambda made: f"speech.checks: {problem(measure(made, 'zwanzig Zeichen hier'), LIMITS)}",
        None, "speech.checks", "", "", words, "",
    )  # fmt: skip


def archive(*members, cut: int | None = None):
    """Prepares an archive of recordings; gives it."""

    def prepare(world: World):
        path = write_archive(
            world.folder / "data" / "de_de" / "audio" / "test.tar.gz", list(members)
        )
        path.write_bytes(path.read_bytes()[:cut])
        return path

    return prepare


def page(world: World):
    path = archive()(world)
    path.write_bytes(b"<html>")
    return path


def takes(n: int = 1, samples: int = 16_000):
    """Speaks n recordings; gives the faults."""

    def call(path):
        engine = recorded.open_engine(DEU, {"audio": {"test": str(path)}}, 1, 1)
        wanted = [Request(k, "", 0, (("test", f"{k}.wav", samples),)) for k in range(1, n + 1)]
        return "; ".join(take.fault for take in engine.speak(wanted))

    return call


def recording(content: bytes, name: str = "test/1.wav"):
    return archive((member(name), content))


def bad_recording(name: str, content: bytes, *got: str, path: str = "test/1.wav", what="recording"):
    """A flag: another recording of the sentence is taken, or it is left out."""
    return Case(f"recording: {name}", recording(content, path), takes(), None,
                what, "test/1.wav", "", got, "")  # fmt: skip


def no_wav(world: World):
    folder = world.folder / "data" / "de_de"
    (folder / "audio" / "test").mkdir(parents=True)
    (folder / "test.tsv").write_text(spoken(1, "1.wav", 300, "Ja.", "ja").line + "\n")
    return world.folder


def header(wave: np.ndarray, hz: int) -> bytes:
    """A WAV file whose header claims another rate."""
    content = bytearray(wav(wave))
    content[24:28] = hz.to_bytes(4, "little")
    return bytes(content)


MINUTES = np.zeros(16_000 * 600, np.float32)

CASES = [
    unusable("missing", None, "no file", FileNotFoundError),
    unusable("empty file", b"", "another file (Format not recognised"),
    unusable("no audio", b"RIFF and no more", "another file (Format not recognised"),
    Case("audio: a pipe", pipe, read_utterance, FileNotFoundError, "mono audio at 16000 Hz",
         "{folder}/deu/7.wav", "expected mono audio", "got a named pipe", "delete {folder}/deu.parquet"),
    unusable("8 kHz", wav(tone(300, 1, 8000), 8000), "8000 Hz"),
    unusable("stereo", wav(np.stack([GOOD, GOOD], 1)), "2 channels"),
    unusable("no samples", wav(np.zeros(0, np.float32)), "no samples"),
    unusable("NaN", wav(np.where(GOOD > 0.29, np.nan, GOOD).astype(np.float32)), "NaN or infinity"),
    unusable("infinity", wav(np.where(GOOD > 0.29, np.inf, GOOD).astype(np.float32)), "NaN or infinity"),
    unusable("ten minutes", wav(MINUTES), "600 s"),
    Case("audio: cut off after it was spoken", cut_off, lambda given: read_utterance(*given), ValueError,
         "mono audio", "{folder}/deu/7.wav", "as it was spoken", "got other audio (digest",
         "delete {folder}/deu.parquet"),
    Case("audio: shorter than a frame", lambda world: GOOD[:300], speech_features, ValueError,
         "audio", "samples", "expected at least 560", "got 300", "speak the sentence again"),
    flagged("silence", np.zeros(16_000, np.float32), "silent"),
    flagged("ten minutes", np.tile(GOOD, 600), "too long: 600 s, more than 120 s"),
    flagged("cut off", GOOD[:2000], "too short"),
    flagged("clipped", np.sign(GOOD), "clipped"),
    flagged("very quiet", 0.008 * GOOD, "very quiet: peak 0.0024"),
    bad_recording("no audio", b"no WAV", "cannot be decoded: Format not recognised"),
    bad_recording("empty", b"", "cannot be decoded"),
    bad_recording("no samples", wav(np.zeros(0, np.float32)), "holds no samples"),
    bad_recording("NaN", wav(np.full(16_000, np.nan, np.float32)), "holds NaN or infinity"),
    bad_recording("ten minutes", wav(MINUTES), "is 600 s long", "expected at most 120 s"),
    bad_recording("a rate that nobody records at", header(GOOD, 1), "has 1 Hz"),
    bad_recording("cut off", wav(GOOD)[:20_000], "is truncated: 49", "of 16000 samples"),
    bad_recording("cut off, at 48 kHz", wav(tone(300, 0.5, 48_000), 48_000), "is truncated: 8000",
                  "of 16000 samples at 16 kHz"),
    bad_recording("longer than its line says", wav(tone(300, 3)), "is another than its line says"),
    bad_recording("one side inverted", wav(np.stack([GOOD, -GOOD], 1)), "2 channels that cancel each other"),
    bad_recording("floats of integer scale", wav(20_000 * GOOD), "holds floats up to", "expected -1 to 1"),
    bad_recording("a DC offset", wav(GOOD / 2 + np.float32(0.5)), "has a DC offset of 0.50"),
    bad_recording("not in the archive", wav(GOOD), "is missing", path="test/other.wav"),
    bad_recording("outside the folder", wav(GOOD), "is missing", path="../test/1.wav"),
    Case("recordings: none of the archive's", archive((member("test/x.wav"), wav(GOOD))), takes(9),
         ValueError, "recordings", "test.tar.gz", "expected recordings of German (deu) such as 1.wav",
         "found none of 9", "of another language or split?"),
    Case("recordings: an archive cut off", archive((member("test/1.wav"), wav(GOOD)), cut=2000), takes(),
         ValueError, "archive", "test.tar.gz", "expected an archive of recordings",
         "cannot be read to the end", "fetch it again"),
    Case("recordings: a web page", page, takes(), ValueError, "archive", "test.tar.gz",
         "expected an archive of recordings", "it is a web page", "download the file itself"),
    Case("recordings: no archive", lambda world: world.folder / "test.tar.gz", takes(), FileNotFoundError,
         "recordings", "{folder}/test.tar.gz", "expected the recordings of German (deu), split test",
         "got nothing", "a folder with its files"),
    Case("recordings: a folder without them", no_wav,
         lambda folder: check_corpus(folder, [DEU], ["test"], [DEU]), ConfigError,
         "corpus.path", "audio/test", "expected", "the folder has no WAV file", "unpack the archive"),
    Case("recordings: a folder of that name in the archive", archive((directory("test/1.wav"), b"")),
         takes(), None, "recording", "test/1.wav", "", "is missing", ""),
    Case("speech: a language of which no utterance is left",
         lambda world: (world.folder, write_run(world.folder, {7: ("65% silence", True, "ja", "")})),
         lambda given: judged(*given), None, "speech of deu", "the first, 7: 65% silence",
         "expected utterances that statistics can count", "got deu with all 1 left out",
         "leave the language out", appears=("speech_quality.csv", "speech_quality.csv-metadata.json")),
    Case("engine: a voice that eSpeak NG does not have", lambda world: "xx-klingon",
         lambda voice: list(espeak.synthesize(["Ja."], voice)), ValueError,
         "espeak", "resources/languages.tsv", "expected a voice of eSpeak NG", "got 'xx-klingon'",
         "mend the row"),
]  # fmt: skip
