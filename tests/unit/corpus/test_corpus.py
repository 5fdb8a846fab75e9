"""Sentences out of files as FLEURS publishes them, quirks included (D14)."""

import json

import pandas as pd
import pytest
from fleurs_files import line, write_split

from steplens.corpus.sentences import (
    choose_sentences,
    join_cjk,
    read_sentences,
    read_split,
    write_corpus,
)
from steplens.languages.table import load_languages

LANGUAGES = load_languages()
DEU, FRA, CMN = LANGUAGES["deu"], LANGUAGES["fra"], LANGUAGES["cmn"]


def chosen(folder, language=DEU, n=5, seed=1, parallel_over=(), splits=("test",)):
    return choose_sentences(folder, language, list(splits), n, seed, list(parallel_over))


def ids(frame):
    return frame["utterance"].tolist()


def test_quotes_are_letters_like_any_other(tmp_path):
    """A stray quote neither opens a field nor swallows the lines after it."""
    rows = [line(1, '"Ja, sagte er.', '"ja sagte er'), line(2, 'das "Haus"', 'das "haus"'), line(3)]
    write_split(tmp_path, DEU, "test", rows)
    found = read_sentences(tmp_path, DEU, ["test"])
    assert ids(found) == [1, 2, 3]
    assert found["raw_transcription"].tolist()[:2] == ['"Ja, sagte er.', 'das "Haus"']
    assert found["text"].tolist()[:2] == ['"ja sagte er', 'das "haus"']


def test_of_several_recordings_and_splits_the_first_is_kept(tmp_path):
    write_split(tmp_path, DEU, "dev", [line(7, file="a.wav"), line(7, file="b.wav"), line(8)])
    write_split(tmp_path, DEU, "test", [line(8, file="c.wav"), line(9)])
    found = read_sentences(tmp_path, DEU, ["dev", "test"])
    assert found[["utterance", "split", "file"]].to_numpy().tolist() == [
        [7, "dev", "a.wav"], [8, "dev", "8.wav"], [9, "test", "9.wav"],
    ]  # fmt: skip
    other = read_sentences(tmp_path, DEU, ["test", "dev"])
    assert other.set_index("utterance").loc[8, ["split", "file"]].tolist() == ["test", "c.wav"]


def test_mandarin_spaced_by_character_is_joined_in_text_only(tmp_path):
    write_split(
        tmp_path,
        CMN,
        "test",
        [line(1, "他去银行。", "他 去 银 行"), line(2, "用 GPS", "用 gps 找")],
    )
    found = read_sentences(tmp_path, CMN, ["test"])
    assert found["text"].tolist() == ["他去银行", "用 gps 找"]
    assert found["raw_transcription"].tolist() == ["他去银行。", "用 GPS"]


@pytest.mark.parametrize(
    ("spaced", "joined"),
    [
        ("银 行", "银行"),
        ("他  去\u3000银 行", "他去银行"),
        ("ス ー パ ー へ", "スーパーへ"),
        ("用 gps 找", "用 gps 找"),
        ("2 0 年", "2 0 年"),
        ("das ist gut", "das ist gut"),
        ("안녕 세계", "안녕 세계"),
        ("", ""),
    ],
)
def test_only_spaces_between_chinese_or_japanese_characters_go(spaced, joined):
    assert join_cjk(spaced) == joined


