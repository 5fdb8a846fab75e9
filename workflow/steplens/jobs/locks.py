"""One run at a time in a results folder, and one process at a time for a job.

The kernel keeps these locks (``flock``) and drops them when their process ends, however it ends: after a
SIGKILL nothing has to be unlocked by hand. Snakemake's own lock is a file that stays behind.
"""

import errno
import fcntl
import hashlib
import logging
import os
import threading
import time
from pathlib import Path
from typing import IO

from steplens.errors import ConfigError

log = logging.getLogger(__name__)

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)  # a file system without them
_WATCH_SECONDS = 1.0
_SHELLS = ("bash", "dash", "sh")
_held: list[IO[str]] = []  # until the process ends
_watching: int | None = None  # the process that watches its parent


def lock_run(folder: Path) -> None:
    """Keep other runs out of ``results/<run>`` for as long as this process lives.

    Raises
    ------
    ConfigError
        Another run is at work there, or nothing can be written there.
    """
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{folder}: expected a folder to write results to, got {error.strerror} ({error.filename}); "
            "give yourself the right to write there, or run in another folder with --directory"
        ) from error
    if not try_lock(file):
        file.seek(0)
        owner = file.read().strip() or "another process"
        raise ConfigError(
            f"{folder}: expected no other run at work there, got one by {owner}; wait for it, or give "
            "this one another name: --config run=<name>"
        )
    file.truncate(0)
    file.write(f"process {os.getpid()} on {os.uname().nodename}")
    file.flush()
    _held.append(file)


def lock_job(log_file: Path) -> None:
    """Wait until no other process does the job that logs there.

    A run that is killed may leave jobs behind that are still writing; the same job of the next run must
    not write beside them.
    """
    name = hashlib.sha256(str(log_file).encode()).hexdigest()[:16]
    path = Path(".snakemake") / "job_locks" / f"{log_file.stem}-{name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a", encoding="utf-8")
    waited = False
    while not try_lock(file):
        if not waited:
            log.warning("waiting for a process that an earlier run left at the same work: %s", path)
        waited = True
        time.sleep(0.2)
    _held.append(file)


def end_with_parent() -> None:
    """End this process when the one that started it has ended: nobody would wait for the result.

    Snakemake starts a script through a shell, which may outlive it: then the shell's parent counts. A second
    call in the same process does nothing; a fork has no threads of its parent, and watches for itself.
    """
    global _watching
    if _watching == os.getpid():
        return
    _watching = os.getpid()
    watched = _started_by()

    def watch() -> None:
        while _started_by() == watched:
            time.sleep(_WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _started_by() -> list[int]:
    """The parent, and behind a shell also the shell's."""
    parent = os.getppid()
    try:
        # "<pid> (<name>) <state> <parent> …"
        head, _, tail = Path(f"/proc/{parent}/stat").read_text().rpartition(")")
    except OSError:  # it has ended, or the system has no such files
        return [parent]
    is_shell = head.partition("(")[2] in _SHELLS
    return [parent, int(tail.split()[1])] if is_shell else [parent]


def try_lock(file: IO[str] | int) -> bool:
    """Take the lock of an open file if nobody has it: whether it is had.

    A file system without locks gives it to everybody. ``filelock.lock_descriptor`` does the same, and takes
    57 ms of every job to import.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True
