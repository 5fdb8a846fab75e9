"""Runs one encoder over one language."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage
from steplens.run.arguments import model_arguments

speech = snakemake.input.get("speech")
run_stage(
    snakemake,
    "recording.encode:encode",
    modality=snakemake.params.modality,
    language=snakemake.wildcards.lang,
    corpus=Path(snakemake.input.corpus),
    speech=Path(speech) if speech else None,
    output=Path(snakemake.output[0]),
    dtype=snakemake.params.dtype,
    batch_size=snakemake.config["batch_size"]["encode"],
    fixed_seconds=snakemake.params.get("fixed_seconds"),  # of speech
    **model_arguments(snakemake),
)
