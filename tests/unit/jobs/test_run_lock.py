"""One run at a time in a folder, one process at a time for a job, and none without a parent."""

import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from steplens.errors import ConfigError
from steplens.jobs.locks import lock_run

PRELUDE = f"import os, sys, time; sys.path.insert(0, {str(ROOT / 'workflow')!r})\n"
HOLD = "from pathlib import Path\nfrom steplens.jobs.locks import lock_run\nlock_run(Path('results/demo'))\n"
JOB = "from pathlib import Path\nfrom steplens.jobs.locks import lock_job\nlock_job(Path('logs/one.log'))\n"
SAY = "print('has it', flush=True)\n"


@pytest.fixture
def process(tmp_path):
    """Starts Python in the folder; whatever is left is killed in the end."""
    started = []

    def start(code):
        one = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + code], cwd=tmp_path, text=True, stdout=subprocess.PIPE
        )
        started.append(one)
        return one

    yield start
    for one in started:
        one.kill()
        one.wait()


def test_a_second_run_in_the_same_folder_is_refused_until_the_first_has_died(
    process, tmp_path, monkeypatch
):
    """It says who is there; after a SIGKILL nothing has to be unlocked."""
    monkeypatch.chdir(tmp_path)
    first = process(HOLD + SAY + "time.sleep(600)")
    assert first.stdout.readline() == "has it\n"
    folder = tmp_path / "results" / "demo"
    with pytest.raises(ConfigError) as found:
        lock_run(folder)
    message = str(found.value)
    assert f"{folder}: expected no other run" in message
    assert f"process {first.pid} on" in message
    assert "--config run=" in message
    lock_run(tmp_path / "results" / "other")  # another run of the same project
    first.send_signal(signal.SIGKILL)
    first.wait()
    lock_run(folder)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "results").write_text("a file where the folder should be")
    with pytest.raises(
        ConfigError, match=r"results/demo: expected a folder to write results to, got"
    ):
        lock_run(tmp_path / "results" / "demo")


def test_a_job_waits_for_the_process_that_a_killed_run_left_at_it(process):
    """Two processes never write the same results at a time."""
    first = process(JOB + SAY + "time.sleep(600)")
    assert first.stdout.readline() == "has it\n"
    second = process("print('waits', flush=True)\n" + JOB + SAY)
    assert second.stdout.readline() == "waits\n"
    time.sleep(1)
    assert second.poll() is None
    first.kill()
    assert second.stdout.readline() == "has it\n"
    assert second.wait(30) == 0


def test_a_process_watches_its_parent_once_and_a_fork_for_itself(process):
    """A job that no warm process took is called in the process that asked for it."""
    watchers = "print([one.name for one in threading.enumerate()].count('parent'), flush=True)\n"
    begin = "import threading\nfrom steplens.jobs.locks import end_with_parent\nend_with_parent()\n"
    one = process(
        f"{begin}end_with_parent()\n{watchers}"
        f"if os.fork() == 0:\n    {watchers}    end_with_parent()\n    {watchers}"
        "else:\n    os.wait()\n"
    )
    assert one.communicate(timeout=60)[0].split() == ["1", "0", "1"]


@pytest.mark.parametrize("shell", [False, True], ids=["directly", "through a shell"])
def test_a_process_ends_with_the_one_that_started_it(process, tmp_path, shell):
    """Nobody would wait for what it does."""
    child = "from steplens.jobs.locks import end_with_parent; end_with_parent()\n" + SAY
    (tmp_path / "child.py").write_text(
        PRELUDE + child + "print(os.getpid(), flush=True); time.sleep(600)"
    )
    command = f"{sys.executable} child.py"
    # A shell that has more to do stays in between, as Snakemake's may.
    called = (
        f"{command + '; true'!r}, shell=True, executable='bash'"
        if shell
        else f"{command!r}.split()"
    )
    parent = process(f"import subprocess; subprocess.run({called})")
    assert parent.stdout.readline() == "has it\n"
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("it lives on")
