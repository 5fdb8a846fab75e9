"""``snakemake plan``: what a run would do and cost, printed before anything runs.

Jobs come from Snakemake itself, by two dry runs with the configuration at hand (``inputs.py``); bytes
and units of work from ``work.py``, seconds from these and ``rates.py``.
"""

import os
import re
import shutil
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from steplens.config.run import Config
from steplens.planning.inputs import (  # fmt: skip
    bytes_on_disk,
    cpu_name,
    fetched_bytes,
    find_model,
    find_sentences,
    gpu_names,
    observed_rates,
    planned_jobs,
    some,
)
from steplens.planning.model import REFERENCE
from steplens.planning.rates import Rate, choose_rate, load_rates
from steplens.planning.start_checks import require_neurons
from steplens.planning.work import (
    LAST_STAGE,
    STAGES,
    disk_bytes,
    download_bytes,
    stage_of,
    work_units,
)
from steplens.run.layout import STUDIES, RunLayout


def folders(layout: RunLayout) -> dict[str, tuple[Path, ...]]:
    """Where the results of each stage lie."""
    return {
        "corpus": (layout.folder("corpus"),),
        "speech": (layout.folder("speech"),),
        "encode speech": (layout.folder("encoder_store", modality="speech"),),
        "encode text": (layout.folder("encoder_store", modality="text"),),
        "decode": (layout.folder("decoding"),),
        "capture": (layout.folder("decoder_store"),),
        "rank": (layout.folder("encoder_ranking"),),
        "compare": (layout.folder("comparison_table"),),
        "steer": (layout.folder("steering_table"),),
        "neighbouring studies": tuple(layout.folder(f"{study}_table") for study in STUDIES),
        LAST_STAGE: tuple(map(layout.folder, ("table", "figure", "report", "log", "benchmark"))),
    }


# --- the plan --------------------------------------------------------------------------------------


@dataclass
class Row:
    """One stage."""

    now: int = 0  # jobs
    whole: int = 0
    there: float = 0  # bytes
    to_come: float = 0
    seconds: dict[str, float] = field(default_factory=dict)  # by device
    estimated: set[str] = field(default_factory=set)  # devices whose time is


@dataclass
class Plan:
    """All stages, and what is to be said about them."""

    rows: dict[str, Row]
    devices: list[str]
    notes: list[str]


def make_plan(
    config: Config,
    engine_of: Mapping[str, str],
    now: Mapping[str, int],
    whole: Mapping[str, int],
    results: Path,
    fleurs: Path,
    fetched: Path,
    rates: list[Rate] | None = None,
) -> Plan:
    """Put jobs, bytes and seconds together.

    Parameters
    ----------
    config : Config
    engine_of : mapping of language to speech engine
    now, whole : mapping of rule to number of jobs
        As ``planned_jobs`` gives them.
    results, fleurs, fetched : paths
        Of the run, of the sentences, of what was fetched.
    rates : list of Rate, optional
        By default those of ``resources/rates.tsv``.
    """
    model = find_model(config.model.path, config.model.revision)
    require_neurons(config, model, whole)
    sentences, notes = find_sentences(config, engine_of, fleurs)
    if model.assumed:
        counts = ", ".join(
            f"{model.n_neurons(module):,}"
            for module in ("speech_encoder", "text_encoder", "decoder")
        )
        notes.insert(
            0,
            f"{config.model.path} is not on disk: {model.origin} are assumed, {counts} neurons in "
            "speech encoder, text encoder and decoder.",
        )
    rates = load_rates() if rates is None else rates
    gpus, cpu = gpu_names(), cpu_name()
    wants_gpu = config.model.device == "cuda" or (config.model.device == "auto" and bool(gpus))
    devices = _devices(wants_gpu, gpus, cpu, rates, notes)
    observed = observed_rates(
        config, model, sentences, engine_of, results, rates, gpus[0] if gpus else cpu, cpu
    )
    splits = max(1, len(config.corpus.splits))
    downloads = download_bytes(
        config.model.path,
        whole.get("fetch_sentences", 0) / splits,
        whole.get("fetch_recordings", 0) / splits,
    )
    dtype = config.model.dtype
    if dtype == "auto":
        dtype = "float16" if wants_gpu else "float32"
    n_bytes = disk_bytes(config, model, sentences, engine_of, dtype, downloads)
    units = work_units(config, model, sentences, engine_of)
    rows = {stage: Row() for stage in STAGES}
    missing, own = set(), set()
    for rule, n_whole in whole.items():
        row, n_now = rows[stage_of(rule)], now.get(rule, 0)
        row.now += n_now
        row.whole += n_whole
        row.to_come += n_bytes.get(rule, 0) * n_now / n_whole
        if not n_now or rule not in units:
            continue
        for device in devices:
            rate = choose_rate([*observed, *rates], rule, model, device)
            if rate is None:
                missing.add(rule)
                continue
            if rate in observed:
                own.add(rule)
            seconds = units[rule] * n_now / n_whole * rate.seconds_per_unit
            seconds += n_now * rate.load_seconds
            row.seconds[device] = row.seconds.get(device, 0) + seconds
            if rate.basis == "estimated":
                row.estimated.add(device)
    layout = RunLayout(results)
    for half in (layout, layout.other_speech):
        for stage, paths in folders(half).items():
            rows[stage].there += bytes_on_disk(paths)
    rows["fetch"].there = fetched_bytes(config, fetched)
    if own:
        notes.append(f"Rates of {some(sorted(own), 9)} are those of this run's finished jobs.")
    if missing:
        notes.append(f"! No rate is known for {some(sorted(missing))}; the times leave it out.")
    notes += _disk_notes(rows, results)
    return Plan(rows, devices, sorted(notes, key=lambda note: note.startswith("!")))


