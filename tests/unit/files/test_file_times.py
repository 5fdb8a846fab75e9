"""Files dated in the future: set to now before the first job, or refused by name."""

import contextlib
import os
import tempfile
import time
from collections import namedtuple
from pathlib import Path

import pytest
from conftest import ROOT
from finished_demo import snakemake

from steplens.errors import ConfigError
from steplens.files.file_times import file_system_time_ns, settle_future_times

Job = namedtuple("Job", "input output")
NOBODY = 65534
HOUR_NS = 3_600 * 10**9


def file(path: Path, ahead_ns: int = 0) -> Path:
    path.write_text(path.name)
    when = time.time_ns() + ahead_ns
    os.utime(path, ns=(when, when))
    return path


def test_what_is_dated_in_the_future_is_dated_now(tmp_path):
    """Inputs and outputs alike, so that neither is newer; what lies in the past keeps its time."""
    old = file(tmp_path / "old", -HOUR_NS)
    before = old.stat().st_mtime_ns
    read, written = file(tmp_path / "read", 3 * HOUR_NS), file(tmp_path / "written", 2 * HOUR_NS)
    done = Job([str(old), str(read)], [str(written)])
    to_come = Job([str(written)], [str(tmp_path / "to_come")])
    (note,) = settle_future_times([done, to_come], [to_come], tmp_path)
    assert "got 2, up to 3 hours ahead" in note
    assert str(read) in note
    assert old.stat().st_mtime_ns == before
    assert read.stat().st_mtime_ns == written.stat().st_mtime_ns <= file_system_time_ns(tmp_path)
    assert settle_future_times([done, to_come], [to_come], tmp_path) == []


def test_a_link_counts_by_its_own_time_too(tmp_path):
    """As for Snakemake, which takes the later of both."""
    target = file(tmp_path / "target")
    link = tmp_path / "link"
    link.symlink_to(target)
    ahead = time.time_ns() + HOUR_NS
    os.utime(link, ns=(ahead, ahead), follow_symlinks=False)
    job = Job([str(link)], [])
    assert len(settle_future_times([job], [job], tmp_path)) == 1
    assert link.lstat().st_mtime_ns <= file_system_time_ns(tmp_path)


def test_what_cannot_be_dated_is_named_before_the_first_job():
    """If a job to come reads it; another's file is none of this run's business."""
    with contextlib.ExitStack() as stack:
        # Where nobody may pass, which pytest's own folders do not allow.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        results = folder / "results"
        results.mkdir()
        results.chmod(0o777)
        read = file(folder / "read", 26 * HOUR_NS)
        read.chmod(0o444)
        folder.chmod(0o755)
        job = Job([str(read)], [str(results / "made")])
        if os.geteuid() == 0:
            stack.callback(os.seteuid, 0)
            os.seteuid(NOBODY)
        else:
            pytest.skip("the owner of a file can always change its time")
        assert settle_future_times([job], [], results) == []
        with pytest.raises(ConfigError) as refused:
            settle_future_times([job], [job], results)
    message = str(refused.value)
    assert message.startswith(f"{read}: expected a file time in the past, got 2")
    assert "26 hours ahead of the clock of" in message
    assert "touch the file, or copy it" in message


def test_snakemake_runs_what_reads_a_file_of_the_future_and_keeps_its_output(tmp_path):
    """The list of a fetched model, from a server whose clock is ahead: its reader's output stays."""
    for name in ("config", "resources"):
        (tmp_path / name).symlink_to(ROOT / name)
    settings = [
        "--config", "languages=[deu,jpn]", "steering={n_utterances: 4}", "corpus={n_utterances: 4}",
    ]  # fmt: skip
    corpus, speech = (f"results/demo/{name}/deu.parquet" for name in ("corpus", "speech"))
    first = snakemake(tmp_path, *settings, "--", corpus)
    assert first.returncode == 0, first.stdout + first.stderr
    ahead = time.time_ns() + 3 * HOUR_NS
    os.utime(tmp_path / corpus, ns=(ahead, ahead))
    second = snakemake(tmp_path, *settings, "--", speech)
    text = second.stdout + second.stderr
    assert second.returncode == 0, text
    assert (tmp_path / speech).is_file()
    (told,) = [one for one in text.splitlines() if one.startswith("file times: ")]
    assert corpus in told
    third = snakemake(tmp_path, *settings, "--dry-run", "--", speech)
    assert "Nothing to be done" in third.stdout + third.stderr
