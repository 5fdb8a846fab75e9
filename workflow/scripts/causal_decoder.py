"""Generates with neurons of the decoder fixed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.job import model_source, run_stage

run_stage(
    snakemake,
    "studies.causal:causal_decoder",
    source=model_source(snakemake),
    task=snakemake.wildcards.task,
    language=snakemake.wildcards.lang,
    output_language=snakemake.params.output_language,
    step=snakemake.params.step,
    ranking=Path(snakemake.input.ranking),
    own_modality=Path(snakemake.input.own_modality),
    other_modality=Path(snakemake.input.other_modality),
    encoder_store=Path(snakemake.input.encoder),
    output=Path(snakemake.output[0]),
    ks=snakemake.params.ks,
    n_utterances=snakemake.params.n_utterances,
    n_random=snakemake.params.n_random,
    seed=snakemake.params.seed,
    max_new_tokens=snakemake.params.max_new_tokens,
    batch_size=snakemake.config["batch_size"]["steer"],
    made_by={"model": dict(snakemake.params.model), "code": snakemake.params.code},
)
