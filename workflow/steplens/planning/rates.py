"""How fast a stage is: ``resources/rates.tsv``, and the benchmarks of a run itself.

A rate is measured on the device that it names, or estimated from operations and bytes, and says which.
``benchmarks/rates/measure.py`` writes the table.
"""

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from steplens.errors import RateError
from steplens.files.atomic import atomic_path
from steplens.planning.model import PUBLISHED, REFERENCE, Model
from steplens.planning.work import GPU_RULES, UNIT_OF, rate_name
from steplens.project import PROJECT


@dataclass(frozen=True)
class Rate:
    """One row of ``resources/rates.tsv``."""

    stage: str  # a rule, or rank, compare
    model: str  # a model's name, or any
    device: str  # "CPU …" or a GPU's name
    unit: str
    seconds_per_unit: float
    load_seconds: float  # of every job, before its first unit
    basis: str  # "measured" or "estimated"
    source: str  # how, when and where

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return not self.device.startswith("CPU")


RATES = PROJECT / "resources" / "rates.tsv"


def load_rates(table: Path = RATES) -> list[Rate]:
    """All rates.

    Raises
    ------
    RateError
        No table, another header, or a row with a wrong number of fields, an unknown stage, another unit,
        a number that is none, a negative one, or a basis that is neither measured nor estimated.
    """
    columns = [field.name for field in fields(Rate)]
    if not table.is_file():
        raise RateError(f"{table}: expected a table of rates, found none")
    with table.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        header = next(lines, [])
        if header != columns:
            raise RateError(f"{table}: columns: expected {', '.join(columns)}, got {header}")
        return [_rate(row, f"{table}:{number}") for number, row in enumerate(lines, 2) if row]


def _rate(row: list[str], where: str) -> Rate:
    columns = [field.name for field in fields(Rate)]
    if len(row) != len(columns):
        raise RateError(
            f"{where}: expected {len(columns)} fields separated by tabs, got {len(row)}"
        )
    values: dict[str, Any] = dict(zip(columns, row, strict=True))
    for name in ("seconds_per_unit", "load_seconds"):
        try:
            values[name] = float(values[name])
        except ValueError:
            values[name] = math.nan
        if not 0 <= values[name] < math.inf:
            raise RateError(
                f"{where}: {name}: expected seconds, 0 or more, got {row[columns.index(name)]!r}"
            )
    if values["stage"] not in UNIT_OF:
        raise RateError(
            f"{where}: stage: expected one of {', '.join(UNIT_OF)}, got {values['stage']!r}"
        )
    if values["unit"] != UNIT_OF[values["stage"]]:
        raise RateError(
            f"{where}: unit: expected {UNIT_OF[values['stage']]!r} for {values['stage']}, "
            f"got {values['unit']!r}"
        )
    if values["basis"] not in ("measured", "estimated"):
        raise RateError(f"{where}: basis: expected measured or estimated, got {values['basis']!r}")
    for name in ("model", "device", "source"):
        if not values[name].strip():
            raise RateError(f"{where}: {name}: expected a text, got nothing")
    return Rate(**values)


def write_rates(rates: Iterable[Rate], table: Path = RATES) -> None:
    """Write the table: in the order of ``UNIT_OF``, then by model and device."""
    order = list(UNIT_OF)
    rows = sorted(rates, key=lambda one: (order.index(one.stage), one.model, one.device))
    with atomic_path(table) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, lineterminator="\n")
        lines.writerow(field.name for field in fields(Rate))
        for one in rows:
            numbers = {
                "seconds_per_unit": f"{one.seconds_per_unit:.3g}",
                "load_seconds": f"{one.load_seconds:.3g}",
            }
            lines.writerow(
                numbers.get(field.name, getattr(one, field.name)) for field in fields(Rate)
            )


def choose_rate(rates: Iterable[Rate], rule: str, model: Model, device: str) -> Rate | None:
    """The rate that fits best: of this model and device, or of the nearest that there is.

    Parameters
    ----------
    rates : Rate
        Those that come first win where several fit equally.
    rule : str
        Of Snakemake.
    model : Model
    device : str
        A GPU's name, or one that begins with ``CPU``; rules that use no GPU take the rate of a CPU.

    Returns
    -------
    Rate or None
        With basis ``estimated`` where it is another model's, scaled by the number of parameters, or
        another device's of the same kind (the slowest of them); None where nothing is known.
    """
    stage = rate_name(rule)
    on_gpu = stage in GPU_RULES and not device.startswith("CPU")
    fitting = [one for one in rates if one.stage == stage and one.on_gpu == on_gpu]
    same = [one for one in fitting if one.model in (model.name, "any") or stage == "speech_xtts"]
    if not same:
        scale = _relative_size(stage, model)
        same = [
            replace(one, seconds_per_unit=one.seconds_per_unit * scale, basis="estimated",
                    source=f"from {REFERENCE} by parameters; {one.source}")
            for one in fitting
            if one.model == REFERENCE
        ]  # fmt: skip
    if not same:
        return None
    if not on_gpu and not device.startswith("CPU"):
        return same[0]
    exact = [one for one in same if one.device == device]
    if exact:
        return next((one for one in exact if one.basis == "measured"), exact[0])
    slowest = max(same, key=lambda one: one.seconds_per_unit)
    return slowest if not on_gpu else replace(slowest, basis="estimated")


def _relative_size(rule: str, model: Model) -> float:
    modules = {"encode_speech": "speech_encoder", "encode_text": "text_encoder"}
    module = modules.get(rule, "decoder")
    return model.n_parameters(module) / Model("", PUBLISHED[REFERENCE], "").n_parameters(module)


def observed_rate(
    rule: str, jobs: Iterable[tuple[float, float]], load_seconds: float, model: str, device: str
) -> Rate | None:
    """A rate from jobs of this run.

    Parameters
    ----------
    rule : str
    jobs : iterable of (seconds, units)
        Wall-clock time and units of work of each finished job.
    load_seconds : float
        Of the table; no more is taken off than the fastest job took in all.
    model, device : str

    Returns
    -------
    Rate or None
        None without jobs.
    """
    jobs = [(seconds, units) for seconds, units in jobs if units > 0]
    if not jobs:
        return None
    # Where the load is all that a job took, it cannot be told from its work.
    load = load_seconds if load_seconds < min(seconds for seconds, _ in jobs) / 2 else 0.0
    per_unit = sum(seconds - load for seconds, _ in jobs) / sum(units for _, units in jobs)
    stage = rate_name(rule)
    return Rate(stage, model, device, UNIT_OF[stage], per_unit, load, "measured",
                f"benchmarks of {len(jobs)} jobs of this run")  # fmt: skip
