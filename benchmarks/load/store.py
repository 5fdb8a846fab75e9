"""Made-up stores of one step at the paper's size, and what ranking and comparing them takes.

Every stage is a process of its own, so that its peak memory is its own: VmHWM of /proc/<pid>/status, which
unlike getrusage has nothing of the process that started it.
"""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[2]
LIMIT_GB = 6.0
STEP = 6
TASKS = ("s2t", "t2t")
CODES = ("deu", "spa", "fra", "cmn", "jpn", "ita", "por", "pol", "tur", "rus")
# As published: 24 layers of 20,480 neurons.
DECODER = {"hidden_size": 1024, "decoder_ffn_dim": 8192, "decoder_layers": 24}
N_NEURONS = 491_520
OWN = 10  # one neuron of so many tells a language
ROWS = 64  # made at a time


@dataclass(frozen=True)
class Size:
    """What is in the stores."""

    neurons: int = N_NEURONS
    utterances: int = 1000
    languages: int = 5

    @property
    def codes(self) -> tuple[str, ...]:
        """The languages' codes."""
        return CODES[: self.languages]

    def stores(self, folder: Path, task: str) -> dict[str, Path]:
        """Language to store, in a folder that other sizes do not share."""
        home = folder / f"{self.languages}x{self.utterances}x{self.neurons}" / task
        return {code: home / f"{code}.zarr" for code in self.codes}

    def ranking(self, folder: Path, task: str) -> Path:
        """The ranking of a task's stores."""
        return self.stores(folder, task)[self.codes[0]].with_name("ranking.zarr")


@dataclass(frozen=True)
class Taken:
    """What one stage took: its whole process, with its start."""

    stage: str
    seconds: float
    processor_seconds: float
    peak_bytes: int


def require_size(size: Size) -> None:
    """Stop where there are no such stores."""
    limits = {"neurons": N_NEURONS, "utterances": 10**6, "languages": len(CODES)}
    for name, most in limits.items():
        if not 2 <= getattr(size, name) <= most:
            raise SystemExit(f"--{name}: expected 2 to {most:,}, got {getattr(size, name):,}")


def write_stores(folder: Path, size: Size) -> tuple[int, int]:
    """Write the stores of both tasks; those that are there are taken as they are.

    Values are normal, each drawn for itself: nothing is repeated, so that they compress as badly as
    activations do, or worse. Of every ten neurons one is larger in one language, the same in both tasks.

    Returns
    -------
    (int, int)
        Bytes of activations, and on disk.
    """
    from steplens.models.neurons import neuron_table, place_names
    from steplens.store.writer import StoreWriter

    neurons = neuron_table(DECODER, "decoder").iloc[: size.neurons]
    on_disk = 0
    for task in TASKS:
        for number, (code, path) in enumerate(size.stores(folder, task).items()):
            told = {
                "model": "random", "revision": None, "module": "decoder", "task": task, "step": STEP,
                "language": code,
            }  # fmt: skip
            if not (path / "zarr.json").exists():
                generator = np.random.default_rng([TASKS.index(task), number])
                shift = np.float32(np.arange(size.neurons) % (OWN * size.languages) == OWN * number)
                with StoreWriter(
                    path, range(size.utterances), neurons, place_names(1), 8, "float16", told
                ) as store:
                    for start in range(0, size.utterances, ROWS):
                        rows = np.arange(start, min(start + ROWS, size.utterances))
                        values = generator.standard_normal((len(rows), size.neurons), np.float32)
                        values += shift
                        store.write(rows, values, np.zeros((len(rows), 2, 8), np.float16))
            on_disk += sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
    return 2 * len(TASKS) * size.languages * size.utterances * size.neurons, on_disk


# --- the stages, each in a process of its own --------------------------------------------------------


def rank_s2t(folder: Path, size: Size, threads: int, **_) -> None:
    """Rank the stores of speech translation."""
    _rank(folder, size, threads, "s2t")


def rank_t2t(folder: Path, size: Size, threads: int, **_) -> None:
    """Rank the stores of text translation."""
    _rank(folder, size, threads, "t2t")


def _rank(folder: Path, size: Size, threads: int, task: str) -> None:
    from steplens.ranking.rank_condition import rank_condition

    condition = {"module": "decoder", "task": task, "step": STEP}
    stores, output = size.stores(folder, task), size.ranking(folder, task) / "zarr.json"
    rank_condition(stores, output, True, threads, condition=condition)


