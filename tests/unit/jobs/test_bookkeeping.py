"""Snakemake's records of past jobs: damaged ones are named before anything runs."""

import json
import os
from pathlib import Path

import pytest
from conftest import ROOT
from finished_demo import snakemake
from snakemake.persistence import MetadataRecord
from snakemake.persistence.file import FilePersistence

from steplens.errors import ConfigError
from steplens.jobs.bookkeeping import check_bookkeeping, recorded_output

RUN = Path("results") / "demo"
SOUND = json.dumps({"rule": "corpus", "record_format_version": 6}).encode()


def record_path(folder: Path, output: str) -> Path:
    """Where Snakemake itself keeps the record of an output."""
    return Path(FilePersistence(path=folder)._record_path(str(folder / "metadata"), output))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of one output and its record."""
    monkeypatch.chdir(tmp_path)
    output = RUN / "corpus" / "deu.parquet"
    output.parent.mkdir(parents=True)
    output.touch()
    path = record_path(tmp_path / ".snakemake", str(output)).relative_to(tmp_path)
    path.write_bytes(SOUND)
    return output, path


def notes():
    return check_bookkeeping(MetadataRecord.model_validate, (RUN,))


@pytest.mark.parametrize("name", ["a", "é/ß.csv", "long/" * 100 + "x.parquet"])
def test_a_record_tells_the_path_of_its_output(tmp_path, name):
    """Also of paths that Snakemake cuts into folders."""
    path = record_path(tmp_path, name)
    assert recorded_output(path.relative_to(tmp_path / "metadata")) == Path(name)


@pytest.mark.parametrize("name", ["~~~", "abc", "-_8="])
def test_a_file_of_another_name_is_no_record(name):
    assert recorded_output(Path(name)) is None


def test_sound_records_need_no_word(run):
    assert notes() == []


@pytest.mark.parametrize(
    ("content", "wrong"),
    [(b"", "an empty file"), (SOUND[:20], "broken JSON"), (b"\0" * 50, "broken JSON"),
     (b"{}", "an empty record")],
)  # fmt: skip
def test_a_record_that_snakemake_ignores_is_named(run, content, wrong):
    """Its output is taken as it is: which one, and what to do."""
    output, path = run
    path.write_bytes(content)
    (note,) = notes()
    assert note.startswith(
        f"{path}: expected Snakemake's record of how {output} was made, got {wrong};"
    )
    assert "with whatever settings" in note
    assert f"(rm {output})" in note
    output.unlink()  # it is made again in any case
    assert notes() == []


@pytest.mark.parametrize(
    ("content", "wrong"),
    [(b"[1]", "JSON of another kind (list)"), (b'"x"', "JSON of another kind (str)"),
     (b'{"rule": [2]}', "JSON of another kind (dict)"), (b"\xff\xfe{}", "bytes that are no text"),
     (b"[" * 200_000, "JSON in countless layers")],
)  # fmt: skip
def test_a_record_over_which_snakemake_stops_is_refused(run, content, wrong):
    """With what removes it; records of other runs do not matter."""
    output, path = run
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        notes()
    assert f"record of how {output} was made, got {wrong}; Snakemake cannot" in str(refused.value)
    assert str(refused.value).endswith(f"rm {path}")
    assert check_bookkeeping(MetadataRecord.model_validate, (Path("results") / "other",)) == []


def test_junk_as_a_mark_of_an_interrupted_job_is_as_good_as_a_mark(run):
    """Unless Snakemake stops over it."""
    _, path = run
    marker = Path(".snakemake") / "incomplete" / path.name
    marker.write_bytes(b"junk")
    assert notes() == []
    marker.write_bytes(b"3")
    with pytest.raises(ConfigError, match=f"rm {marker}$"):
        notes()


def test_snakemake_names_damaged_records_and_has_no_traceback(tmp_path):
    """What it ignores: a warning, and it goes on; what it cannot read: one line."""
    for name in ("config", "resources"):
        (tmp_path / name).symlink_to(ROOT / name)
    output = "results/demo/corpus/deu.parquet"
    (tmp_path / output).parent.mkdir(parents=True)
    (tmp_path / output).touch()
    path = record_path(tmp_path / ".snakemake", output)
    for content, status in ((b"", 0), (b"[1]", 1)):
        path.write_bytes(content)
        result = snakemake(tmp_path, "--dry-run", "--", output)
        text = result.stdout + result.stderr
        assert result.returncode == status, text
        assert "Traceback" not in text
        name = os.path.relpath(path, tmp_path)
        assert f"{name}: expected Snakemake's record of how {output} was made" in text
