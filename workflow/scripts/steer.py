"""Generates with neurons fixed, for every target language and control."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.job import model_source, run_stage

run_stage(
    snakemake,
    "steering:steer",
    source=model_source(snakemake),
    task=snakemake.wildcards.task,
    language=snakemake.wildcards.lang,
    step=int(snakemake.wildcards.tt),
    ranking=Path(snakemake.input.ranking),
    encoder_store=Path(snakemake.input.encoder),
    output=Path(snakemake.output[0]),
    k=snakemake.params.k,
    n_utterances=snakemake.params.n_utterances,
    n_random=snakemake.params.n_random,
    seed=snakemake.params.seed,
    max_new_tokens=snakemake.params.max_new_tokens,
    batch_size=snakemake.config["batch_size"]["steer"],
)
