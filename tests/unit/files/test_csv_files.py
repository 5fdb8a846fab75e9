"""A CSV gives back what was written, is no formula in a spreadsheet, and any damage to it is found."""

import csv
import json
import os
import shutil
import signal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steplens.errors import TableError
from steplens.files import table_metadata
from steplens.files.atomic import read_csv, write_csv
from steplens.files.table_metadata import (
    Origin,
    code_of,
    metadata_path,
    read_metadata,
    settings_of,
    settings_problems,
    source_problems,
)
from steplens.report.formatting import Formatter

FORMULAS = ["=1+1", "+49 30 1234", "-5", "@home", "\tx", '=HYPERLINK("a","b")', "＝1", "－", "\n=1"]
LOOKALIKES = [
    "NA",
    "nan",
    "null",
    "None",
    "",
    "007",
    "1e3",
    "True",
    "inf",
    "'",
    "''=",
    "'=1",
    "'a",
    " =1",
]
# What UTF-8 and a CSV can hold; a carriage return becomes a space.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=8)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "small" / "tables" / "one.csv"
    frame = pd.DataFrame({"language": ["deu", "nan"], "text": ["=1+1", "NA"], "x": [-1.5, np.nan]})
    write_csv(frame, path)
    return path


def cells(path, column):
    with path.open(encoding="utf-8", newline="") as file:
        return [row[column] for row in csv.DictReader(file)]


