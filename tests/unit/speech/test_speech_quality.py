"""Which utterances are flagged, which are left out, and of which another take is asked for."""

import shutil

import numpy as np
import pandas as pd
import pytest
from judged_speech import judged, write_run

from steplens.files.atomic import write_csv
from steplens.files.records import read_record
from steplens.speech.quality import COLUMNS, resynthesise
from steplens.speech.takes import ask_for, first_attempts
from steplens.store.left_out import read_left_out

# Per utterance: what is wrong with its audio, whether there is any, its sentence, what asr made of it.
SPOKEN = {
    3: ("", False, "das ist gut", "Das ist gut."),
    1: ("65% silence", False, "er geht heim", "er geht heim"),
    8: ("", False, "es regnet", "ganz anders"),
    5: ("recording test/a.wav is missing", True, "sie kommt", ""),
    6: ("too long: 0.300 s a character", False, "ja", "ja ja ja"),
}
REASONS = {
    3: "", 1: "65% silence", 8: "CER 1.00", 5: "recording test/a.wav is missing; CER 1.00",
    6: "too long: 0.300 s a character; CER 3.00",
}  # fmt: skip


def read(path):
    numbers = ["cer", "seconds_per_character", "available"]
    return pd.read_csv(path, keep_default_na=False, na_values={name: [""] for name in numbers})


def test_utterances_are_flagged_by_their_audio_and_by_what_asr_makes_of_them(tmp_path):
    table = read(judged(tmp_path, write_run(tmp_path, SPOKEN))).set_index("utterance")
    assert table["reason"].to_dict() == REASONS
    assert table["flagged"].to_dict() == {number: bool(why) for number, why in REASONS.items()}
    np.testing.assert_allclose(table["cer"], [0, 0, 1, 1, 3], rtol=1e-8)
    assert table["seed"].eq(2**62).all()


@pytest.mark.parametrize("flagged", [True, False])
def test_flagged_utterances_are_left_out_by_config_and_those_without_audio_always(
    tmp_path, flagged
):
    path = judged(tmp_path, write_run(tmp_path, SPOKEN), leave_out_flagged=flagged)
    expected = {1, 8, 5, 6} if flagged else {5}
    assert set(read(path).query("left_out")["utterance"]) == expected
    assert set(read_left_out(path)["deu"]) == expected


def test_an_error_rate_at_the_limit_passes(tmp_path):
    run = write_run(tmp_path, {1: ("", False, "abcd", "ab"), 2: ("", False, "abcd", "a")})
    assert read(judged(tmp_path, run))["flagged"].tolist() == [False, True]


def test_a_sentence_without_letters_has_no_error_rate_and_no_flag(tmp_path):
    table = read(judged(tmp_path, write_run(tmp_path, {1: ("", False, "…", "ja")})))
    assert np.isnan(table["cer"][0])
    assert not table["flagged"][0]