@pytest.mark.parametrize("empty", [line(2, text=" "), line(2, raw="")])
def test_sentences_without_text_are_left_out_and_logged(tmp_path, caplog, empty):
    write_split(tmp_path, DEU, "test", [line(1), empty, line(3)])
    assert ids(read_sentences(tmp_path, DEU, ["test"])) == [1, 3]
    assert (
        "deu: expected text in every sentence, got none in 1 of 3, which are left out: 2"
        in caplog.text
    )


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("2\tb.wav\tzu kurz", r"test\.tsv:2: expected 7 fields separated by tabs, got 3"),
        (line(2) + "\tmore", r"test\.tsv:2: expected 7 fields separated by tabs, got 8"),
        (line("zwei"), r"test\.tsv:2: id: expected a number, got 'zwei'"),
        (line("-2"), r"test\.tsv:2: id: expected a number, got '-2'"),
        (line("²"), r"test\.tsv:2: id: expected a number, got '²'"),
        (line(2, samples="2.5"), r"test\.tsv:2: samples: expected a number, got '2\.5'"),
        (line(2, samples=""), r"test\.tsv:2: samples: expected a number, got ''"),
        (line("id"), r"test\.tsv:2: id: expected a number, got 'id'; remove the header"),
        (
            line(17653886544018491781),
            r"test\.tsv:2: id: expected a number up to 9223372036854775807, got '17653886544018491781'; "
            r"number the sentences anew",
        ),
        (line(2**63), r"test\.tsv:2: id: expected a number up to 9223372036854775807"),
        (
            line("9" * 5000),
            r"test\.tsv:2: id: expected a number up to \d{19}, got '9{100}' …; number",
        ),
        (line(2, samples=-1), r"test\.tsv:2: samples: expected a number, got '-1'"),
        (
            line(2, samples=2**63),
            r"test\.tsv:2: samples: expected a number up to 9223372036854775807",
        ),
        (line(2, samples="1e5"), r"test\.tsv:2: samples: expected a number, got '1e5'"),
        (
            line(2, file="../2.wav"),
            r"test\.tsv:2: file: expected a plain file name, got '\.\./2\.wav'",
        ),
        (line(2, file="/etc/2.wav"), r"test\.tsv:2: file: expected a plain file name"),
        (line(2, file=".."), r"test\.tsv:2: file: expected a plain file name"),
    ],
)
def test_a_malformed_line_is_refused_by_file_and_number(tmp_path, bad, message):
    path = write_split(tmp_path, DEU, "test", [line(1), bad])
    with pytest.raises(ValueError, match=message):
        read_split(path)


def test_the_largest_numbers_are_kept_exactly(tmp_path):
    """Beyond 2^53, where neighbours are the same as floats; zeros before a number do not count."""
    lines = [line(2**63 - 1, samples=2**63 - 1), line(2**63 - 2), line("007"), line("0" * 30 + "8")]
    path = write_split(tmp_path, DEU, "test", lines)
    assert read_split(path)["id"].tolist() == [2**63 - 1, 2**63 - 2, 7, 8]
    assert read_split(path)["samples"].tolist()[0] == 2**63 - 1
    write_corpus(tmp_path, DEU, ["test"], 4, 1, [DEU], tmp_path / "deu.parquet")
    kept = pd.read_parquet(tmp_path / "deu.parquet")["utterance"]
    assert sorted(kept) == [7, 8, 2**63 - 2, 2**63 - 1]


def test_an_id_with_two_texts_is_told_by_file_and_line(tmp_path, caplog):
    """Both places, and both texts; the first one counts."""
    write_split(tmp_path, DEU, "dev", [line(1)])
    write_split(tmp_path, DEU, "test", [line(2), "", line(1, text="x" * 300)])
    found = read_sentences(tmp_path, DEU, ["dev", "test"]).set_index("utterance")
    assert found.loc[1, "text"] == "guten tag"
    folder = tmp_path / "data" / "de_de"
    assert f"{folder}/test.tsv:3: '{'x' * 100}' …, where {folder}/dev.tsv:1 has" in caplog.text


def test_of_languages_that_are_fetched_the_later_one_sees_the_other(tmp_path):
    """Without a common sentence its job ends; languages that are not there yet are looked at by theirs."""

    def written(language, others, fewest=1):
        output = tmp_path / f"{language.code}.parquet"
        write_corpus(tmp_path, language, ["test"], 3, 1, [], output, others, fewest)

    write_split(tmp_path, DEU, "test", [line(i) for i in range(3)])
    written(DEU, [DEU, FRA, CMN])
    write_split(tmp_path, FRA, "test", [line(i) for i in range(2, 5)])
    written(FRA, [DEU, FRA, CMN])
    with pytest.raises(ValueError, match=r"at least 2 .* got 1 of fra .* and deu"):
        written(FRA, [DEU, FRA, CMN], 2)
    write_split(tmp_path, DEU, "test", [line(i) for i in range(9, 12)])
    (tmp_path / "fra.parquet").unlink()
    with pytest.raises(
        ValueError, match=r"expected at least 1 .* got 0 of fra \(3 sentences, .*fr_fr"
    ):
        written(FRA, [DEU, FRA, CMN])
    assert not (tmp_path / "fra.parquet").exists()


