"""Generates with neurons fixed, for every step, target language and control."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.job import model_source, run_stage

steps = snakemake.params.steps
run_stage(
    snakemake,
    "steering:steer",
    source=model_source(snakemake),
    task=snakemake.wildcards.task,
    language=snakemake.wildcards.lang,
    rankings=dict(zip(steps, map(Path, snakemake.input.rankings), strict=True)),
    encoder_store=Path(snakemake.input.encoder),
    outputs=dict(zip(steps, map(Path, snakemake.output), strict=True)),
    k=snakemake.params.k,
    n_utterances=snakemake.params.n_utterances,
    n_random=snakemake.params.n_random,
    seed=snakemake.params.seed,
    max_new_tokens=snakemake.params.max_new_tokens,
    batch_size=snakemake.config["batch_size"]["steer"],
    made_by={"model": dict(snakemake.params.model), "code": snakemake.params.code},
)
