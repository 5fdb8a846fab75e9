"""Jobs in forks of a warm process do what their own process would have done."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks jobs on Linux only")

ROOT = Path(__file__).resolve().parents[1]
CLIENT = """
import sys
sys.path.insert(0, {package!r})
sys.path.insert(0, {tasks!r})
from steplens import warm_start
import warm_tasks
status = warm_start.run_in_fork(warm_tasks.{task})
print("status", status, flush=True)
"""
TASKS = """
import os, sys, time

def report():
    print("folder", os.getcwd(), "value", os.environ["STEPLENS_TEST"], "torch", "torch" in sys.modules,
          "pid", os.getpid(), flush=True)
    return 0

def fail():
    raise RuntimeError("broken on purpose")

def leave():
    sys.exit(3)

def wait():
    print("waiting", os.getpid(), flush=True)
    time.sleep(600)
"""


@pytest.fixture
def client(tmp_path, monkeypatch):
    (tmp_path / "warm_tasks.py").write_text(TASKS)
    # A folder of its own, so that the process under test is not one that a run has started.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("STEPLENS_TEST", "seen")

    def start(task):
        code = CLIENT.format(package=str(ROOT / "workflow"), tasks=str(tmp_path), task=task)
        return subprocess.Popen(
            [sys.executable, "-c", code], cwd=tmp_path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    return start


def test_forks_have_the_jobs_folder_environment_output_and_status(client, tmp_path, monkeypatch):
    """One warm process serves all of them, and an error in one leaves it standing."""
    out, _ = client("report").communicate(timeout=120)
    assert f"folder {tmp_path} value seen torch True" in out
    assert "status 0" in out
    out, _ = client("fail").communicate(timeout=60)
    assert "RuntimeError: broken on purpose" in out
    assert "status 1" in out
    out, _ = client("leave").communicate(timeout=60)
    assert "status 3" in out
    # The process is the machine's, or the job's of a cluster: not another job's.
    own = set(tmp_path.glob("steplens-*/*.sock"))
    assert len(own) == 1
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    assert "status 0" in client("report").communicate(timeout=120)[0]
    assert set(tmp_path.glob("steplens-*/*.sock")) - own
    monkeypatch.delenv("SLURM_JOB_ID")
    # A job whose process is killed takes its fork along.
    job = client("wait")
    pid = int(job.stdout.readline().split()[1])
    job.kill()
    for _ in range(100):
        if not _runs(pid):
            break
        time.sleep(0.1)
    assert not _runs(pid)
    out, _ = client("report").communicate(timeout=60)
    assert "status 0" in out


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]


def test_without_a_warm_process_the_job_is_left_to_do(monkeypatch, tmp_path):
    """A socket folder that others may write to is not trusted; None says: do it yourself."""
    from steplens import warm_start

    monkeypatch.setattr(warm_start.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = tmp_path / f"steplens-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    assert warm_start.run_in_fork(print) is None


def test_a_process_that_cannot_listen_is_not_waited_for(monkeypatch, tmp_path):
    """The address of a socket has 107 bytes at most: in a deep folder every job would wait a minute."""
    from steplens import warm_start

    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(warm_start.tempfile, "gettempdir", lambda: str(deep))
    real, waits = time.sleep, []

    def sleep(seconds):
        waits.append(seconds)
        assert sum(waits) < warm_start._START_SECONDS / 2
        real(seconds)

    monkeypatch.setattr(warm_start.time, "sleep", sleep)
    assert warm_start.run_in_fork(print) is None
