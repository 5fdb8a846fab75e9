"""Counts how many of the neurons that the causal study fixes a tie decided."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from steplens.jobs.run_stage import run_stage
from steplens.run.arguments import selection_of

inputs, params = snakemake.input, snakemake.params
rankings = zip(map(Path, inputs.by_language), map(Path, inputs.by_modality), strict=True)
run_stage(
    snakemake,
    "studies.causal.ties:causal_ties",
    encoders=dict(zip(params.encoders, map(Path, inputs.encoders), strict=True)),
    decoders=dict(zip(params.tasks, rankings, strict=True)),
    step=params.step,
    ks=params.ks,
    output=Path(snakemake.output[0]),
    selection=selection_of(snakemake),
)