TEXTS = [
    'er sagt "ja", und geht', "eins\nzwei", "eins\r\nzwei", "eins\rzwei", "NA", "null", "nan", "",
    "a\tb", "'", "\\", "a;b|c", '"', "1", "True", "ein \u2028 ende", "銀行",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_no_text_breaks_the_table_or_turns_into_a_missing_value(tmp_path, text):
    """A row an utterance, in a file of a line each."""
    run = write_run(tmp_path, {1: ("", False, text, text), 2: (text, False, "ja", "ja")})
    path = judged(tmp_path, run)
    table = read(path)
    said = " ".join(text.split()) if text.strip() else ""
    assert table["reference"].astype(str).tolist() == [said, "ja"]
    assert table["recognised"].astype(str).tolist() == [said, "ja"]
    assert table["problem"].astype(str).tolist() == ["", said]
    assert len(path.read_text(encoding="utf-8").split("\n")) == 4
    assert set(read_left_out(path).get("deu", [])) == ({2} if text else set())
    resynthesise(path, tmp_path / "speech")


def test_what_is_left_out_is_told_by_language(tmp_path):
    """Min Nan Chinese, ISO 639-3 nan, is a language, not a missing value."""
    some = {number: SPOKEN[number] for number in (3, 5)}
    path = judged(tmp_path, write_run(tmp_path, SPOKEN), write_run(tmp_path, some, "nan"))
    found = read_left_out(path)
    assert {language: set(numbers) for language, numbers in found.items()} == {
        "deu": {1, 8, 5, 6}, "nan": {5},
    }  # fmt: skip
    assert read(path)["language"].tolist() == ["deu"] * 5 + ["nan"] * 2


def test_a_language_of_which_nothing_is_left_is_named_with_its_reasons(tmp_path, caplog, capsys):
    """Before any statistic finds nothing; flagged utterances that are kept are enough."""
    bad = {
        1: ("65% silence", False, "er geht heim", "er geht heim"),
        5: ("recording test/a.wav is missing", True, "sie kommt", ""),
        8: ("", False, "es regnet", "ganz anders"),
    }
    runs = write_run(tmp_path, SPOKEN), write_run(tmp_path, bad, "fra")
    judged(tmp_path, *runs)
    (told,) = [
        one for one in caplog.messages if one.startswith("speech of fra: expected utterances")
    ]
    assert told in capsys.readouterr().err
    assert "got fra with all 3 left out (CER 2 times, " in told
    assert "the first, 1: 65% silence)" in told
    assert "leave_out_flagged to false" in told
    assert "snakemake resynthesise" in told
    caplog.clear()
    judged(tmp_path, *runs, leave_out_flagged=False)
    assert "expected utterances" not in caplog.text
    none = dict.fromkeys((1, 2), ("no audio", True, "ja", ""))
    judged(tmp_path, write_run(tmp_path, none, "jpn"), leave_out_flagged=False)
    assert "got jpn with all 2 left out" in caplog.text


def test_several_tables_leave_out_what_any_of_them_does(tmp_path):
    other = {3: ("silent", False, "a", "a"), 8: SPOKEN[3]}
    one = judged(tmp_path / "one", write_run(tmp_path / "one", SPOKEN))
    two = judged(tmp_path / "two", write_run(tmp_path / "two", other))
    assert set(read_left_out([one, two])["deu"]) == {3, 1, 8, 5, 6}
    assert set(read_left_out([two])["deu"]) == {3}


def test_without_a_table_or_a_row_nothing_is_left_out(tmp_path):
    assert read_left_out(None) == {}
    write_csv(pd.DataFrame(columns=COLUMNS), tmp_path / "empty.csv")
    assert read_left_out(tmp_path / "empty.csv") == {}


def asked(folder, language="deu"):
    path = folder / language / "first_attempts.json"
    return read_record(path)["attempts"] if path.exists() else None


def test_the_next_attempt_is_asked_for(tmp_path, capsys):
    """After the one that is kept, of every flagged utterance; the others keep what they were asked."""
    path = judged(tmp_path, write_run(tmp_path, SPOKEN, attempts=[0, 0, 3, 1, 0]))
    folder = tmp_path / "speech"
    ask_for(folder / "deu" / "first_attempts.json", "xtts", {3: 2, 8: 1})
    resynthesise(path, folder)
    assert asked(folder) == {"3": 2, "1": 1, "8": 4, "5": 2, "6": 1}
    assert "deu: another take of 4 utterances" in capsys.readouterr().out


def test_what_was_asked_of_one_engine_says_nothing_about_another(tmp_path):
    """Which asks anew; nor does a file of another language, or one that is no record."""
    path = tmp_path / "deu" / "first_attempts.json"
    resynthesise(judged(tmp_path, write_run(tmp_path, SPOKEN, engine="xtts")), tmp_path)
    assert first_attempts(path, "xtts") == {1: 1, 8: 1, 5: 1, 6: 1}
    assert first_attempts(path, "recorded") == first_attempts(path, None) == {}
    other = write_run(tmp_path, {3: SPOKEN[3], 8: SPOKEN[8]}, engine="recorded", available=9)
    resynthesise(judged(tmp_path, other), tmp_path)
    assert first_attempts(path, "recorded") == {8: 1}
    assert first_attempts(path, "xtts") == {}
    (tmp_path / "fra").mkdir()
    shutil.copy(path, tmp_path / "fra")
    assert first_attempts(tmp_path / "fra" / path.name, "recorded") == {}
    for rest in ('{"8": 4}', "", "[]", '{"language": "deu", "engine": "recorded"}'):
        path.write_text(rest)
        assert first_attempts(path, "recorded") == {}
    assert first_attempts(tmp_path / "none.json", "xtts") == {}


def test_of_espeak_nothing_is_asked(tmp_path, capsys):
    """It speaks a sentence in one way only."""
    path = judged(tmp_path, write_run(tmp_path, SPOKEN, engine="espeak", available=1))
    resynthesise(path, tmp_path / "speech")
    assert asked(tmp_path / "speech") is None
    said = capsys.readouterr().out
    assert said == "4 flagged utterances stay as they are: espeak has no other take of them\n"


def test_recordings_that_do_not_exist_are_not_asked_for(tmp_path, capsys):
    """Of two recordings each: the second where the first is flagged, nothing where the second is."""
    run = write_run(tmp_path, SPOKEN, engine="recorded", attempts=[0, 0, 1, 0, 1], available=2)
    resynthesise(judged(tmp_path, run), tmp_path / "speech")
    assert asked(tmp_path / "speech") == {"1": 1, "5": 1}
    said = capsys.readouterr().out
    assert "2 flagged utterances stay as they are: recorded has no other take of them" in said
    assert "deu: another take of 2 utterances" in said


def test_engines_of_one_run_are_told_apart(tmp_path, capsys):
    runs = [
        write_run(tmp_path, SPOKEN, "deu", "xtts"),
        write_run(tmp_path, SPOKEN, "nan", "espeak", available=1),
    ]
    resynthesise(judged(tmp_path, *runs), tmp_path / "speech")
    assert set(asked(tmp_path / "speech")) == {"1", "8", "5", "6"}
    assert asked(tmp_path / "speech", "nan") is None
    assert "4 flagged utterances stay as they are: espeak" in capsys.readouterr().out


def test_where_nothing_is_flagged_nothing_is_asked(tmp_path, capsys):
    resynthesise(judged(tmp_path, write_run(tmp_path, {3: SPOKEN[3]})), tmp_path / "speech")
    assert asked(tmp_path / "speech") is None
    assert capsys.readouterr().out == "no utterance is flagged\n"
