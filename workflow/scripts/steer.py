"""Generates with neurons fixed, for every step, target language and control."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage
from steplens.run.arguments import fixing_arguments

steps = snakemake.params.steps
run_stage(
    snakemake,
    "steering.steer:steer",
    task=snakemake.wildcards.task,
    language=snakemake.wildcards.lang,
    rankings=dict(zip(steps, map(Path, snakemake.input.rankings), strict=True)),
    encoder_store=Path(snakemake.input.encoder),
    outputs=dict(zip(steps, map(Path, snakemake.output), strict=True)),
    k=snakemake.params.k,
    targets=snakemake.params.targets,
    batch_size=snakemake.config["batch_size"]["steer"],
    **fixing_arguments(snakemake),
)
