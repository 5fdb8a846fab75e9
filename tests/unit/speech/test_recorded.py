"""FLEURS's own recordings as speech: which one is taken, and what becomes of those that are bad."""

import io
import json
import os
import re
import tarfile

import numpy as np
import pandas as pd
import pytest
import soundfile
from fleurs_files import (
    LANGUAGES,
    Recording,
    Split,
    directory,
    member,
    pitch_hz,
    published,
    spoken,
    tone,
    wav,
    write_archive,
    write_fleurs,
)
from scipy.signal import resample_poly

from steplens.config.sections import ChecksSection
from steplens.corpus.fleurs import archive_file
from steplens.corpus.sentences import read_sentences, write_corpus
from steplens.speech.engines import recorded
from steplens.speech.engines.engine import Request
from steplens.speech.engines.espeak import synthesize
from steplens.speech.speak import synthesize_corpus

DEU = LANGUAGES["deu"]
SPLITS = ["test", "dev"]
CHECKS = ChecksSection().model_dump(exclude={"max_cer", "leave_out_flagged"})


@pytest.fixture
def fleurs(tmp_path):
    return write_fleurs(tmp_path / "fleurs")


def audio(folder, splits=SPLITS):
    return {"audio": {split: str(archive_file(folder, DEU, split)) for split in splits}}


def opened(folder, splits=SPLITS):
    return recorded.open_engine(DEU, audio(folder, splits), 1, 1)


def request(folder, number, attempt=0):
    """A request for a sentence as the stage makes it."""
    row = read_sentences(folder, DEU, SPLITS).set_index("utterance").loc[number]
    recordings = tuple(
        (one["split"], one["file"], one["n_samples"]) for one in json.loads(row["recordings"])
    )
    return Request(number, row["raw_transcription"], attempt, recordings)


def taken(folder, number, attempt=0):
    (take,) = opened(folder).speak([request(folder, number, attempt)])
    return take


def stage(folder, output, n=10, seed=1, **checks):
    """Corpus and speech of German; the table by utterance."""
    corpus = output / "corpus" / "deu.parquet"
    write_corpus(folder, DEU, SPLITS, n, seed, [], corpus)
    table = output / "speech" / "deu.parquet"
    settings = audio(folder) | {"revision": None}
    synthesize_corpus(corpus, DEU, "recorded", settings, CHECKS | checks, {}, seed, 1, table)
    return pd.read_parquet(table).set_index("utterance")


def heard(output, row):
    wave, rate = soundfile.read(output / "speech" / row["path"])
    assert rate == 16_000
    return wave


def test_attempt_n_is_the_nth_recording(fleurs):
    takes = list(
        opened(fleurs).speak(
            [request(fleurs, 10, 1), request(fleurs, 14, 1), request(fleurs, 11, 2)]
        )
    )
    assert [take.origin for take in takes] == ["test/b10.wav", "dev/b14.wav", "test/c11.wav"]
    for take, hz in zip(takes, (410, 414, 411), strict=True):
        assert pitch_hz(take.wave) == pytest.approx(hz, abs=1)
        assert take.wave.dtype == np.float32
        assert take.fault == ""
    assert opened(fleurs).n_attempts(request(fleurs, 11)) == 3


def test_floats_of_16_khz_are_kept_as_they_are(fleurs):
    np.testing.assert_array_equal(taken(fleurs, 15).wave, tone(415, 2.0))


def test_stereo_at_48_khz_becomes_mono_at_16(fleurs):
    take = taken(fleurs, 12)
    assert take.wave.shape == (32_000,)
    assert pitch_hz(take.wave) == pytest.approx(412, abs=1)
    assert take.fault == ""


@pytest.mark.parametrize(
    ("number", "attempt", "fault", "n_samples"),
    [
        (11, 0, r"recording test/a11\.wav is truncated: 1\d+ of 32000 samples", 15_990),
        (17, 0, r"recording test/a17\.wav is truncated: 32000 of 33600 samples", 32_000),
        (11, 1, r"recording test/b11\.wav cannot be decoded: ", 0),
        (13, 1, r"recording test/b13\.wav cannot be decoded: ", 0),
        (14, 0, r"recording test/a14\.wav is missing", 0),
    ],
)
def test_a_recording_that_is_not_whole_has_a_fault(fleurs, number, attempt, fault, n_samples):
    """Cut off in its samples, cut off by the number in its line, no WAV, empty, and not there."""
    take = taken(fleurs, number, attempt)
    assert re.match(fault, take.fault)
    assert len(take.wave) == pytest.approx(n_samples, abs=20)


