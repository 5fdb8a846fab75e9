"""Jobs on a machine with several GPUs: each has one of its own, whoever started it.

The devices are names only; what is tested is who gets which and when.
"""

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from itertools import combinations
from pathlib import Path

import pytest
from conftest import ROOT

from steplens.jobs import devices

WORKER = """
import json, logging, os, sys, time
from pathlib import Path
sys.path.insert(0, {package!r})
from steplens.jobs import devices, warm_start

def work():
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, force=True)
    devices.take_one({locks!r} and Path({locks!r}))
    start = time.monotonic()
    print("holds", os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
    time.sleep({seconds})
    record = dict(device=os.environ["CUDA_VISIBLE_DEVICES"], start=start, stop=time.monotonic())
    Path({folder!r}, f"{{os.getpid()}}.json").write_text(json.dumps(record))
    return 0
"""
STAGE = """
import json, os, time
from pathlib import Path

def record(path, seconds):
    start = time.monotonic()
    time.sleep(seconds)
    record = dict(device=os.environ["CUDA_VISIBLE_DEVICES"], start=start, stop=time.monotonic())
    path.write_text(json.dumps(record))
"""
SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {package!r})
import steplens
steplens.__path__.append({folder!r})
from steplens.jobs.run_stage import run_stage
run_stage(snakemake, "holding:record", path=Path(snakemake.output[0]), seconds=1.5)
"""
SNAKEFILE = """
rule all:
    input: [f"gpu-{n}.json" for n in range(6)], "cpu-0.json"

rule job:
    output: "{kind}-{n}.json"
    log: "{kind}-{n}.log"
    resources: gpu=lambda wildcards: int(wildcards.kind == "gpu")
    script: "job.py"
"""


def records(folder: Path, pattern: str = "*.json") -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob(pattern))]


def assert_never_shared(jobs: list[dict]) -> None:
    """No two jobs had the same device at the same time."""
    for one, other in combinations(jobs, 2):
        if one["device"] == other["device"]:
            assert one["stop"] <= other["start"] or other["stop"] <= one["start"], (one, other)


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts processes that take a device, say so, hold it and leave a record."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # a warm process of this test's own
    locks = tmp_path / "locks"
    locks.mkdir()
    started = []

    def start_one(visible: str, seconds: float = 0.7, call: str = "work()"):
        worker = tmp_path / f"worker_{str(seconds).replace('.', '_')}.py"
        if not worker.exists():  # never while another process imports it
            worker.write_text(
                WORKER.format(package=str(ROOT / "workflow"), locks=str(locks),
                              folder=str(tmp_path), seconds=seconds)
            )  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-c", f"from {worker.stem} import *; {call}"], cwd=tmp_path, text=True,
            env=os.environ | {"CUDA_VISIBLE_DEVICES": visible},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("call", ["work()", "sys.exit(warm_start.run_in_fork(work))"])
def test_more_processes_than_devices_share_none(start, tmp_path, call):
    """Six on two: both are used, never by two at once, and all come to their end.

    Processes of their own, and forks of the process that has torch imported already.
    """
    processes = [start("0,1", call=call) for _ in range(6)]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 6, outputs
    jobs = records(tmp_path)
    assert len(jobs) == 6
    assert {job["device"] for job in jobs} == {"0", "1"}
    assert_never_shared(jobs)
    assert any("all 2 GPUs are taken by other jobs; waiting" in output for output in outputs)


def test_a_killed_process_frees_its_device(start):
    """SIGKILL leaves no lock behind that somebody would have to remove."""
    holders = [start("A,B", seconds=600) for _ in range(2)]
    held = {process.stdout.readline() + process.stdout.readline() for process in holders}
    assert {re.search(r"holds (.*)", text)[1] for text in held} == {"A", "B"}
    next_one = start("A,B")
    assert "waiting" in next_one.stdout.readline()
    holders[0].send_signal(signal.SIGKILL)
    output, _ = next_one.communicate(timeout=60)
    assert next_one.returncode == 0
    assert "holds A" in output or "holds B" in output


def test_runs_that_name_different_devices_share_what_they_have_in_common(start):
    """One run may use B and C, another A and B: only B is in both."""
    first = start("B,C", seconds=600)
    first.stdout.readline()
    assert first.stdout.readline() == "holds B\n"
    second = start("B,A")
    assert "holds A" in second.communicate(timeout=60)[0]


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("0,1", ["0", "1"]),
        (" 2 , 0", ["2", "0"]),
        ("GPU-8932f937-d72c,MIG-GPU-8932/1/0", ["GPU-8932f937-d72c", "MIG-GPU-8932/1/0"]),
        ("", []),
        ("-1", []),
        ("1,-1,0", ["1"]),
        ("0,0,1", ["0", "1"]),
    ],
)
def test_what_cuda_visible_devices_says_is_what_there_is(monkeypatch, visible, expected):
    """As CUDA reads it: a device after an invalid one is not there."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices.visible_devices() == expected


