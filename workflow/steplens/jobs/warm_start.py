"""Spares short jobs the seconds of importing torch and transformers (``STEPLENS_WARM_START=1``).

The first job that asks starts a process that imports third-party libraries and nothing of steplens, runs
no computation and never touches a GPU. For every job it forks; the fork does what the job's own process
would have done, with its folder, output, log and what it needs of the environment (no tokens), and hands
back the exit status. A job whose process is killed takes its fork with it; where no fork is to be had, the
job runs in its own process as ever. The process ends by itself after some idle seconds.

A job hands over what it will run, so that both sides look who is at the other end: the socket lies in a
folder that its user alone can open, and the kernel tells whose process has connected or listens. Nobody
is waited for without limit before a fork has the job.

Worth it where jobs take seconds, as in the demo. Snakemake's benchmarks then see the waiting process and
not the fork, so that it is off unless asked for.
"""

import contextlib
import ctypes
import gc
import hashlib
import os
import pickle
import re
import selectors
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

IDLE_SECONDS = 60.0
# How long a job tries to get a fork: the libraries load in the meantime. Then it does its work itself.
_START_SECONDS = 120.0
_TRIES = 2  # a process may end as it is spoken to: idle for too long, or killed
_ASK_SECONDS = 10.0  # in which a job that has connected must have said what it wants
_LENGTH = struct.Struct("!Q")
_STATUS = struct.Struct("!i")
_PEER = struct.Struct("iII")  # pid, uid, gid
_READY, _GO = b"r", b"g"
_PR_SET_PDEATHSIG = 1

# Of the environment a fork gets what libraries are set by, and nothing that opens a door.
_NEEDED = re.compile(
    r"(HOME|USER|LOGNAME|PATH|SHELL|LANG|LANGUAGE|TZ|TMPDIR|TMP|TEMP|TERM|COLUMNS|NO_COLOR|HOSTNAME|VIRTUAL_ENV"
    r"|SOURCE_DATE_EPOCH|(LC_|LD_|XDG_|PYTHON|CONDA|STEPLENS_|SNAKEMAKE_|SLURM_|OMP_|GOMP_|KMP_|MKL_|OPENBLAS_"
    r"|BLIS_|NUMEXPR_|NUMBA_|NUMPY_|MPL|MALLOC_|TORCH|PYTORCH_|ATEN_|DNNL_|ONEDNN_|TRITON_|CUDA|CUBLAS|CUDNN"
    r"|NCCL_|NVIDIA_|HIP_|ROCR_|HSA_|ZARR_|BLOSC_|ARROW_|RAYON_|TOKENIZERS_|TRANSFORMERS_|HF_)\w*)"
)
_SECRET = re.compile(r"TOKEN(?!IZERS)|SECRET|PASS(WORD|WD|PHRASE)|CREDENTIAL|KEY|JWT|COOKIE", re.I)


def wanted() -> bool:
    """Whether jobs should ask for a fork: on Linux, where the environment says so."""
    return os.environ.get("STEPLENS_WARM_START") == "1" and sys.platform == "linux"


def run_in_fork(task: Callable[[], int], run: str = "") -> int | None:
    """Have a fork of the warm process run ``task``.

    Parameters
    ----------
    task : picklable callable
        Returns an exit status.
    run : str
        The run of this folder whose job it is: each has a warm process of its own.

    Returns
    -------
    int or None
        The exit status, negative for the signal that the fork died of; None where no fork took the task,
        which is then still to be done.
    """
    until = time.monotonic() + _START_SECONDS
    payload = pickle.dumps((os.getcwd(), _environment(), list(sys.path), pickle.dumps(task)))
    for _ in range(_TRIES):
        try:
            address = _address(run)
            connection = _connect(address, until)
        except OSError:
            return None
        if _handed_over(connection, payload, address, until):
            break
        connection.close()
    else:
        return None
    with connection:
        connection.settimeout(None)
        with contextlib.suppress(OSError):
            status = connection.recv(_STATUS.size)
            if len(status) == _STATUS.size:
                return _STATUS.unpack(status)[0]
        # The warm process died with the fork at work: that is a failed job, not one to run again.
        print("the warm process ended while it was at this job", file=sys.stderr)
        return 1


def _handed_over(connection: socket.socket, payload: bytes, address: Path, until: float) -> bool:
    """Whether a fork has taken the task; before that, nothing of it was done."""
    try:
        _limit(connection, until)
        connection.sendall(_LENGTH.pack(len(payload)) + payload)
        _limit(connection, until)
        if connection.recv(1) != _READY:  # it died meanwhile
            return False
        # From here on it is the fork's, and so is the output: a process that hangs would keep it open.
        socket.send_fds(connection, [_GO], [1, 2])
        return True
    except TimeoutError:  # it hangs: the next job starts another
        address.unlink(missing_ok=True)
        return False
    except OSError:
        return False


