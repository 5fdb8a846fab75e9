"""Measures the inequality of one store."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from steplens.jobs.run_stage import run_stage

run_stage(
    snakemake,
    "studies.inequality.measure:measure",
    store=Path(snakemake.input[0]),
    output=Path(snakemake.output[0]),
    include_step_invariant=snakemake.params.include_step_invariant,
    condition=snakemake.params.condition,
)
