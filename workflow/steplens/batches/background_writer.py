"""Writes in a thread of its own what the main thread computes, a few batches behind it."""

import queue
import threading
from collections.abc import Callable
from typing import Any


class BackgroundWriter:
    """Calls a function again and again in another thread, in the order in which it was asked to.

    Parameters
    ----------
    write : callable
        Called with what ``put`` was given; never twice at a time.
    waiting : int
        How many calls may wait before ``put`` waits: each holds a batch in memory.

    Notes
    -----
    After an error in ``write`` nothing more is written, and the error is raised in the main thread by
    the next ``put``, or on leaving the ``with`` block. The thread goes on emptying the queue until it
    is told to end, so that neither side ever waits for the other in vain.

    Examples
    --------
    >>> seen = []
    >>> with BackgroundWriter(seen.append) as writer:
    ...     for number in range(3):
    ...         writer.put(number)
    >>> seen
    [0, 1, 2]
    """

    def __init__(self, write: Callable[..., Any], waiting: int = 2):
        self._write = write
        self._queue: queue.Queue[tuple | None] = queue.Queue(maxsize=waiting)
        self._error: BaseException | None = None
        self._abandoned = False
        # A daemon, so that not even an interrupted main thread leaves a process behind.
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def put(self, *arguments: Any) -> None:
        """Have one batch written.

        Raises
        ------
        Exception
            That of an earlier batch.
        """
        self._raise()
        self._queue.put(arguments)

    def _run(self) -> None:
        while (arguments := self._queue.get()) is not None:
            if self._error is None and not self._abandoned:
                try:
                    self._write(*arguments)
                except BaseException as error:  # whatever it is, the main thread must know
                    self._error = error
            del arguments  # not held while waiting for the next batch

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def __enter__(self) -> "BackgroundWriter":
        self._thread.start()
        return self

    def __exit__(self, kind, _value, _trace) -> None:
        self._abandoned = kind is not None
        self._queue.put(None)
        self._thread.join()
        if kind is None:
            self._raise()