@settings(deadline=None, max_examples=60)
@given(st.lists(TEXTS | st.sampled_from(FORMULAS + LOOKALIKES), min_size=1, max_size=6))
def test_texts_come_back_as_they_were(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("csv") / "one.csv"
    write_csv(pd.DataFrame({"n": range(len(texts)), "text": texts}), path)
    assert read_csv(path)["text"].tolist() == texts
    assert not [one for one in cells(path, "text") if one[:1] in tuple("=+-@\t\r\n＝＋－＠")]


@pytest.mark.parametrize("texts", [[" a", " ", "b "], [" "], ["", "a"], ["a", ""]])
def test_a_row_of_one_blank_text_is_a_row(tmp_path, texts):
    write_csv(pd.DataFrame({"text": texts}), tmp_path / "one.csv")
    assert read_csv(tmp_path / "one.csv")["text"].tolist() == texts


def test_texts_that_a_spreadsheet_computes_get_an_apostrophe(tmp_path):
    """And nothing else does: OWASP's list, and texts that already begin as an escaped one would."""
    path = tmp_path / "one.csv"
    write_csv(pd.DataFrame({"text": FORMULAS}), path)
    assert cells(path, "text") == [f"'{one}" for one in FORMULAS]
    write_csv(pd.DataFrame({"text": LOOKALIKES}), path)
    assert cells(path, "text") == [
        f"'{one}" if one in ("''=", "'=1") else one for one in LOOKALIKES
    ]


def test_numbers_stay_numbers(tmp_path):
    """Negative ones too: in a column of numbers, and where a column holds both numbers and texts."""
    path = tmp_path / "one.csv"
    frame = pd.DataFrame({"x": [-1.5, np.inf, np.nan], "n": [-1, 2, 3], "k": [-5, "all", "-all"]})
    write_csv(frame.assign(b=[True, False, True]), path)
    assert path.read_text() == "x,n,k,b\n-1.5,-1,-5,True\ninf,2,all,False\n,3,'-all,True\n"
    found = read_csv(path)
    assert found["x"].tolist()[:2] == [-1.5, np.inf]
    assert np.isnan(found["x"][2])
    assert found["n"].tolist() == [-1, 2, 3]
    assert found["b"].tolist() == [True, False, True]
    assert found["k"].tolist() == ["-5", "all", "-all"]


def test_missing_texts_are_missing_and_empty_ones_empty(tmp_path):
    write_csv(pd.DataFrame({"a": ["x", None], "b": ["x", ""]}), tmp_path / "one.csv")
    found = read_csv(tmp_path / "one.csv")
    assert found["a"].isna().tolist() == [False, True]
    assert found["b"].tolist() == ["x", ""]
    assert read_csv(tmp_path / "one.csv", ["b"]).columns.tolist() == ["b"]


def test_floats_stay_floats_where_all_are_whole_and_whole_numbers_stay_whole(tmp_path):
    """A share of 1 is 100 %, and not a count of 1."""
    shares = pd.DataFrame({"share": [1.0, 0.0], "none": [np.nan, np.nan], "n": [3, 4]})
    write_csv(shares, tmp_path / "one.csv")
    found = read_csv(tmp_path / "one.csv")
    pd.testing.assert_frame_equal(found, shares)
    assert [cell.text for cell in Formatter().table(found).rows[0]] == ["100.0", "–", "3"]


@pytest.mark.parametrize("columns", [[], ["a", "b"]])
def test_a_table_may_be_empty(tmp_path, columns):
    write_csv(pd.DataFrame(columns=columns), tmp_path / "one.csv")
    assert read_csv(tmp_path / "one.csv").columns.tolist() == columns
    assert read_csv(tmp_path / "one.csv").empty


def test_the_metadata_are_those_of_csv_on_the_web(table):
    """Where the recommendation looks for them, in its words."""
    content = json.loads((table.parent / "one.csv-metadata.json").read_text())
    assert content["@context"] == "http://www.w3.org/ns/csvw"
    assert content["url"] == "one.csv"
    assert content["tableSchema"]["columns"] == [
        {"name": "language", "datatype": "string", "null": []},
        {"name": "text", "datatype": "string", "null": []},
        {"name": "x", "datatype": "number"},
    ]


def _means(content):
    try:
        return json.loads(content)
    except ValueError:
        return None


@pytest.mark.parametrize("which", ["table", "metadata"])
def test_any_flipped_bit_is_found(table, which):
    path = table if which == "table" else metadata_path(table)
    whole = path.read_bytes()
    frame = read_csv(table)
    for place in range(len(whole)):
        broken = bytearray(whole)
        broken[place] ^= 1 << place % 8
        path.write_bytes(bytes(broken))
        if which == "metadata" and _means(bytes(broken)) == json.loads(whole):
            pd.testing.assert_frame_equal(read_csv(table), frame)  # white space between the parts
            continue
        with pytest.raises(TableError, match=r"one\.csv.*delete"):
            read_csv(table)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        if whole[length:].strip():
            with pytest.raises(TableError):
                read_csv(table)


def test_a_table_without_metadata_is_named_with_what_to_do(table):
    """Lost, or written by a version that kept none."""
    metadata_path(table).unlink()
    with pytest.raises(
        TableError, match=r"one\.csv: expected one\.csv-metadata\.json .* got none.*delete"
    ):
        read_csv(table)
    table.unlink()
    with pytest.raises(FileNotFoundError):
        read_csv(table)


def test_tables_that_changed_places_are_found(tmp_path, monkeypatch):
    """Whole as they are, with their metadata: what they say of their place is another."""
    monkeypatch.setattr(table_metadata, "_origin", Origin(tmp_path / "small", "compare_step"))
    paths = [tmp_path / "small" / "steps" / f"step-{step:02d}" / "overlap.csv" for step in (1, 6)]
    for path, value in zip(paths, (0.1, 0.6), strict=True):
        write_csv(pd.DataFrame({"overlap": [value]}), path)
    shutil.move(tmp_path / "small", tmp_path / "moved")  # the run as a whole may move
    one, other = (tmp_path / "moved" / "steps" / f"step-{step:02d}" for step in (1, 6))
    assert read_csv(one / "overlap.csv")["overlap"].tolist() == [0.1]
    one.rename(one.with_name("aside"))
    other.rename(one)
    with pytest.raises(TableError, match=r"got steps/step-06/overlap\.csv"):
        read_csv(one / "overlap.csv")


def test_a_kill_between_table_and_metadata_is_found(table):
    """A new one of either beside an old one of the other never passes for a table."""
    write = table_metadata.metadata_of

    def then_die(*arguments):
        from steplens.files.atomic import write_json

        write_json(metadata_path(table), write(*arguments))
        os.kill(os.getpid(), signal.SIGKILL)

    for old in (True, False):
        if not old:
            table.unlink()
        pid = os.fork()
        if pid == 0:
            import steplens.files.atomic

            steplens.files.atomic.metadata_of = then_die
            write_csv(pd.DataFrame({"x": [2]}), table)
        os.waitpid(pid, 0)
        with pytest.raises(TableError if old else FileNotFoundError):
            read_csv(table)
    write_csv(pd.DataFrame({"x": [2]}), table)
    assert read_csv(table)["x"].tolist() == [2]


PARAMS = {
    "k": 10,
    "selection": {"ties": "column", "seed": 0},
    "pairs": [("deu", "jpn")],
    "code": "abc",
}


def made_under(folder, monkeypatch, **params):
    params = PARAMS | params
    origin = Origin(folder, "locate", settings_of(params), code_of(params))
    monkeypatch.setattr(table_metadata, "_origin", origin)
    write_csv(pd.DataFrame({"x": [1]}), folder / "comparison" / "location.csv")
    return folder / "comparison" / "location.csv"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, []),
        ({"told_apart": {"k": 3}}, []),  # repeats the others
        ({"k": 300}, ["k: expected 10, got 300"]),
        ({"selection": {"ties": "separation", "seed": 0}},
         ["selection.ties: expected column, got separation"]),
        ({"pairs": []}, ["pairs: expected [['deu', 'jpn']], got []"]),
        ({"more": 1}, ["more: expected None, got 1"]),
        ({"code": "xyz"}, []),
    ],
)  # fmt: skip
def test_other_settings_are_named(tmp_path, monkeypatch, change, problem):
    path = made_under(tmp_path, monkeypatch, **change)
    assert list(settings_problems(path, settings_of(PARAMS))) == problem
    with_code = list(settings_problems(path, settings_of(PARAMS), code_of(PARAMS)))
    assert with_code == problem + ["code: expected abc, got xyz"] * ("code" in change)


