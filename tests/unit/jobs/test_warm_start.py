"""Jobs in forks of a warm process do what their own process would have done."""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from conftest import ROOT

from steplens.jobs import warm_start

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks jobs on Linux only")

CLIENT = """
import sys
sys.path.insert(0, {package!r})
sys.path.insert(0, {tasks!r})
from steplens.jobs import warm_start
import warm_tasks
status = warm_start.run_in_fork(warm_tasks.{task})
print("status", status, flush=True)
"""
TASKS = """
import os, sys, time

def report():
    print("folder", os.getcwd(), "value", os.environ["STEPLENS_TEST"], "torch", "torch" in sys.modules,
          "pid", os.getpid(), "of", os.getppid(), flush=True)
    return 0

def tell():
    for pid in (os.getpid(), os.getppid()):
        print("started with", open(f"/proc/{pid}/environ").read().split(chr(0)))
    print("has", sorted(os.environ))
    return 0

def die():
    os.kill(os.getpid(), 11)

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
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("STEPLENS_TEST", "seen")

    def start(task, folder=tmp_path, seconds=None):
        code = CLIENT.format(package=str(ROOT / "workflow"), tasks=str(tmp_path), task=task)
        if seconds:
            code = code.replace("status =", f"warm_start._START_SECONDS = {seconds}\nstatus =")
        return subprocess.Popen(
            [sys.executable, "-c", code], cwd=folder, text=True,
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
    assert _ends(pid)
    out, _ = client("report").communicate(timeout=60)
    assert "status 0" in out


def test_a_fork_that_dies_is_told_by_its_signal(client):
    assert "status -11" in client("die").communicate(timeout=120)[0]


def test_nothing_secret_is_handed_over(client, monkeypatch):
    """Neither to the fork nor to the warm process, whose environment stays readable while it lives."""
    secret = {
        "HF_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "SLURM_JWT",
        "PASSWORD",
        "STEPLENS_API_KEY",
        "FOO",
    }
    needed = {"HF_HOME", "OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM", "LD_LIBRARY_PATH", "LC_ALL"}
    for name in secret | needed:
        monkeypatch.setenv(name, "1" if name == "OMP_NUM_THREADS" else "marked-value")
    out, _ = client("tell").communicate(timeout=120)
    assert "status 0" in out
    for name in secret:
        assert name not in out
    for name in needed:
        assert f"'{name}'" in out.split("has ")[1]


def test_folders_and_runs_share_no_warm_process(client, tmp_path):
    """So that ending one leaves the jobs of the other alone."""
    (tmp_path / "other").mkdir()
    job = client("wait")
    pid = int(job.stdout.readline().split()[1])
    out, _ = client("report", tmp_path / "other").communicate(timeout=120)
    other = int(out.split(" of ")[1].split()[0])
    assert other != _parent(pid)
    os.kill(other, signal.SIGKILL)
    assert _ends(other)
    assert "status 0" in client("report", tmp_path / "other").communicate(timeout=120)[0]
    assert job.poll() is None
    # The job whose warm process is killed fails at once, and is not done twice.
    os.kill(_parent(pid), signal.SIGKILL)
    out, _ = job.communicate(timeout=30)
    assert "the warm process ended while it was at this job" in out
    assert "status 1" in out
    assert _ends(pid)
    assert len({warm_start._address(run) for run in ("demo", "mine")}) == 2


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _socket_of(tmp_path):
    (path,) = tmp_path.glob("steplens-*/*.sock")
    return path


def test_who_connects_and_is_silent_holds_nobody_up(client, tmp_path):
    """Nor does one who says half of what is to be said."""
    assert "status 0" in client("report").communicate(timeout=120)[0]
    silent = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(3)]
    for one in silent:
        one.connect(str(_socket_of(tmp_path)))
    silent[1].sendall(b"\0" * 8)  # the length of nothing
    silent[2].sendall(struct.pack("!Q", 1000) + bytes(10))
    out, _ = client("report").communicate(timeout=8)
    assert "torch True" in out
    assert "status 0" in out
    for one in silent:  # and is hung up on
        one.settimeout(30)
        with contextlib.suppress(ConnectionResetError):
            assert one.recv(1) == b""


def test_a_warm_process_that_hangs_is_replaced(client, tmp_path):
    """The job waits for it so long and no longer; then the next job starts another."""
    out, _ = client("report").communicate(timeout=120)
    server = int(out.split(" of ")[1].split()[0])
    os.kill(server, signal.SIGSTOP)
    assert "status None" in client("report", seconds=2).communicate(timeout=30)[0]
    out, _ = client("report").communicate(timeout=120)
    assert "status 0" in out
    assert int(out.split(" of ")[1].split()[0]) != server
    os.kill(server, signal.SIGKILL)


def test_a_job_that_stops_with_the_lock_holds_nobody_up(client, tmp_path):
    assert "status 0" in client("report").communicate(timeout=120)[0]
    with _socket_of(tmp_path).with_suffix(".lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "status None" in client("report", seconds=2).communicate(timeout=30)[0]


# Whose folder, whose socket


def test_the_folder_of_the_session_comes_first(monkeypatch, tmp_path):
    """Where it is this user's alone; else a folder among temporary files."""
    session = tmp_path / "session"
    session.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(session))
    monkeypatch.setattr(warm_start.tempfile, "gettempdir", lambda: str(tmp_path))
    assert warm_start._folder() == session / "steplens"
    assert (session / "steplens").stat().st_mode & 0o777 == 0o700
    temporary = tmp_path / f"steplens-{os.getuid()}"
    for unusable in ("missing", "open", "link", "relative"):
        path = tmp_path / unusable
        if unusable == "open":
            path.mkdir()
            path.chmod(0o750)
        elif unusable == "link":
            path.symlink_to(session)
        monkeypatch.setenv("XDG_RUNTIME_DIR", unusable if unusable == "relative" else str(path))
        assert warm_start._folder() == temporary