SPEECH = next(synthesize(["Heute Morgen wäscht der Arzt einen roten Apfel im Garten."], "de", 220))
SPEECH = (0.8 * SPEECH).astype(np.float32)


def at(rate_hz, wave=SPEECH):
    return resample_poly(wave, rate_hz // 100, 160).astype(np.float32)


def encoded(wave, rate_hz=16_000, kind="WAV", subtype="PCM_16"):
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate_hz, format=kind, subtype=subtype)
    return buffer.getvalue()


def problem_of(data, tmp_path, max_silent_share=0.6):
    """What the stage says of one recording, and whether it has audio at all."""
    text = "Heute Morgen wäscht der Arzt einen roten Apfel im Garten."
    one = Recording(1, "1.wav", text, "heute morgen", data, len(SPEECH))
    other = spoken(2, "2.wav", 300, text, "heute morgen")
    Split([one, other]).write(tmp_path / "fleurs", DEU, "test")
    corpus, output = tmp_path / "corpus/deu.parquet", tmp_path / "speech/deu.parquet"
    write_corpus(tmp_path / "fleurs", DEU, ["test"], 2, 1, [], corpus)
    checks = CHECKS | {"max_silent_share": max_silent_share}
    settings = audio(tmp_path / "fleurs", ["test"])
    synthesize_corpus(corpus, DEU, "recorded", settings, checks, {}, 1, 1, output)
    row = pd.read_parquet(output).set_index("utterance").loc[1]
    return row["problem"], row["unusable"]


WHOLE = {
    "8 kHz": encoded(at(8_000), 8_000),
    "22.05 kHz": encoded(at(22_050)[:-1], 22_050),  # rounded down
    "44.1 kHz": encoded(at(44_100), 44_100),
    "48 kHz": encoded(at(48_000), 48_000, subtype="FLOAT"),
    "MP3": encoded(at(44_100), 44_100, "MP3", "MPEG_LAYER_III"),
    "GSM 6.10": encoded(at(8_000), 8_000, subtype="GSM610"),
    "A-law": encoded(at(8_000), 8_000, subtype="ALAW"),
    "24 bit": encoded(SPEECH, subtype="PCM_24"),
    "Opus": encoded(SPEECH, 16_000, "OGG", "OPUS"),
    "FLAC": encoded(SPEECH, 16_000, "FLAC"),
    "stereo": encoded(np.stack([SPEECH, 0.5 * SPEECH], 1)),
    "stereo, one side silent": encoded(np.stack([SPEECH, 0 * SPEECH], 1)),
    "19 ms less": encoded(SPEECH[: -19 * 16]),
    "199 ms more": encoded(np.pad(SPEECH, (0, 199 * 16))),
    "an offset of 2 % of full scale": encoded(SPEECH + 0.02),
    "quiet": encoded(SPEECH * 0.02),
}


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_a_whole_recording_passes_whatever_its_format(data, tmp_path):
    assert problem_of(data, tmp_path) == ("", False)