def test_a_long_setting_is_cut(tmp_path, monkeypatch):
    path = made_under(tmp_path, monkeypatch, pairs=["a" * 5000])
    (problem,) = settings_problems(path, settings_of(PARAMS))
    assert len(problem) < 250


def test_damaged_settings_are_found(tmp_path, monkeypatch):
    path = made_under(tmp_path, monkeypatch)
    beside = metadata_path(path)
    beside.write_text(beside.read_text().replace('"k": 10', '"k": 11'))
    with pytest.raises(TableError, match=r"location\.csv-metadata\.json: damaged"):
        list(settings_problems(path, settings_of(PARAMS)))


def test_a_table_that_says_nothing_of_settings_has_no_problem(table):
    assert list(settings_problems(table, {"k": 1})) == []
    metadata_path(table).unlink()
    assert list(settings_problems(table, {"k": 1})) == []


def test_what_a_table_was_made_of_is_kept(tmp_path, monkeypatch):
    """And another file in its place is named; one that was deleted is none."""
    part = made_under(tmp_path, monkeypatch)
    sources = table_metadata.sources_of([part, "elsewhere.csv", tmp_path / "a.wav"], tmp_path)
    assert list(sources) == ["comparison/location.csv"]
    monkeypatch.setattr(table_metadata, "_origin", Origin(tmp_path, "gather", sources=sources))
    whole = tmp_path / "whole.csv"
    write_csv(pd.DataFrame({"x": [1]}), whole)
    assert list(source_problems(whole, tmp_path)) == []
    assert read_metadata(whole)["dc:source"] == sources
    write_csv(pd.DataFrame({"x": [2]}), part)
    (problem,) = source_problems(whole, tmp_path)
    assert problem.startswith("made from another comparison/location.csv: expected sha256 ")
    part.unlink()
    assert list(source_problems(whole, tmp_path)) == []
