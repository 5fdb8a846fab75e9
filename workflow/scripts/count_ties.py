"""Counts how many of the steered neurons a tie decided."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage
from steplens.run.arguments import selection_of

steps = snakemake.params.steps
run_stage(
    snakemake,
    "steering.tie_counts:count_ties",
    rankings=dict(zip(steps, map(Path, snakemake.input), strict=True)),
    k=snakemake.params.k,
    output=Path(snakemake.output[0]),
    selection=selection_of(snakemake),
)
