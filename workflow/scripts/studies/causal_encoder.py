"""Encodes with neurons of an encoder fixed, and decodes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from steplens.jobs.run_stage import run_stage
from steplens.run.arguments import fixing_arguments

speech = snakemake.input.get("speech")
batch_size = snakemake.config["batch_size"]
run_stage(
    snakemake,
    "studies.causal.encoder:causal_encoder",
    modality=snakemake.params.modality,
    language=snakemake.wildcards.lang,
    output_language=snakemake.params.output_language,
    corpus=Path(snakemake.input.corpus),
    speech=Path(speech) if speech else None,
    ranking=Path(snakemake.input.ranking),
    medians=Path(snakemake.input.medians),
    outputs={task: Path(path) for task, path in snakemake.output.items()},
    ks=snakemake.params.ks,
    encode_batch_size=batch_size["encode"],
    decode_batch_size=batch_size["steer"],
    fixed_seconds=snakemake.params.get("fixed_seconds"),  # of speech
    **fixing_arguments(snakemake),
)
