"""``python -m benchmarks [stage …] [--full] [--device cuda]``: results/bench/bench.csv and its figure.

Run on a machine that does nothing else. With --full some 12 GB of memory and half an hour.
"""

import argparse
import importlib
from dataclasses import astuple, replace
from pathlib import Path

import pandas as pd

from .timing import COLUMNS

STAGES = (
    "ranking", "resampling", "capture", "stores", "speech", "steering", "similarity", "startup",
)  # fmt: skip


def main() -> None:
    """Measure the stages that are named, and keep the figures of the others."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="stage", help=f"of {', '.join(STAGES)}")
    parser.add_argument(
        "--full", action="store_true", help="models at their published size, with random weights"
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--output", type=Path, default=Path("results/bench"))
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.stages) - set(STAGES))
    if unknown:
        parser.error(f"stage: expected some of {', '.join(STAGES)}, got {', '.join(unknown)}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    table = arguments.output / "bench.csv"
    for stage in arguments.stages or STAGES:
        print(f"{stage}:", flush=True)
        measure = importlib.import_module(f".stages.{stage}", __package__).measure
        rows = []
        for row in measure(full=arguments.full, device=arguments.device):
            rows.append(replace(row, stage=stage))
            print(f"  {line(rows[-1])}", flush=True)
        keep(pd.DataFrame([astuple(row) for row in rows], columns=COLUMNS), table)
    from .figure import draw
    from .markdown import write

    everything = pd.read_csv(table)
    draw(everything, arguments.output)
    write(everything, table.with_suffix(".md"))
    print(f"{table}, and the same as .md, .png and .svg")


def line(row) -> str:
    """One measurement in one line."""
    parts = [f"{row.case}: {row.seconds:.3g} s"]
    if row.baseline:
        parts.append(f"{row.times_faster:.3g} times as fast as {row.baseline}")
    if row.limit:
        parts.append(f"{row.times_limit:.3g} times {row.limit}")
    if row.aim:
        parts.append(f"aim: {row.aim}, {'met' if row.met else 'MISSED'}")
    return "; ".join(parts)


def keep(new: pd.DataFrame, table: Path) -> None:
    """Put new rows in place of those of the same stage, case and device."""
    if table.is_file():
        old = pd.read_csv(table)
        names = ["stage", "case", "device"]
        seen = pd.MultiIndex.from_frame(new[names])
        old = old[~pd.MultiIndex.from_frame(old[names]).isin(seen)]
        new = pd.concat([old, new]) if len(old) else new
    new = new.sort_values("stage", key=lambda one: one.map(STAGES.index), kind="stable")
    partial = table.with_suffix(".partial")
    new.to_csv(partial, index=False, float_format="%.6g")
    partial.replace(table)


if __name__ == "__main__":
    main()
