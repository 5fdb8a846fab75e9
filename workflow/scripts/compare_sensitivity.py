"""Sweeps k at one step."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.job import run_stage

run_stage(
    snakemake,
    "comparing:compare_sensitivity",
    ranking_speech=Path(snakemake.input.ranking_speech),
    ranking_text=Path(snakemake.input.ranking_text),
    step=int(snakemake.wildcards.tt),
    ks=snakemake.params.ks,
    output=Path(snakemake.output[0]),
)