def _environment() -> dict[str, str]:
    """The variables that a job needs."""
    return {
        name: value
        for name, value in os.environ.items()
        if _NEEDED.fullmatch(name) and not _SECRET.search(name)
    }


def _address(run: str) -> Path:
    """A socket for this user, Python, package, folder, run and job of a cluster.

    Of the run and its folder so that nothing that ends one run touches another. Of the cluster's job because
    memory and GPUs are the job's, and the process ends with it.
    """
    parts = (sys.executable, Path(__file__).resolve(), os.environ.get("SLURM_JOB_ID", ""))
    name = hashlib.sha256("\n".join(map(str, (*parts, os.getcwd(), run))).encode()).hexdigest()
    return _folder() / f"{name[:16]}.sock"


def _folder() -> Path:
    """A folder that nobody else can open: the session's own, or one among temporary files.

    Raises
    ------
    PermissionError
        What is there is another's, open to others, or a link.
    """
    session = Path(os.environ.get("XDG_RUNTIME_DIR") or "none")
    if session.is_absolute():
        with contextlib.suppress(OSError):
            _require_private(session)
            return _made(session / "steplens")
    return _made(Path(tempfile.gettempdir()) / f"steplens-{os.geteuid()}")


def _made(folder: Path) -> Path:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    _require_private(folder)
    return folder


def _require_private(folder: Path) -> None:
    found = folder.lstat()
    private = found.st_uid == os.geteuid() and not found.st_mode & 0o077
    if not stat.S_ISDIR(found.st_mode) or not private:
        raise PermissionError(
            f"{folder}: expected a folder that this user alone can open, got {stat.filemode(found.st_mode)} "
            f"of user {found.st_uid}"
        )


def _connect(address: Path, until: float) -> socket.socket:
    lock = os.open(
        address.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    try:
        if os.fstat(lock).st_uid != os.geteuid():
            raise PermissionError(f"{address.with_suffix('.lock')} belongs to another user")
        _lock(lock, until)  # one job starts the process, the others wait for it
        with contextlib.suppress(OSError):
            return _dial(address, until)
        address.unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), str(address)],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # It ends at once where it cannot listen: addresses of sockets are short, folders may be deep.
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(OSError):
                return _dial(address, until)
            time.sleep(0.05)
    finally:
        os.close(lock)
    raise OSError("the warm process did not start")


def _lock(descriptor: int, until: float) -> None:
    from steplens.jobs.locks import try_lock  # here: the warm process imports nothing of steplens

    while not try_lock(descriptor):
        if time.monotonic() > until:
            raise BlockingIOError("another job has been starting the warm process for too long")
        time.sleep(0.05)


