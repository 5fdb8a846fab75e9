"""Generates with the neurons of every target language fixed, under every way to break ties."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage
from steplens.run.arguments import model_arguments, selection_of

params = snakemake.params
run_stage(
    snakemake,
    "steering.steer_ties:steer_ties",
    task=snakemake.wildcards.task,
    language=snakemake.wildcards.lang,
    rankings=dict(zip(params.steps, map(Path, snakemake.input.rankings), strict=True)),
    steered=dict(zip(params.steps, map(Path, snakemake.input.steered), strict=True)),
    encoder_store=Path(snakemake.input.encoder),
    output=Path(snakemake.output[0]),
    k=params.k,
    n_utterances=params.n_utterances,
    max_new_tokens=params.max_new_tokens,
    batch_size=snakemake.config["batch_size"]["steer"],
    targets=params.targets,
    selection=selection_of(snakemake),
    **model_arguments(snakemake),
)
