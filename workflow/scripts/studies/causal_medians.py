"""Medians of an encoder's neurons over all languages."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from steplens.jobs.run_stage import run_stage

run_stage(
    snakemake,
    "studies.causal.medians:encoder_medians",
    stores=dict(zip(snakemake.params.languages, map(Path, snakemake.input.stores), strict=True)),
    module=snakemake.wildcards.encoder,
    output=Path(snakemake.output[0]),
    threads=snakemake.threads,
    left_out=Path(snakemake.input.left_out),
)
