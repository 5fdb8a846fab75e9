"""Captures every decoder neuron at one step."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage
from steplens.run.arguments import model_arguments

run_stage(
    snakemake,
    "recording.capture:capture",
    task=snakemake.wildcards.task,
    language=snakemake.wildcards.lang,
    step=int(snakemake.wildcards.tt),
    output_language=snakemake.params.output_language,
    encoder_store=Path(snakemake.input.encoder),
    decoding=Path(snakemake.input.decoding),
    output=Path(snakemake.output[0]),
    dtype=snakemake.params.dtype,
    batch_size=snakemake.config["batch_size"]["capture"],
    **model_arguments(snakemake),
)