@pytest.mark.parametrize("where", ["folder", "lock", "file"])
def test_links_are_not_followed(monkeypatch, tmp_path, where):
    """A folder or lock that leads elsewhere is another's doing: nothing there is opened or emptied."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(warm_start.tempfile, "gettempdir", lambda: str(tmp_path))
    folder, victim = tmp_path / f"steplens-{os.getuid()}", tmp_path / "victim"
    (tmp_path / "mine").mkdir(mode=0o700)
    victim.write_text("precious")
    if where == "folder":
        folder.symlink_to(tmp_path / "mine")
    elif where == "file":
        folder.write_text("")
        folder.chmod(0o600)
    else:
        folder.mkdir(mode=0o700)
        warm_start._address("").with_suffix(".lock").symlink_to(victim)
    assert warm_start.run_in_fork(print) is None
    assert victim.read_text() == "precious"
    assert not list((tmp_path / "mine").iterdir())


OTHER_USER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


@pytest.fixture
def open_folder(monkeypatch):
    """A folder for temporary files that every user can reach, as /tmp is."""
    folder = Path(tempfile.mkdtemp(prefix="steplens-warm-"))
    folder.chmod(0o777)
    monkeypatch.setenv("TMPDIR", str(folder))
    yield folder
    shutil.rmtree(folder)


def as_other_user(code, *arguments):
    return subprocess.Popen(
        ["setpriv", f"--reuid={OTHER_USER}", f"--regid={OTHER_USER}", "--clear-groups",
         "/usr/bin/env", "python3", "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE, text=True, cwd="/",
    )  # fmt: skip


LISTEN = """
import socket, sys
one = socket.socket(socket.AF_UNIX); one.bind(sys.argv[1]); one.listen(9); print("listens", flush=True)
while True:
    other, _ = one.accept(); print("got", len(other.recv(1 << 20)), flush=True)
"""
CONNECT = """
import socket, sys
one = socket.socket(socket.AF_UNIX); one.connect(sys.argv[1]); one.settimeout(30)
try:
    socket.send_fds(one, [bytes(7) + b"1", b"x"], [1, 2])
    print("got", one.recv(9))
except OSError as error:
    print("got", type(error).__name__)
"""


@as_root
def test_a_folder_of_another_user_is_refused(client, open_folder):
    """Made by them before, under the name of ours."""
    folder = open_folder / f"steplens-{os.getuid()}"
    folder.mkdir(mode=0o700)
    os.chown(folder, OTHER_USER, OTHER_USER)
    assert "status None" in client("report").communicate(timeout=60)[0]
    assert not list(folder.iterdir())


@as_root
def test_an_impostor_is_told_nothing(client, open_folder):
    """A socket of another user in the place of ours: the job starts a warm process of its own."""
    assert "status 0" in client("report").communicate(timeout=120)[0]
    address = _socket_of(open_folder)
    impostor = as_other_user(LISTEN, open_folder / "theirs")
    assert impostor.stdout.readline() == "listens\n"
    os.replace(open_folder / "theirs", address)
    out, _ = client("report").communicate(timeout=120)
    assert "torch True" in out
    assert "status 0" in out
    impostor.kill()
    assert impostor.communicate()[0] in ("", "got 0\n")


@as_root
def test_a_client_of_another_user_is_hung_up_on(client, open_folder):
    """Even where it can reach the socket."""
    assert "status 0" in client("report").communicate(timeout=120)[0]
    address = _socket_of(open_folder)
    address.parent.chmod(0o711)
    address.chmod(0o777)
    out, _ = as_other_user(CONNECT, address).communicate(timeout=60)
    assert out.strip() in ("got b''", "got BrokenPipeError", "got ConnectionResetError")


def _ends(pid):
    """Whether a process ends within ten seconds."""
    for _ in range(100):
        if not _runs(pid):
            return True
        time.sleep(0.1)
    return False


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]


def test_without_a_warm_process_the_job_is_left_to_do(monkeypatch, tmp_path):
    """A socket folder that others may write to is not trusted; None says: do it yourself."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(warm_start.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = tmp_path / f"steplens-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    assert warm_start.run_in_fork(print) is None


def test_a_process_that_cannot_listen_is_not_waited_for(monkeypatch, tmp_path):
    """The address of a socket has 107 bytes at most: in a deep folder every job would wait a minute."""
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(warm_start.tempfile, "gettempdir", lambda: str(deep))
    real, waits = time.sleep, []

    def sleep(seconds):
        waits.append(seconds)
        assert sum(waits) < warm_start._START_SECONDS / 2
        real(seconds)

    monkeypatch.setattr(warm_start.time, "sleep", sleep)
    assert warm_start.run_in_fork(print) is None
