"""Spares short jobs the seconds of importing torch and transformers (``STEPLENS_WARM_START=1``).

The first job that asks starts a process that imports third-party libraries and nothing of steplens, runs
no computation and never touches a GPU. For every job it forks; the fork does what the job's own process
would have done, with its folder, environment, output and log, and hands back the exit status. A job
whose process is killed takes its fork with it; where no fork is to be had, the job runs in its own
process as ever. The process ends by itself after some idle seconds.

Worth it where jobs take seconds, as in the demo. Snakemake's benchmarks then see the waiting process and
not the fork, so that it is off unless asked for.
"""

import contextlib
import fcntl
import gc
import hashlib
import os
import pickle
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

IDLE_SECONDS = 60.0
_START_SECONDS = 60.0
_LENGTH = struct.Struct("!Q")
_STATUS = struct.Struct("!i")


def wanted() -> bool:
    """Whether jobs should ask for a fork: on Linux, where the environment says so."""
    return os.environ.get("STEPLENS_WARM_START") == "1" and sys.platform == "linux"


def run_in_fork(task: Callable[[], int]) -> int | None:
    """Have a fork of the warm process run ``task``.

    Parameters
    ----------
    task : picklable callable
        Returns an exit status.

    Returns
    -------
    int or None
        The exit status; None where no fork took the task, which is then still to be done.
    """
    try:
        connection = _connect()
    except OSError:
        return None
    with connection:
        payload = pickle.dumps((os.getcwd(), dict(os.environ), list(sys.path), pickle.dumps(task)))
        try:
            socket.send_fds(connection, [_LENGTH.pack(len(payload))], [1, 2])
            connection.sendall(payload)
            if not connection.recv(1):  # taken
                return None
        except OSError:
            return None
        status = connection.recv(_STATUS.size)
        # The warm process died with the fork at work: that is a failed job, not one to run again.
        return _STATUS.unpack(status)[0] if len(status) == _STATUS.size else 1


def _address() -> Path:
    """A socket for this user, Python, project and job of a cluster, in a folder of the user's own.

    Of the cluster's job because memory and GPUs are the job's, and the process ends with it.
    """
    folder = Path(tempfile.gettempdir()) / f"steplens-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
        raise OSError(f"{folder} is open to others")
    job = os.environ.get("SLURM_JOB_ID", "")
    name = hashlib.sha256(
        f"{sys.executable}\n{Path(__file__).resolve()}\n{job}".encode()
    ).hexdigest()
    return folder / f"{name[:16]}.sock"


def _connect() -> socket.socket:
    address = _address()
    with open(address.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one job starts the process, the others wait for it
        with contextlib.suppress(OSError):
            return _dial(address)
        address.unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), str(address)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + _START_SECONDS
        # It ends at once where it cannot listen: addresses of sockets are short, folders may be deep.
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError):
                return _dial(address)
            time.sleep(0.05)
    raise OSError("the warm process did not start")


def _dial(address: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(str(address))
    except OSError:
        connection.close()
        raise
    return connection


class _Server:
    """One thread, no computation: what a process may be that forks."""

    def __init__(self, address: Path):
        self._address = address
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(address))
        self._listener.listen(64)  # jobs may queue up while the libraries load
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._children: dict[int, tuple[int, socket.socket]] = {}  # pidfd -> (pid, job)

    def serve(self) -> None:
        idle_since = time.monotonic()
        while self._children or time.monotonic() - idle_since < IDLE_SECONDS:
            for key, _ in self._selector.select(timeout=1.0):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.data == "ended":
                    self._reap(key.fd)
                else:  # the job hung up: its process was killed
                    self._cancel(key.fileobj)
            if self._children:
                idle_since = time.monotonic()
        self._address.unlink(missing_ok=True)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        try:
            head, outputs, _, _ = socket.recv_fds(connection, _LENGTH.size, 2)
            payload = _receive(connection, _LENGTH.unpack(head)[0])
        except (OSError, struct.error, EOFError):
            connection.close()
            return
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = self._work(connection, outputs, payload)
            finally:
                os._exit(status)
        for descriptor in outputs:
            os.close(descriptor)
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = pid, connection
        self._selector.register(pidfd, selectors.EVENT_READ, "ended")
        self._selector.register(connection, selectors.EVENT_READ, "job")
        with contextlib.suppress(OSError):
            connection.sendall(b"t")

    def _work(self, connection: socket.socket, outputs: list[int], payload: bytes) -> int:
        self._selector.close()
        self._listener.close()
        connection.close()
        for target, descriptor in enumerate(outputs, start=1):
            os.dup2(descriptor, target)
            os.close(descriptor)
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


def _receive(connection: socket.socket, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        part = connection.recv(min(1 << 20, length - len(parts)))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _preload() -> None:
    """Import what the stages share, outside steplens: its own code is read afresh by every fork.

    Not numba: it takes its number of threads from the environment when it is imported.
    """
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
    from lean_imports import lean_transformers

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
