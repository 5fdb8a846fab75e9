"""Progress of long stages: a bar on a terminal, a plain line now and then in a log."""

import logging
import sys
import time

from tqdm import tqdm

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 30.0


class _LinesInLog:
    """Stands in for a bar where nobody watches: one line every half minute and one at the end."""

    def __init__(self, total: int, what: str, unit: str):
        self._total, self._what, self._unit = total, what, unit
        self._done, self._began = 0, time.monotonic()
        self._spoken = self._began

    def __enter__(self):
        return self

    def __exit__(self, kind, _value, _trace):
        if kind is None:
            self._line()

    def update(self, n: int = 1) -> None:
        self._done += n
        if time.monotonic() - self._spoken > SECONDS_BETWEEN_LINES:
            self._spoken = time.monotonic()
            self._line()

    def _line(self) -> None:
        seconds = max(time.monotonic() - self._began, 1e-9)
        rate = self._done / seconds
        left = (self._total - self._done) / rate if rate else float("nan")
        log.info(
            "%s: %d of %d %ss, %.1f a second, %.0f s left",
            self._what, self._done, self._total, self._unit, rate, left,
        )  # fmt: skip


def progress(total: int, what: str, unit: str = "utterance"):
    """A context manager with ``update(n)``.

    Parameters
    ----------
    total : int
        How many units there are.
    what : str
        What goes on, for people.
    unit : str
        What is counted, in the singular.
    """
    if sys.stderr.isatty():
        # Short jobs come and go without a bar; a finished one leaves the terminal to the others.
        return tqdm(
            total=total, desc=what, unit=f" {unit}s", dynamic_ncols=True, delay=3, leave=False
        )
    return _LinesInLog(total, what, unit)