def compare(folder: Path, size: Size, threads: int, resamples: int, **_) -> None:
    """Compare speech with text, by the k of config/paper.yaml."""
    from steplens.comparison.compare_step import compare_step

    paper = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text(encoding="utf-8"))
    settings = paper["comparison"]
    tables = ("overlap", "overlap_summary", "spearman", "spearman_summary", "sensitivity")
    compare_step(
        **_both(folder, size, settings, tables),
        ks=[k for k in settings["k_sweep"] if k <= size.neurons],
        n_resamples=resamples,
        threads=threads,
    )


def reliability(folder: Path, size: Size, threads: int, draws: int, **_) -> None:
    """Split halves and shuffled labels."""
    from steplens.comparison.reliability import reliability as stage

    paper = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text(encoding="utf-8"))
    stage(
        **_both(folder, size, paper["comparison"], ("stability", "null_ratio")),
        n_splits=draws,
        n_shuffles=draws,
        threads=threads,
    )


def _both(folder: Path, size: Size, settings: dict, tables: tuple[str, ...]) -> dict:
    """What both stages that set speech against text are told."""
    places = {name: folder / "tables" / f"{name}.csv" for name in tables}
    (folder / "tables").mkdir(exist_ok=True)
    return {
        "ranking_speech": size.ranking(folder, "s2t"),
        "ranking_text": size.ranking(folder, "t2t"),
        "stores_speech": size.stores(folder, "s2t"),
        "stores_text": size.stores(folder, "t2t"),
        "step": STEP,
        "k": min(settings["k"], size.neurons),
        "include_step_invariant": True,
        "seed": 1,
        "tables": places,
        "tasks": TASKS,
    }


STAGES = {one.__name__: one for one in (rank_s2t, rank_t2t, compare, reliability)}


def run_stage(order: str) -> None:
    """Run what ``measured`` asks for, in this process, and print what it took."""
    options = json.loads(order)
    stage = STAGES[options.pop("stage")]
    stage(Path(options.pop("folder")), Size(**options.pop("size")), **options)
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
    print(json.dumps({"peak_bytes": peak, "processor_seconds": time.process_time()}))


def measured(stage: str, folder: Path, size: Size, **options) -> Taken:
    """Run a stage in a process of its own.

    Parameters
    ----------
    stage : str
        One of ``STAGES``.
    folder : path
        With the stores.
    size : Size
    **options
        threads, resamples (of ``compare``) and draws (splits and shuffles of ``reliability``).
    """
    order = {"stage": stage, "folder": str(folder), "size": vars(size)} | options
    environment = os.environ | {"NUMBA_NUM_THREADS": str(options["threads"])}
    start = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-m", __spec__.name, json.dumps(order)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    if result.returncode:
        raise SystemExit(f"{stage} failed:\n{result.stderr[-3000:]}")
    return Taken(stage, seconds, **json.loads(result.stdout.splitlines()[-1]))


def exceeding(taken: list[Taken], limit_gb: float) -> list[str]:
    """The stages whose peak memory is over a limit."""
    return [one.stage for one in taken if one.peak_bytes > limit_gb * 1e9]


def store_table(taken: list[Taken], limit_gb: float) -> str:
    """Markdown."""
    lines = [
        f"| stage | seconds | processor seconds | peak memory (GB) | of {limit_gb:g} GB |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one.stage} | {one.seconds:,.1f} | {one.processor_seconds:,.1f} | "
        f"{one.peak_bytes / 1e9:.2f} | {one.peak_bytes / 1e9 / limit_gb:.0%} |"
        for one in taken
    ]
    return "\n".join(lines)


def load_store(
    folder: Path, size: Size, stages: list[str], limit_gb: float = LIMIT_GB, **options
) -> int:
    """Write the stores, run the stages, print their table; 1 if one takes more memory than allowed."""
    require_size(size)
    start = time.perf_counter()
    n_bytes, on_disk = write_stores(folder, size)
    print(
        f"stores: {n_bytes / 1e9:.2f} GB of activations, {on_disk / 1e9:.2f} GB on disk, "
        f"{time.perf_counter() - start:.0f} s",
        flush=True,
    )
    taken = []
    for stage in stages:
        taken.append(measured(stage, folder, size, **options))
        print(f"  {taken[-1]}", file=sys.stderr, flush=True)
    print(store_table(taken, limit_gb))
    over = exceeding(taken, limit_gb)
    if over:
        print(f"expected at most {limit_gb:g} GB of memory a stage; more took {', '.join(over)}")
    return int(bool(over))


if __name__ == "__main__":  # one stage, for measured
    sys.path.insert(0, str(ROOT / "workflow"))
    run_stage(sys.argv[1])