@pytest.mark.parametrize(
    ("damaged", "why"),
    [
        ("7\tcut off", "expected 7 fields separated by tabs, got 2"),
        (line(7, "un\u202dten"), "raw_transcription: expected text without control characters"),
    ],
)
def test_one_damaged_line_in_a_hundred_is_left_out_and_logged(tmp_path, caplog, damaged, why):
    """A published file cannot be mended by its reader; a second one says that the file is another."""
    lines = [line(i) for i in range(200) if i != 7]
    path = write_split(tmp_path, DEU, "test", [*lines[:50], damaged, *lines[50:]])
    assert ids(read_sentences(tmp_path, DEU, ["test"])) == [i for i in range(200) if i != 7]
    (told,) = [one for one in caplog.messages if one.endswith(": left out")]
    assert f"test.tsv:51: {why}" in told
    write_split(tmp_path, DEU, "test", [*lines, "a", "b", "c"])
    with pytest.raises(ValueError, match=r"test\.tsv:200: expected 7 fields"):
        read_split(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is an empty file: fetch it again"),
        (b"\n \n", "got blank lines; fetch it again"),
        (b"\xff\xfe1\t", "expected text in UTF-8"),
        (b"<html><body>", "it is a web page: download the file itself"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "it is a pointer of git-lfs .* git lfs pull",
        ),
    ],
)
def test_a_file_without_sentences_is_refused(tmp_path, content, message):
    """With what it is instead."""
    path = write_split(tmp_path, DEU, "test", [])
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"de_de/test\.tsv:.*{message}"):
        read_split(path)


def test_a_first_recording_without_text_gives_way_to_the_next(tmp_path, caplog):
    rows = [line(1, raw="", text="", file="a.wav"), line(2), line(1, file="b.wav", samples=7)]
    write_split(tmp_path, DEU, "test", rows)
    found = read_sentences(tmp_path, DEU, ["test"]).set_index("utterance")
    assert found.loc[1, ["file", "text"]].tolist() == ["b.wav", "guten tag"]
    assert json.loads(found.loc[1, "recordings"]) == [
        {"split": "test", "file": "b.wav", "n_samples": 7}
    ]
    assert "left out" not in caplog.text


def test_a_missing_split_is_refused_by_its_path(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"de_de/train\.tsv: .* check corpus\.path"):
        read_sentences(tmp_path, DEU, ["train"])


@pytest.fixture
def fleurs(tmp_path):
    """German ids 0 to 39, French the even ones, Mandarin those under 30; one test split."""
    write_split(tmp_path, DEU, "test", [line(i) for i in range(40)])
    write_split(tmp_path, FRA, "test", [line(i) for i in range(38, -1, -2)])
    write_split(tmp_path, CMN, "test", [line(i, "你好。", "你 好") for i in range(30)])
    return tmp_path


def test_the_order_is_shuffled_by_the_seed_alone(fleurs):
    order = ids(chosen(fleurs, n=40))
    assert sorted(order) == list(range(40)) != order
    assert ids(chosen(fleurs, n=40)) == order
    assert ids(chosen(fleurs, n=40, seed=2)) != order
    assert ids(chosen(fleurs, n=7)) == order[:7]


def test_the_order_does_not_depend_on_the_language_or_on_other_sentences(fleurs):
    """Sentences that two corpora share stand in one order, however the files are sorted."""
    order = ids(chosen(fleurs, n=40))
    assert ids(chosen(fleurs, FRA, n=20)) == [one for one in order if one % 2 == 0]
    write_split(fleurs, DEU, "test", [line(i) for i in reversed(range(60))])
    assert [one for one in ids(chosen(fleurs, n=60)) if one < 40] == order


def test_parallel_over_keeps_what_all_the_languages_have(fleurs):
    shared = list(range(0, 30, 2))
    for language in (DEU, FRA, CMN):
        found = ids(chosen(fleurs, language, n=15, parallel_over=[DEU, FRA, CMN]))
        assert sorted(found) == shared
        assert found == ids(chosen(fleurs, DEU, n=15, parallel_over=[FRA, CMN]))


def test_too_few_sentences_says_how_many_there_are(fleurs):
    with pytest.raises(ValueError, match="at most 20, the sentences of fra in test, got 21"):
        chosen(fleurs, FRA, n=21)
    with pytest.raises(ValueError, match=r"at most 15, .* that fra, cmn share, got 16"):
        chosen(fleurs, DEU, n=16, parallel_over=[FRA, CMN])


def test_the_file_holds_what_was_chosen(fleurs, tmp_path):
    output = tmp_path / "corpus" / "deu.parquet"
    write_corpus(fleurs, DEU, ["test"], 6, 1, [], output)
    pd.testing.assert_frame_equal(pd.read_parquet(output), chosen(fleurs, n=6))
    assert [path.name for path in output.parent.iterdir()] == ["deu.parquet"]


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    """A sparse terabyte: to read it would take all memory."""
    path = write_split(tmp_path, DEU, "test", [line(1)])
    with path.open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(
        ValueError, match=r"test\.tsv: expected sentences in at most 134217728 bytes, got 10995"
    ):
        read_split(path)