LISTING = """\
GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-aaaa)
GPU 1: NVIDIA A100-SXM4-80GB (UUID: GPU-bbbb)
"""
MIG_LISTING = """\
GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-aaaa)
  MIG 3g.40gb     Device  0: (UUID: MIG-1111)
  MIG 3g.40gb     Device  1: (UUID: MIG-2222)
GPU 1: NVIDIA A100-SXM4-80GB (UUID: GPU-bbbb)
"""


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """An nvidia-smi that lists what it is told."""

    def list_devices(listing):
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{listing}END\n")
        program.chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    return list_devices


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        (LISTING, ["GPU-aaaa", "GPU-bbbb"]),
        (MIG_LISTING, ["MIG-1111", "MIG-2222", "GPU-bbbb"]),
        ("", []),
    ],
)
def test_without_the_variable_the_driver_is_asked(driver, listing, expected):
    """A GPU that is divided is offered in its parts."""
    driver(listing)
    assert devices.visible_devices() == expected


def test_an_index_and_a_uuid_of_the_same_device_have_the_same_lock(driver, monkeypatch, tmp_path):
    """Otherwise a run with CUDA_VISIBLE_DEVICES=0,1 and one without it would meet on a device."""
    driver(LISTING)
    by_uuid = devices._locks(["GPU-aaaa", "GPU-bbbb"], tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    by_index = devices._locks(["1", "0"], tmp_path)
    assert by_index == {"1": by_uuid["GPU-bbbb"], "0": by_uuid["GPU-aaaa"]}


@pytest.mark.parametrize("visible", ["0", "", "GPU-8932f937-d72c"])
def test_one_device_or_none_is_left_as_it_is(monkeypatch, tmp_path, visible):
    """A scheduler's choice stands, and nothing is locked."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices.take_one(tmp_path) is None
    assert os.environ["CUDA_VISIBLE_DEVICES"] == visible
    assert list(tmp_path.iterdir()) == []


def test_snakemake_jobs_have_a_device_each(tmp_path, monkeypatch):
    """Six GPU jobs on two devices in one run; jobs that ask for no GPU see the machine as it is."""
    for name in ("STEPLENS_WARM_START", "SLURM_JOB_ID", "SNAKEMAKE_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    # Names of this test's own: a run that uses the machine's GPUs is not kept waiting.
    names = [f"test-{uuid.uuid4().hex[:8]}-{n}" for n in range(2)]
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "holding.py").write_text(STAGE)
    (tmp_path / "job.py").write_text(
        SCRIPT.format(package=str(ROOT / "workflow"), folder=str(tmp_path))
    )
    try:
        result = subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "4", "--resources", "gpu=3"],
            cwd=tmp_path, env=os.environ | {"CUDA_VISIBLE_DEVICES": ",".join(names)},
            capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
    finally:
        for lock in devices._locks(names, devices._lock_folder()).values():
            lock.unlink(missing_ok=True)
    assert result.returncode == 0, result.stderr
    jobs = records(tmp_path, "gpu-*.json")
    assert len(jobs) == 6
    assert {job["device"] for job in jobs} == set(names)
    assert_never_shared(jobs)
    assert {job["device"] for job in records(tmp_path, "cpu-*.json")} == {",".join(names)}
    assert re.search(r"GPU test-\S+-[01] of ", (tmp_path / "gpu-0.log").read_text())
