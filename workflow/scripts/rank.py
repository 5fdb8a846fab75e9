"""Ranks the neurons of one condition."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage
from steplens.run.arguments import condition_of

run_stage(
    snakemake,
    "ranking.rank_condition:rank_condition",
    stores=dict(zip(snakemake.params.languages, map(Path, snakemake.input.stores), strict=True)),
    output=Path(snakemake.output[0]),
    include_step_invariant=snakemake.params.include_step_invariant,
    threads=snakemake.threads,
    condition=condition_of(snakemake),
    left_out=Path(snakemake.input.left_out),
)