def _devices(
    wants_gpu: bool, gpus: list[str], cpu: str, rates: list[Rate], notes: list[str]
) -> list[str]:
    """Devices to give times for: the GPU at hand, or else the CPU and, to compare, known GPUs."""
    if wants_gpu and gpus:
        return [gpus[0]]
    if not wants_gpu:
        return [cpu]
    notes.append("! model.device is cuda, and nvidia-smi lists no GPU here.")
    known = dict.fromkeys(
        one.device
        for one in rates
        if one.on_gpu and one.stage == "steer" and one.model == REFERENCE
    )
    return [*known, cpu]


def _disk_notes(rows: Mapping[str, Row], results: Path) -> list[str]:
    """What does not fit: results where they will lie, downloads in the hub's cache."""
    hub = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    places: dict[int, tuple[Path, list[str], float]] = {}
    for stage, row in rows.items():
        name, path = ("the hub's cache", hub) if stage == "fetch" else ("results", results)
        place = _existing(path)
        first, names, n_bytes = places.get(place.stat().st_dev, (place, [], 0.0))
        if row.to_come:
            names = [*names, *({name} - set(names))]
        places[place.stat().st_dev] = first, names, n_bytes + row.to_come
    notes = []
    for place, names, n_bytes in places.values():
        free = shutil.disk_usage(place).free
        if n_bytes > free:
            notes.append(
                f"! {' and '.join(names)}: {format_bytes(n_bytes)} are to come and {format_bytes(free)} "
                f"are free on that disk: {format_bytes(n_bytes - free)} short (what a job replaces is "
                "not counted off)."
            )
        elif n_bytes:
            notes.append(
                f"{format_bytes(n_bytes)} are to come, and {format_bytes(free)} are free there."
            )
    return notes


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


# --- printing --------------------------------------------------------------------------------------


def format_bytes(n: float) -> str:
    """In the unit that leaves one to three digits before the point; powers of 1,000.

    Examples
    --------
    >>> format_bytes(58_982_400_000), format_bytes(1_200), format_bytes(0)
    ('59.0 GB', '1.2 kB', '0')
    """
    if n < 1:
        return "0"
    for unit in ("B", "kB", "MB", "GB"):
        if n < 999.95:
            return f"{n:.0f} B" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"


def format_seconds(seconds: float) -> str:
    """Rounded for people.

    Examples
    --------
    >>> format_seconds(12), format_seconds(600), format_seconds(9000), format_seconds(200_000)
    ('12 s', '10 min', '2.5 h', '56 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 20 else f"{hours:,.0f} h"


def format_plan(plan: Plan, title: str) -> str:
    """The table and the notes under it."""
    header = ["stage", "jobs to run", "of", "on disk", "to come"]
    header += [_short(device) for device in plan.devices]
    body = [[stage, *_cells(row, plan.devices)] for stage, row in plan.rows.items()]
    body.append(["in all", *_cells(_sum(plan.rows.values()), plan.devices)])
    widths = [max(len(line[i]) for line in [header, *body]) for i in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in [header, *body]
    ]
    rule = "-" * max(map(len, lines))
    lines = [title, "", lines[0], rule, *lines[1:-1], rule, lines[-1], ""]
    if any(row.estimated for row in plan.rows.values()):
        lines.append("~ estimated, not measured; resources/rates.tsv says how.")
    lines.append("Times are those of one job after another; disk is counted before compression.")
    notes = (textwrap.fill(note, 100, subsequent_indent="  ") for note in plan.notes)
    return "\n".join([*lines, *notes])


def _cells(row: Row, devices: list[str]) -> list[str]:
    times = [
        f"{'~' if device in row.estimated else ''}{format_seconds(row.seconds[device])}"
        if row.seconds.get(device)
        else "-"
        for device in devices
    ]
    to_come = format_bytes(row.to_come) if row.to_come else "small" if row.now else "0"
    return [f"{row.now:,}", f"{row.whole:,}", format_bytes(row.there), to_come, *times]


def _sum(rows: Iterable[Row]) -> Row:
    total = Row()
    for row in rows:
        total.now += row.now
        total.whole += row.whole
        total.there += row.there
        total.to_come += row.to_come
        total.estimated |= row.estimated
        for device, seconds in row.seconds.items():
            total.seconds[device] = total.seconds.get(device, 0) + seconds
    return total


def _short(device: str) -> str:
    if device.startswith("CPU"):
        return "time, CPU"
    name = re.sub(r"^NVIDIA |GeForce |-.*", "", device)
    return f"time, {name}"


def print_plan(
    config: Config,
    engine_of: Mapping[str, str],
    snakefile: str | Path,
    triggers: Iterable[str],
    results: Path,
    fleurs: Path,
    fetched: Path,
) -> None:
    """Print the plan of a configuration; parameters as ``planned_jobs`` and ``make_plan`` have them."""
    fresh = not any(path.exists() for path in (results, fetched))
    now, whole = planned_jobs(config, snakefile, triggers, fresh)
    plan = make_plan(config, engine_of, now, whole, results, fleurs, fetched)
    title = (
        f"Plan of {results}: {len(config.languages)} languages x {config.corpus.n_utterances:,} "
        f"utterances, 4 tasks, {len(config.steps)} steps"
    )
    print(format_plan(plan, title), flush=True)