HALF = len(SPEECH) // 2
BROKEN = {
    "8 kHz, a tenth missing": (
        encoded(at(8_000)[: -len(SPEECH) // 20], 8_000), r"is truncated: \d+ of \d+ samples at 16 kHz", False,
    ),
    "44.1 kHz, second half missing": (encoded(at(44_100, SPEECH[:HALF]), 44_100), "is truncated", False),
    "48 kHz, second half missing": (encoded(at(48_000, SPEECH[:HALF]), 48_000), "is truncated", False),
    "21 ms less": (encoded(SPEECH[: -21 * 16]), "is truncated", False),
    "201 ms more": (encoded(np.pad(SPEECH, (0, 201 * 16))), "is another than its line says", False),
    "one side inverted": (encoded(np.stack([SPEECH, -SPEECH], 1)), "2 channels that cancel", True),
    "one side inverted, another gain": (
        encoded(np.stack([SPEECH, -0.7 * SPEECH], 1)), "2 channels that cancel", True,
    ),
    "one side inverted, with an offset": (
        encoded(np.stack([0.6 * SPEECH, -0.6 * SPEECH], 1) + 0.2), "2 channels that cancel", True,
    ),
    "offset": (encoded(SPEECH / 2 + 0.5), r"has a DC offset of 0\.5\d", False),
    "floats of integer scale": (
        encoded(SPEECH * 15_000, subtype="FLOAT"), r"holds floats up to \d{5}.*, expected -1 to 1", True,
    ),
    "very quiet": (encoded(SPEECH * 0.0025), r"very quiet: peak 0\.00", False),
}  # fmt: skip


@pytest.mark.parametrize(("data", "words", "unusable"), BROKEN.values(), ids=BROKEN)
def test_what_a_recording_lacks_is_told_whatever_its_format(data, words, unusable, tmp_path):
    """Where no audio of it could be heard as it was spoken, none is kept."""
    found, without = problem_of(data, tmp_path)
    assert re.search(words, found)
    assert without == unusable


def test_a_line_without_a_length_is_told():
    """Nothing says whether the file is whole."""
    take = recorded._take(encoded(SPEECH[:HALF]), "test/1.wav", 0)
    assert take.fault.startswith("recording test/1.wav may lack anything: its line says 0 samples")
    assert len(take.wave) == HALF


def test_silence_behind_an_offset_is_found(tmp_path):
    """Half of the recording is a constant."""
    wave = np.where(np.arange(len(SPEECH)) < HALF, SPEECH, 0) + np.float32(0.05)
    assert "silence" in problem_of(encoded(wave), tmp_path, max_silent_share=0.5)[0]


def test_a_bad_recording_gives_way_to_the_next(fleurs, tmp_path):
    """Silent, truncated, undecodable or missing ones; what is kept is good."""
    table = stage(fleurs, tmp_path)
    kept = {10: "test/b10.wav", 11: "test/c11.wav", 14: "dev/b14.wav", 16: "test/b16.wav"}
    for number, origin in kept.items():
        row = table.loc[number]
        assert row["origin"] == origin
        assert row["problem"] == ""
        assert not row["unusable"]
        hz = int(origin[-6:-4]) + 400
        assert pitch_hz(heard(tmp_path, row)) == pytest.approx(hz, abs=1)
    assert table.loc[[10, 11, 12, 14], "attempt"].tolist() == [1, 2, 0, 1]
    assert set(table["engine"]) == {"recorded"}


def test_a_sentence_without_a_good_recording_is_flagged(fleurs, tmp_path):
    """With a second of silence where nothing can be read; never silently kept."""
    table = stage(fleurs, tmp_path)
    assert set(table.index[table["problem"] != ""]) == {13, 17}
    assert "cannot be decoded" in table.loc[13, "problem"]
    assert table.loc[13, "unusable"]
    wave = heard(tmp_path, table.loc[13])
    assert wave.shape == (16_000,)
    assert not wave.any()
    # What can at least be heard stays where the other recordings cannot be read.
    assert table.loc[17, "origin"] == "test/a17.wav"
    assert "truncated: 32000 of 33600" in table.loc[17, "problem"]
    assert not table.loc[17, "unusable"]
    assert pitch_hz(heard(tmp_path, table.loc[17])) == pytest.approx(417, abs=1)


def test_one_attempt_keeps_the_first_recording_and_says_what_is_wrong(fleurs, tmp_path):
    table = stage(fleurs, tmp_path, max_attempts=1)
    assert set(table["attempt"]) == {0}
    assert table.loc[10, "problem"] == "silent"
    assert set(table.index[table["problem"] != ""]) == {10, 11, 13, 14, 17}


def test_an_unpacked_folder_gives_the_same(fleurs, tmp_path):
    """Table and audio, byte by byte."""
    archived = stage(fleurs, tmp_path / "archived")
    for name, split in published()["deu"].items():
        split.unpack(fleurs, DEU, name)
    unpacked = stage(fleurs, tmp_path / "unpacked")
    pd.testing.assert_frame_equal(archived, unpacked)
    for path in archived["path"]:
        one, other = (tmp_path / run / "speech" / path for run in ("archived", "unpacked"))
        assert one.read_bytes() == other.read_bytes()


def test_every_archive_is_read_once_a_call(fleurs, monkeypatch):
    """However many utterances, and in whatever order."""
    opened_archives = []
    real = tarfile.open
    monkeypatch.setattr(
        recorded.tarfile,
        "open",
        lambda path, mode: opened_archives.append(path) or real(path, mode),
    )
    requests = [request(fleurs, number) for number in (19, 10, 18, 15, 12, 11, 16)]
    takes = list(opened(fleurs).speak(requests))
    assert len(takes) == 7
    assert sorted(path.name for path in opened_archives) == ["dev.tar.gz", "test.tar.gz"]


def test_what_is_taken_does_not_depend_on_the_other_requests(fleurs):
    together = list(opened(fleurs).speak([request(fleurs, number) for number in (18, 15, 15, 12)]))
    for number, take in zip((18, 15, 15, 12), together, strict=True):
        alone = taken(fleurs, number)
        assert take.origin == alone.origin
        np.testing.assert_array_equal(take.wave, alone.wave)


def test_only_regular_files_are_read(fleurs, tmp_path, caplog):
    """Who opens a named pipe waits for a writer."""
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "1.wav")
    engine = recorded.open_engine(DEU, {"audio": {"test": str(tmp_path / "pipe")}}, 1, 1)
    (take,) = engine.speak([Request(1, "", 0, (("test", "1.wav", 1),))])
    assert take.fault == "recording test/1.wav is missing"
    assert "1.wav: passed over, a named pipe" in caplog.text
    with pytest.raises(ValueError, match="expected an archive of recordings, got a named pipe"):
        recorded.open_engine(DEU, {"audio": {"test": str(tmp_path / "pipe" / "1.wav")}}, 1, 1)


def test_an_archive_cut_off_in_the_middle_is_refused(fleurs):
    """Where a wanted recording may lie behind the cut; one before it is still to be had."""
    archive = archive_file(fleurs, DEU, "test")
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        ValueError, match=r"test\.tar\.gz: .* cannot be read to the end .* fetch it"
    ):
        taken(fleurs, 17)
    assert taken(fleurs, 18).fault == ""  # of the other split


