"""What is flipped, cut, swapped or doubled in a journal is as it was, or counts as not there."""

import json
import random
import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from speech_stage import files, make_stage

from steplens.errors import RecordError
from steplens.files.records import from_line, read_record, to_line, write_record
from steplens.speech.takes import Journal, ask_for, first_attempts
from steplens.steering.kept_outputs import COLUMNS, SteeredOutputs, n_generated
from steplens.store.journal import read_journal, write_journal

SEED = 8


def flip(content: bytes, generator: random.Random) -> bytes:
    damaged = bytearray(content)
    damaged[generator.randrange(len(damaged))] ^= 1 << generator.randrange(8)
    return bytes(damaged)


def cut(content: bytes, generator: random.Random) -> bytes:
    return content[: generator.randrange(len(content))]


def lose_within(content: bytes, generator: random.Random) -> bytes:
    start = generator.randrange(len(content))
    return content[:start] + content[start + generator.randrange(1, 200) :]


def swap_lines(content: bytes, generator: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    one, other = generator.choices(range(len(lines)), k=2)
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def double_line(content: bytes, generator: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    lines.insert(generator.randrange(len(lines)), generator.choice(lines))
    return b"".join(lines)


def zeros(content: bytes, generator: random.Random) -> bytes:
    start = generator.randrange(len(content))
    return content[:start] + bytes(len(content) - start)


DAMAGES = [flip, cut, lose_within, swap_lines, double_line, zeros]


def damages(content: bytes, n: int, kinds=(cut, lose_within, swap_lines, double_line, zeros)):
    """``n`` flips and a tenth as many of every other kind, seeded."""
    generator = random.Random(SEED)
    for kind, times in [(flip, n), *((kind, n // 10) for kind in kinds)]:
        for _ in range(times):
            yield kind(content, generator)


@pytest.fixture
def stage(tmp_path, monkeypatch):
    return make_stage(tmp_path, monkeypatch)


def test_a_record_comes_back_as_it_was():
    record = {"a": 1, "text": "Größe 中\u2028\n", "x": [1.5e-7, None, True], "of": {"7": 2}}
    line = to_line(record)
    assert "\n" not in line
    assert from_line(line) == from_line(line.encode()) == record


def test_any_changed_record_is_refused_or_the_same():
    """Each bit of a record flipped once."""
    record = {"utterance": 12, "share": 0.0125, "fault": "", "unusable": False, "rate": 1e-05}
    line = to_line(record).encode()
    n_refused = 0
    for place in range(8 * len(line)):
        damaged = bytearray(line)
        damaged[place // 8] ^= 1 << place % 8
        try:
            assert from_line(bytes(damaged)) == record
        except RecordError:
            n_refused += 1
    assert n_refused > 0.99 * 8 * len(line)


@pytest.mark.parametrize(
    "rest", ["", "{", "[]", "null", "1", '{"a": 1}', "[" * 10**5, '{"digest": 3}']
)
def test_what_is_no_record_is_refused(rest, tmp_path, caplog):
    with pytest.raises(RecordError, match="expected a record"):
        from_line(rest)
    (tmp_path / "one.json").write_text(rest)
    assert read_record(tmp_path / "one.json") is None
    assert f"{tmp_path / 'one.json'}: counts as not there" in caplog.text
    write_record({"a": 1}, tmp_path / "one.json")
    assert read_record(tmp_path / "one.json") == {"a": 1}
    assert read_record(tmp_path / "other.json") is None


def test_no_damage_of_takes_gives_a_wrong_take(stage):
    """A thousand flips, and other damage: each take is found as it was, or not at all."""
    stage.engine.faulty = {(4, 0): "silent", (9, 0): "too short", (9, 1): "clipped"}
    stage.run()
    content = stage.journal.read_bytes()
    takes = [from_line(line) for line in content.splitlines()]
    assert len(takes) == 7
    n_lost = 0
    for damaged in damages(content, 1000):
        stage.journal.write_bytes(damaged)
        journal = Journal(stage.journal)
        for take in takes:
            found = journal.find(take["utterance"], take["attempt"], take["key"])
            assert found in (take, None)
            n_lost += found is None
    assert n_lost > 1000


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_run_after_any_damage_ends_like_an_undisturbed_one(stage, kind):
    """The takes that are lost are made again, and nothing else changes."""
    stage.engine.faulty = {(4, 0): "silent", (9, 0): "too short", (9, 1): "clipped"}
    stage.run()
    content, whole = stage.journal.read_bytes(), files(stage.folder)
    generator = random.Random(SEED)
    for _ in range(10):
        stage.journal.write_bytes(kind(content, generator))
        stage.run()
        assert files(stage.folder) == whole
        stage.run()
        assert stage.engine.asked == []


def test_lines_of_an_earlier_version_are_not_there(stage, caplog):
    """They had no digest: which of them hold what was written, nothing tells."""
    stage.run()
    lines = [from_line(line) for line in stage.journal.read_text().splitlines()]
    stage.journal.write_text("".join(json.dumps(one) + "\n" for one in lines))
    stage.run()
    assert len(stage.engine.asked) == len(lines)
    assert f"{stage.journal}: 4 lines are not as they were written" in caplog.text


def test_no_damage_of_asked_attempts_gives_a_wrong_one(tmp_path):
    path = tmp_path / "deu" / "first_attempts.json"
    ask_for(path, "xtts", {3: 1, 8: 12, 1774: 2})
    content, asked = path.read_bytes(), first_attempts(path, "xtts")
    for damaged in damages(content, 500, (cut, lose_within, zeros)):
        path.write_bytes(damaged)
        assert first_attempts(path, "xtts") in (asked, {})
        assert first_attempts(path, "recorded") == {}
    ask_for(path, "xtts", {5: 1})
    assert first_attempts(path, "xtts")[5] == 1


def test_no_damage_of_a_dump_s_journal_gives_wrong_rows(tmp_path):
    """Also of the number of positions, and of the key."""
    digests = np.random.default_rng(SEED).integers(0, 256, (5, 32), dtype=np.uint8)
    positions = np.array([7, 3, 12, 5, 9])
    write_journal(tmp_path, "key", digests, positions)
    path = tmp_path / "dump.json"
    content = path.read_bytes()
    for damaged in damages(content, 500, (cut, lose_within, zeros)):
        path.write_bytes(damaged)
        found, n_positions = read_journal(tmp_path, "key")
        if len(found):
            np.testing.assert_array_equal(found, digests)
            np.testing.assert_array_equal(n_positions, positions)
        else:
            assert n_positions is None


def test_no_damage_of_the_number_of_outputs_gives_a_wrong_one(tmp_path):
    SteeredOutputs(tmp_path, {"code": "a"}).close()
    path = tmp_path / "generated.json"
    for damaged in damages(path.read_bytes(), 200, (cut, zeros)):
        path.write_bytes(damaged)
        assert n_generated(tmp_path) in (0, None)


def test_outputs_of_another_key_are_generated_again(tmp_path):
    """A sound table of one key in the folder of another."""
    row = dict(zip(COLUMNS, ["f", 1, 3, True, 1, "Brot"], strict=True))
    of = partial(SteeredOutputs, tmp_path)
    of({"code": "a"}).add([row])
    (part,) = tmp_path.glob("*/part-*.parquet")
    shutil.copy(part, tmp_path / "kept.parquet")
    assert ("f", 1) in of({"code": "a"})
    of({"code": "b"})
    (folder,) = (one for one in tmp_path.iterdir() if one.is_dir())
    shutil.copy(tmp_path / "kept.parquet", folder / part.name)
    assert ("f", 1) not in of({"code": "b"})
    assert not (folder / part.name).exists()


@pytest.mark.demo
def test_no_damage_of_the_demo_s_takes_gives_a_wrong_take(tmp_path):
    """A thousand flips of a language's journal, and what a table would list of it."""
    source = ROOT / "results" / "demo" / "speech" / "deu" / "takes.jsonl"
    takes = [from_line(line) for line in source.read_bytes().splitlines()]
    table = pd.read_parquet(source.parents[1] / "deu.parquet").set_index("utterance")
    assert {take["utterance"] for take in takes} >= {*table.index}
    path = tmp_path / "takes.jsonl"
    for damaged in damages(source.read_bytes(), 1000):
        path.write_bytes(damaged)
        journal = Journal(path)
        assert all(
            journal.find(take["utterance"], take["attempt"], take["key"]) in (take, None)
            for take in takes
        )
