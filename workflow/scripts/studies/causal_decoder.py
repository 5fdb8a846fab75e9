"""Generates with neurons of the decoder fixed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from steplens.jobs.run_stage import run_stage
from steplens.run.arguments import fixing_arguments

run_stage(
    snakemake,
    "studies.causal.decoder:causal_decoder",
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
    batch_size=snakemake.config["batch_size"]["steer"],
    **fixing_arguments(snakemake),
)
