"""Times several ways of doing one thing in turns, so that a busy machine slows all of them alike."""

import gc
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

NAN = float("nan")


@dataclass
class Measurement:
    """One thing that was timed: a row of ``results/bench/bench.csv``.

    ``seconds`` and the like are medians over the rounds; ``low`` and ``high`` are the smallest and the
    largest ratio within one round.
    """

    stage: str
    case: str  # what was timed, with its size
    seconds: float
    baseline: str = ""  # the other way of doing the same
    baseline_seconds: float = NAN
    times_faster: float = NAN  # baseline_seconds / seconds
    times_faster_low: float = NAN
    times_faster_high: float = NAN
    limit: str = ""  # what no way of doing it can beat
    limit_seconds: float = NAN
    times_limit: float = NAN  # seconds / limit_seconds, at best 1
    times_limit_low: float = NAN
    times_limit_high: float = NAN
    aim: str = ""  # for example "baseline / 150" or "limit × 1.15"
    met: bool | None = None
    device: str = field(default_factory=lambda: cpu_name())


COLUMNS = [one.name for one in fields(Measurement)]


def in_turns(ways: Mapping[str, Callable[[], object]], rounds: int = 5) -> dict[str, np.ndarray]:
    """Seconds of every way in every round: name to (rounds,) array.

    Parameters
    ----------
    ways : mapping
        Name to a call without arguments. All are called once before any is timed; those that run on a
        GPU must wait for it before they return.
    rounds : int
        The order of the calls turns from round to round.
    """
    names = list(ways)
    for name in names:
        ways[name]()
    seconds = {name: np.empty(rounds) for name in names}
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            gc.collect()
            gc.disable()
            start = time.perf_counter()
            ways[name]()
            seconds[name][number] = time.perf_counter() - start
            gc.enable()
    return seconds


def measurement(
    stage: str,
    case: str,
    seconds: np.ndarray,
    *,
    baseline: str = "",
    baseline_seconds: np.ndarray | None = None,
    limit: str = "",
    limit_seconds: np.ndarray | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    **others: object,
) -> Measurement:
    """A row from the seconds of each round.

    Parameters
    ----------
    stage, case : str
    seconds : (rounds,) array
    baseline, limit : str
        What they are, in words.
    baseline_seconds, limit_seconds : (rounds,) array or float, optional
    at_least : float, optional
        Aim: times faster than the baseline.
    at_most : float, optional
        Aim: times the limit.
    **others
        Further fields of ``Measurement``.
    """
    row = Measurement(stage, case, float(np.median(seconds)), baseline, limit=limit, **others)
    if baseline_seconds is not None:
        row.baseline_seconds = float(np.median(baseline_seconds))
        row.times_faster, row.times_faster_low, row.times_faster_high = _spread(
            np.asarray(baseline_seconds) / seconds
        )
    if limit_seconds is not None:
        row.limit_seconds = float(np.median(limit_seconds))
        row.times_limit, row.times_limit_low, row.times_limit_high = _spread(
            seconds / np.asarray(limit_seconds)
        )
    if at_least is not None:
        row.aim, row.met = f"baseline / {at_least:g}", bool(row.times_faster >= at_least)
    if at_most is not None:
        row.aim, row.met = f"limit × {at_most:g}", bool(row.times_limit <= at_most)
    return row


def _spread(ratios: np.ndarray) -> tuple[float, float, float]:
    return float(np.median(ratios)), float(np.min(ratios)), float(np.max(ratios))


def cpu_name() -> str:
    """This machine's processor and how many cores of it may be used."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.split(":")[1].strip() for line in lines if "model name" in line), name)
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"CPU {name}, {n} cores"