def _dial(address: Path, until: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _limit(connection, until)
        connection.connect(str(address))
        if not _is_own(connection):
            raise PermissionError(f"{address} is listened to by another user")
    except OSError:
        connection.close()
        raise
    return connection


def _limit(connection: socket.socket, until: float) -> None:
    connection.settimeout(max(until - time.monotonic(), 0.001))


def _is_own(connection: socket.socket) -> bool:
    """Whether the process at the other end is this user's: the kernel says so."""
    peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return _PEER.unpack(peer)[1] == os.geteuid()


class _Request:
    """What a job has sent so far; it may take its time, or never say anything."""

    def __init__(self, connection: socket.socket):
        self.connection = connection
        self.outputs: list[int] = []
        self.payload = bytearray()
        self.until = time.monotonic() + _ASK_SECONDS
        self._length: int | None = None

    def read(self) -> bool:
        """Take what has arrived; True once the job has said all, and go.

        Raises
        ------
        OSError, EOFError, ValueError, struct.error
            It hung up, or says something else.
        """
        if self._length is None:
            (self._length,) = _LENGTH.unpack(self.connection.recv(_LENGTH.size))
            return False
        missing = self._length - len(self.payload)
        if not missing:
            go, self.outputs, _, _ = socket.recv_fds(self.connection, 1, 2)
            if go != _GO or len(self.outputs) != 2:
                raise ValueError("no request")
            return True
        part = self.connection.recv(min(1 << 20, missing))
        if not part:
            raise EOFError("hung up")
        self.payload += part
        if len(self.payload) == self._length:
            self.connection.sendall(_READY)
            self.until = time.monotonic() + _ASK_SECONDS
        return False

    def close(self) -> None:
        self.connection.close()
        for descriptor in self.outputs:
            os.close(descriptor)


class _Server:
    """One thread, no computation: what a process may be that forks. It never waits for one job alone."""

    def __init__(self, address: Path):
        self._address = address
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(address))
        self._inode = address.lstat().st_ino
        self._listener.listen(64)  # jobs may queue up while the libraries load
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._requests: set[_Request] = set()
        self._children: dict[int, tuple[int, socket.socket]] = {}  # pidfd -> (pid, job)

    def serve(self) -> None:
        idle_since = time.monotonic()
        while self._children or self._requests or time.monotonic() - idle_since < IDLE_SECONDS:
            for key, _ in self._selector.select(timeout=1.0):
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.data, _Request):
                    self._read(key.data)
                elif key.data == "ended":
                    self._reap(key.fd)
                else:  # the job hung up: its process was killed
                    self._cancel(key.fileobj)
            for request in [one for one in self._requests if time.monotonic() > one.until]:
                self._drop(request)
            if self._children:
                idle_since = time.monotonic()
        with contextlib.suppress(FileNotFoundError):
            if self._address.lstat().st_ino == self._inode:  # not of one that was started instead
                self._address.unlink()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it has hung up
            return
        if not _is_own(connection):
            connection.close()
            return
        connection.setblocking(False)
        request = _Request(connection)
        self._requests.add(request)
        self._selector.register(connection, selectors.EVENT_READ, request)

    def _read(self, request: _Request) -> None:
        try:
            complete = request.read()
        except BlockingIOError:
            return
        except (OSError, EOFError, ValueError, struct.error):
            self._drop(request)
            return
        if complete:
            self._fork(request)

    def _drop(self, request: _Request) -> None:
        self._requests.discard(request)
        self._selector.unregister(request.connection)
        request.close()

    def _fork(self, request: _Request) -> None:
        connection, outputs = request.connection, request.outputs
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = self._work(outputs, bytes(request.payload))
            finally:
                os._exit(status)
        self._requests.discard(request)
        self._selector.unregister(connection)
        for descriptor in outputs:
            os.close(descriptor)
        connection.setblocking(True)
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = pid, connection
        self._selector.register(pidfd, selectors.EVENT_READ, "ended")
        self._selector.register(connection, selectors.EVENT_READ, "job")

    def _work(self, outputs: list[int], payload: bytes) -> int:
        # Its end is told to the job as a failure: nothing may go on working then.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        for target, descriptor in enumerate(outputs, start=1):
            os.dup2(descriptor, target)
        # What other jobs wait at: they must see the warm process end, whatever forks are still at work.
        self._selector.close()
        self._listener.close()
        for request in self._requests:
            request.close()
        for pidfd, (_, connection) in self._children.items():
            os.close(pidfd)
            connection.close()
        folder, environment, path, task = pickle.loads(payload)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.path[:] = path
        try:
            return int(pickle.loads(task)())
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except BaseException:
            import traceback

            traceback.print_exc()
            return 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()

    def _reap(self, pidfd: int) -> None:
        pid, connection = self._children.pop(pidfd)
        _, status = os.waitpid(pid, 0)
        self._selector.unregister(pidfd)
        os.close(pidfd)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection)
        with contextlib.suppress(OSError):
            connection.sendall(_STATUS.pack(os.waitstatus_to_exitcode(status)))
        connection.close()

    def _cancel(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        for pid, other in self._children.values():
            if other is connection:
                os.kill(pid, signal.SIGKILL)


def _preload() -> None:
    """Import what the stages share, outside steplens: its own code is read afresh by every fork.

    Not numba: it takes its number of threads from the environment when it is imported.
    """
    from lean_imports import lean_transformers

    # A script's folder comes first on the path: libraries that look for an optional package of the name of
    # one of our modules would find that.
    sys.path.remove(str(Path(__file__).parent))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_svg
    import matplotlib.figure  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.linear_model
    import sklearn.pipeline
    import sklearn.preprocessing  # noqa: F401
    import soundfile  # noqa: F401
    import torch  # noqa: F401
    import xarray  # noqa: F401
    import zarr  # noqa: F401

    with lean_transformers():
        import transformers.models.seamless_m4t.tokenization_seamless_m4t
        import transformers.models.seamless_m4t_v2.modeling_seamless_m4t_v2  # noqa: F401

        # Compiles some hundred regular expressions at the first checkpoint that is loaded.
        with contextlib.suppress(ImportError):
            from transformers.conversion_mapping import get_checkpoint_conversion_mapping

            get_checkpoint_conversion_mapping("seamless_m4t_v2")
    import torchaudio.compliance.kaldi  # noqa: F401


if __name__ == "__main__":
    _server = _Server(Path(sys.argv[1]))  # first: jobs may already queue
    _preload()
    # What is loaded stays: a collection in a fork would read, and thereby copy, all of it.
    gc.collect()
    gc.freeze()
    _server.serve()
