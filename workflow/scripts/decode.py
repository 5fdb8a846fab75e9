"""Generates the output of one task for one language."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage
from steplens.run.arguments import model_arguments

corpus = snakemake.input.get("corpus")  # of text
run_stage(
    snakemake,
    "generation.decode:decode",
    task=snakemake.wildcards.task,
    language=snakemake.wildcards.lang,
    output_language=snakemake.params.output_language,
    encoder_store=Path(snakemake.input.encoder),
    corpus=Path(corpus) if corpus else None,
    output=Path(snakemake.output[0]),
    max_new_tokens=snakemake.params.max_new_tokens,
    batch_size=snakemake.config["batch_size"]["decode"],
    **model_arguments(snakemake),
)