def test_a_damaged_archive_is_refused(fleurs):
    archive = archive_file(fleurs, DEU, "test")
    damaged = bytearray(archive.read_bytes())
    damaged[len(damaged) // 2 : len(damaged) // 2 + 40] = bytes(40)
    archive.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"test\.tar\.gz: .* cannot be read to the end"):
        taken(fleurs, 17)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of git-lfs"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"", "an empty file"),
        (b"no archive at all", "cannot be read to the end"),
    ],
)
def test_what_is_no_archive_is_refused(fleurs, content, message):
    archive_file(fleurs, DEU, "test").write_bytes(content)
    with pytest.raises(ValueError, match=rf"test\.tar\.gz: expected an archive .*{message}"):
        taken(fleurs, 15)


def test_a_missing_archive_is_refused_at_once(fleurs):
    archive_file(fleurs, DEU, "dev").unlink()
    with pytest.raises(FileNotFoundError, match=r"dev\.tar\.gz: .* German \(deu\), split dev"):
        opened(fleurs)


def test_recordings_of_another_language_are_refused(fleurs):
    """Rather than all of them flagged."""
    french = archive_file(fleurs, LANGUAGES["fra"], "test")
    archive_file(fleurs, DEU, "test").write_bytes(french.read_bytes())
    with pytest.raises(ValueError, match=r"of German \(deu\) such as a1\d\.wav, found none of 5"):
        list(opened(fleurs).speak([request(fleurs, number) for number in (10, 11, 12, 15, 17)]))


@pytest.mark.parametrize(
    "stray",
    [
        (member("../../x1.wav"), wav(tone(900, 1))),
        (member("/x1.wav"), wav(tone(900, 1))),
        (member("test/../x1.wav"), wav(tone(900, 1))),
        (member("test/x1.wav", tarfile.SYMTYPE, "/etc/passwd"), b""),
        (member("test/x1.wav", tarfile.LNKTYPE, "test/x2.wav"), b""),
        (directory("test/x1.wav"), b""),
    ],
    ids=["above", "absolute", "roundabout", "symbolic link", "hard link", "folder"],
)
def test_hostile_members_are_passed_over(tmp_path, stray):
    """Nothing is written, no link is followed, and the honest member of the name is found."""
    honest = spoken(1, "x1.wav", 300, "Das Rad.", "das rad")
    other = spoken(2, "x2.wav", 302, "Das Rad.", "das rad")
    folder = tmp_path / "fleurs"
    Split([other, honest], [stray]).write(folder, DEU, "test")
    before = sorted(tmp_path.rglob("*"))
    engine = opened(folder, ["test"])
    takes = list(engine.speak([Request(1, "Das Rad.", 0, (("test", "x1.wav", honest.samples),))]))
    assert pitch_hz(takes[0].wave) == pytest.approx(300, abs=1)
    assert sorted(tmp_path.rglob("*")) == before
    write_archive(archive_file(folder, DEU, "test"), [stray])
    (take,) = opened(folder, ["test"]).speak([Request(1, "", 0, (("test", "x1.wav", 1),))])
    assert take.fault == "recording test/x1.wav is missing"
    assert sorted(tmp_path.rglob("*")) == before
