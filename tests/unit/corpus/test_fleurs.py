"""A folder as FLEURS is published, quirks included: its sentences, and what is refused before any job."""

import json
import re

import pytest
from conftest import ROOT
from finished_demo import snakemake
from fleurs_files import LANGUAGES, line, published, write_fleurs, write_split

from steplens.corpus.fleurs import archive_file, check_corpus, recordings_digest, split_file
from steplens.corpus.sentences import choose_sentences, read_sentences
from steplens.errors import ConfigError

DEU, FRA, CMN, ENG = (LANGUAGES[code] for code in ("deu", "fra", "cmn", "eng"))
POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:04a18cb93720cfed1ed992abebe977ac3880cab17ec7cf9cb5afe77d439988d3\nsize 1459456451\n"
)


@pytest.fixture
def fleurs(tmp_path):
    return write_fleurs(tmp_path / "fleurs")


def recordings(frame, number):
    found = json.loads(frame.set_index("utterance").loc[number, "recordings"])
    return [f"{one['split']}/{one['file']}" for one in found]


def test_the_recordings_of_a_sentence_stand_in_the_order_of_splits_and_lines(fleurs):
    """Those of its text; the first is the one that split and file name."""
    found = read_sentences(fleurs, DEU, ["test", "dev"])
    assert recordings(found, 10) == ["test/a10.wav", "test/b10.wav"]
    assert recordings(found, 11) == ["test/a11.wav", "test/b11.wav", "test/c11.wav"]
    assert recordings(found, 14) == ["test/a14.wav", "dev/b14.wav"]
    other = read_sentences(fleurs, DEU, ["dev", "test"])
    assert recordings(other, 14) == ["dev/b14.wav", "test/a14.wav"]
    for frame in (found, other):
        firsts = [json.loads(one)[0] for one in frame["recordings"]]
        assert [one["file"] for one in firsts] == frame["file"].tolist()
        assert [one["split"] for one in firsts] == frame["split"].tolist()


def test_recordings_carry_their_number_of_samples(fleurs):
    found = read_sentences(fleurs, DEU, ["test"]).set_index("utterance")
    assert [one["n_samples"] for one in json.loads(found.loc[17, "recordings"])] == [
        33_600,
        32_000,
    ]


def test_a_line_without_text_or_with_another_is_no_recording_of_the_sentence(fleurs, caplog):
    found = read_sentences(fleurs, DEU, ["test"])
    assert found.set_index("utterance").loc[16, "raw_transcription"] == "Das Rad ist rund."
    assert recordings(found, 16) == ["test/b16.wav"]
    assert (
        "deu: expected one text an id, got another in 1 recordings, which are left out: 16"
        in caplog.text
    )


def test_sentences_that_a_language_lacks_are_missing_there_alone(fleurs):
    assert 15 in set(read_sentences(fleurs, DEU, ["test", "dev"])["utterance"])
    chosen = choose_sentences(fleurs, DEU, ["test", "dev"], 8, 1, [FRA, CMN])
    assert sorted(chosen["utterance"]) == [10, 11, 12, 13, 14, 16, 17, 18]
    french = choose_sentences(fleurs, FRA, ["test", "dev"], 8, 1, [FRA, CMN, DEU])
    assert french["utterance"].tolist() == chosen["utterance"].tolist()
    with pytest.raises(
        ValueError, match=r"at most 8, .* of deu in test, dev that fra share, got 9"
    ):
        choose_sentences(fleurs, DEU, ["test", "dev"], 9, 1, [FRA])


def test_mandarin_is_joined(fleurs):
    assert set(read_sentences(fleurs, CMN, ["test"])["text"]) == {"轮子是圆的"}


def test_a_whole_copy_passes(fleurs):
    check_corpus(fleurs, [DEU, FRA, CMN, ENG], ["test", "dev"], [DEU, FRA])


@pytest.mark.parametrize(
    ("name", "languages", "splits", "message"),
    [
        (
            "google/fleurs",
            [DEU],
            ["validation"],
            r"corpus\.splits: .* train, dev, test, .*validation",
        ),
        ("google/fleurs", [DEU], ["../test"], r"got '\.\./test'"),
    ],
)
def test_a_split_that_fleurs_does_not_have_is_refused(name, languages, splits, message):
    with pytest.raises(ConfigError, match=message):
        check_corpus(name, languages, splits, [])
    check_corpus(name, languages, ["train", "dev", "test"], languages)


def _no_data(folder):
    (folder / "data").rename(folder / "daten")


def _no_folder(folder):
    folder.rename(folder.with_name("elsewhere"))


def _languages_on_top(folder):
    for path in list((folder / "data").iterdir()):
        path.rename(folder / path.name)
    (folder / "data").rmdir()


def _parquet(folder):
    _no_data(folder)
    (folder / "fr_fr").mkdir()
    (folder / "fr_fr" / "test-00000-of-00001.parquet").write_bytes(b"PAR1")
    (folder / "fr_fr").rename(folder / "parquet-data")


def _no_language(folder):
    (folder / "data" / "fr_fr").rename(folder / "data" / "fr_ca")


def _no_split(folder):
    split_file(folder, FRA, "test").unlink()


