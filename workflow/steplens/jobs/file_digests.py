"""Digests of files that come from outside, by all of their content instead of file time.

A large file is read once, by several threads, and its digest kept until the file changes
(``digest_cache.py``): gigabytes take seconds at the first start and nothing at the next.
"""

import hashlib
import logging
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from steplens.errors import ConfigError
from steplens.files.input_files import open_regular
from steplens.jobs.digest_cache import DigestCache, FileState
from steplens.jobs.progress import progress

log = logging.getLogger(__name__)

_KEPT_BEYOND_BYTES = 64 * 2**20
_CHUNK_BYTES = 1 << 24
_MAX_THREADS = 8
_SETTLED_SECONDS = 2.0


def files_digest(paths: Iterable[Path], kept_beyond: int = _KEPT_BEYOND_BYTES) -> str:
    """Sixteen hex digits over names and contents.

    Parameters
    ----------
    paths : iterable of path
        In any order.
    kept_beyond : int
        Digests of files of more bytes are kept, and their content counts by them.

    Raises
    ------
    ConfigError
        One is a folder, a named pipe, a socket or a device, or is written to while it is read.
    """
    digest = hashlib.sha256()
    for path in sorted(paths):
        try:
            file = open_regular(path)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        with file:
            state = FileState.of(os.fstat(file.fileno()))
            digest.update(f"{path.name} {state.size}\n".encode())
            if state.size > kept_beyond:
                digest.update(f"{_kept_digest(path, file, state)}\n".encode())
            else:
                digest.update(file.read(state.size))
                _require_same(path, file, state)
    return digest.hexdigest()[:16]


def _kept_digest(path: Path, file: BinaryIO, state: FileState) -> str:
    """Sixty-four hex digits of one file's content, kept or made now."""
    cache, real = DigestCache(), path.resolve()
    kept = cache.get(real, state)
    if kept is not None:
        return kept
    log.info("%s: reading %.1f GB for a digest of its content", path, state.size / 1e9)
    _wait_until_settled(state)
    _require_same(path, file, state)
    found = _content_digest(path, file, state.size)
    _require_same(path, file, state)
    if not cache.put(real, state, found):
        log.warning(
            "%s: its digest cannot be kept, so that every job reads all of it again: expected a folder "
            "that can be written to; set XDG_CACHE_HOME to one",
            path,
        )
    return found


def _wait_until_settled(state: FileState) -> None:
    """Wait out the tick of the file system's clock in which a file was last changed.

    Another change in the same tick would have the same time, and go unnoticed.
    """
    age = time.time() - state.ctime_ns / 1e9  # below zero where the file system's clock is ahead
    time.sleep(min(max(_SETTLED_SECONDS - age, 0.0), _SETTLED_SECONDS))


def _content_digest(path: Path, file: BinaryIO, size: int) -> str:
    """SHA-256 of the SHA-256 of every 16 MiB: threads take one each."""
    digest = hashlib.sha256()
    n_threads = min(_MAX_THREADS, len(os.sched_getaffinity(0)))
    begins = range(0, size, _CHUNK_BYTES)
    with (
        ThreadPoolExecutor(n_threads) as threads,
        progress(len(begins), f"digest of {path.name}", "block") as bar,
    ):
        for chunk in threads.map(lambda begin: _chunk_digest(file.fileno(), begin), begins):
            digest.update(chunk)
            bar.update()
    return digest.hexdigest()


def _chunk_digest(descriptor: int, begin: int) -> bytes:
    return hashlib.sha256(os.pread(descriptor, _CHUNK_BYTES, begin)).digest()


def _require_same(path: Path, file: BinaryIO, state: FileState) -> None:
    """Raise ConfigError if a file is no longer what it was, or another has its name."""
    try:
        same = FileState.of(os.fstat(file.fileno())) == FileState.of(path.stat()) == state
    except OSError:
        same = False
    if not same:
        raise ConfigError(
            f"{path}: expected a file that stays as it is while it is read, got one that changed; start "
            "again when nothing writes to it any more"
        )


def tell_on_terminal() -> None:
    """Show what is read for a digest where no log is, as while Snakemake reads its rules."""
    if not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
