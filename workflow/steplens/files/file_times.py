"""Files dated in the future: a file server whose clock is ahead, a copy, a clock that was set back.

Snakemake deletes an output that is older than an input of its job, so that a file dated in the future
stops whatever reads it, again and again; and what was made anew looks older than what was made of it before.
Content is what counts, so such times are set to now before the first job.
"""

import os
import tempfile
from collections.abc import Collection, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from steplens.errors import ConfigError

_SHOWN = 3  # paths in a message
_NS = 10**9


def settle_future_times(jobs: Iterable[Any], to_run: Collection[Any], folder: Path) -> list[str]:
    """Date no file of the workflow later than now.

    All get the same time: none is newer than another by what it was before.

    Parameters
    ----------
    jobs : iterable of Snakemake's jobs
        All, so that a result to come is newer than each that was made of its forerunner.
    to_run : collection of Snakemake's jobs
        Those that are to run.
    folder : path
        Where results are written. Its file system tells the time, which may not be this machine's.

    Returns
    -------
    list of str
        A line, if times were changed.

    Raises
    ------
    ConfigError
        A file that one of ``to_run`` reads is dated in the future, and its time cannot be changed.
    """
    now = file_system_time_ns(folder)
    paths = {str(one) for job in jobs for one in (*job.input, *job.output)}
    ahead = {path: time for path in sorted(paths) if (time := _time_ns(path)) > now}
    if not ahead:
        return []
    changed = [path for path in ahead if _date(path, now)]
    made = {str(one) for job in to_run for one in job.output}
    read = {str(one) for job in to_run for one in job.input} - made
    stuck = [path for path in ahead if path in read and path not in changed]
    if stuck:
        raise ConfigError(
            f"{_told(stuck)}: expected a file time in the past, got {_date_of(ahead[stuck[0]])}, "
            f"{_span(ahead[stuck[0]] - now)} ahead of the clock of {folder}, and no leave to change it: what "
            "is made of it would be older, and Snakemake would delete it; touch the file, or copy it"
        )
    if not changed:
        return []
    most = max(ahead[path] for path in changed)
    return [
        f"file times: expected none in the future, got {len(changed)}, up to {_span(most - now)} ahead: a "
        "clock was wrong, or files were copied; they were set to now, and content is what counts: "
        f"{_told(changed)}"
    ]


def file_system_time_ns(folder: Path) -> int:
    """What time a file gets that is written into a folder now, in nanoseconds."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_mtime_ns


def _time_ns(path: str) -> int:
    """As Snakemake takes it, of a link the later one of its own and its target's; 0 without a file."""
    try:
        return max(os.lstat(path).st_mtime_ns, os.stat(path).st_mtime_ns)
    except OSError:
        return 0


def _date(path: str, now: int) -> bool:
    """Whether a file, and a link to it, could be dated now."""
    try:
        if os.path.islink(path):
            os.utime(path, ns=(now, now), follow_symlinks=False)
        if os.stat(path).st_mtime_ns > now:
            _date_target(path, now)
    except OSError:
        return False
    return True


def _date_target(path: str, now: int) -> None:
    try:
        os.utime(path, ns=(now, now))
    except (
        PermissionError
    ):  # a time of its own is for the owner to give, the present one for any writer
        os.utime(path)


def _told(paths: list[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more


def _date_of(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / _NS).isoformat(" ", "seconds")


def _span(ns: int) -> str:
    seconds = ns / _NS
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} seconds"