def _no_archive(folder):
    archive_file(folder, FRA, "test").unlink()


def _empty_folder(folder):
    archive_file(folder, FRA, "test").with_name("test").mkdir()


def _put(content, where):
    def put(folder):
        where(folder, FRA, "test").write_bytes(content)

    return put


UNPLUGGED = {
    "no folder": (_no_folder, r"fleurs: there is no such folder"),
    "no data": (_no_data, r"expected a folder that holds data/<code>/<split>\.tsv .* has no folder data"),
    "languages on top": (_languages_on_top, r"give the folder that holds data"),
    "parquet": (_parquet, r"it has Parquet files, as later revisions"),
    "no language": (
        _no_language,
        r"data/fr_fr with the sentences of French \(fra\); there is cmn_hans_cn, de_de, en_us, fr_ca",
    ),
    "no split": (_no_split, r"data/fr_fr/test\.tsv, the sentences of French \(fra\); there is dev\.tsv"),
    "empty": (
        _put(b"", split_file),
        r"fr_fr/test\.tsv, the sentences of French \(fra\); it is an empty file: fetch it again",
    ),
    "web page": (
        _put(b"<!DOCTYPE html>\n<html>", split_file),
        r"fr_fr/test\.tsv, the sentences of French \(fra\); it is a web page: download",
    ),
    "pointer": (
        _put(POINTER, split_file),
        r"fr_fr/test\.tsv, .* it is a pointer of git-lfs .* git lfs pull --include='\*\*/test\.tsv'",
    ),
    "no archive": (
        _no_archive,
        r"audio/test\.tar\.gz, the recordings of French \(fra\), which speech engine recorded needs, or a "
        r"folder test beside it with its files; there is dev\.tar\.gz",
    ),
    "pointer to an archive": (
        _put(POINTER, archive_file),
        r"test\.tar\.gz, the recordings of French .* pointer of git-lfs .* --include='\*\*/test\.tar\.gz'",
    ),
    "empty archive": (_put(b"", archive_file), r"test\.tar\.gz, the recordings of French .* empty file"),
    "empty folder": (_empty_folder, r"audio/test with the recordings of French .* has no WAV file"),
}  # fmt: skip
OF_RECORDINGS = ("no archive", "pointer to an archive", "empty archive", "empty folder")


@pytest.mark.parametrize("fault", UNPLUGGED)
def test_what_a_local_copy_lacks_is_named(fleurs, fault):
    """The file, the language, what was expected, what is there, and how to get the real one."""
    unplug, message = UNPLUGGED[fault]
    unplug(fleurs)
    with pytest.raises(ConfigError, match=message) as refused:
        check_corpus(fleurs, [DEU, FRA, CMN], ["test", "dev"], [FRA])
    assert "corpus.path" in str(refused.value)
    assert "\n" not in str(refused.value)
    if fault in OF_RECORDINGS:  # nobody misses them where speech is synthesised
        check_corpus(fleurs, [DEU, FRA, CMN], ["test", "dev"], [])


@pytest.fixture
def project(tmp_path):
    (tmp_path / "config").symlink_to(ROOT / "config")
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    return tmp_path


@pytest.mark.parametrize("fault", ["no language", "pointer", "no archive"])
def test_the_workflow_refuses_it_before_any_job(project, fleurs, fault):
    """One message, already in a dry run."""
    unplug, message = UNPLUGGED[fault]
    unplug(fleurs)
    result = snakemake(
        project, "--dry-run", "--config", "languages=[deu,fra]", "speech={engine: recorded}",
        f"corpus={{path: {fleurs}, n_utterances: 4}}", "steering={n_utterances: 2}",
    )  # fmt: skip
    text = result.stdout + result.stderr
    assert result.returncode != 0
    assert "Traceback" not in text
    (told,) = [one for one in text.splitlines() if "corpus.path" in one]
    assert re.search(message, told)
    assert not (project / "results").exists()


def test_other_recordings_of_the_same_name_have_another_digest(fleurs, tmp_path):
    archive = archive_file(fleurs, DEU, "test")
    before = recordings_digest([archive])
    assert recordings_digest([archive]) == before
    archive.write_bytes(archive.read_bytes()[:-1])
    assert recordings_digest([archive]) != before
    folder = published()["deu"]["test"].unpack(fleurs, DEU, "test")
    unpacked = recordings_digest([folder])
    (folder / "a10.wav").write_bytes(b"other")
    assert recordings_digest([folder]) != unpacked
    assert recordings_digest([tmp_path / "nothing"]) == recordings_digest([])


def test_a_file_that_looks_like_a_quoted_table_is_read_as_it_is(tmp_path):
    """A byte order mark, carriage returns, tabs at the end and a blank last line do no harm."""
    path = write_split(tmp_path, DEU, "test", [line(1), line(2, '"Eins" und "zwei'), line(3)])
    text = path.read_bytes().replace(b"\n", b"\t\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text + b"\r\n")
    found = read_sentences(tmp_path, DEU, ["test"])
    assert found["raw_transcription"].tolist() == ["Guten Tag.", '"Eins" und "zwei', "Guten Tag."]
