"""Encodes with neurons of an encoder fixed, and decodes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.job import model_source, run_stage

speech = snakemake.input.get("speech")
batch_size = snakemake.config["batch_size"]
run_stage(
    snakemake,
    "studies.causal_encoder:causal_encoder",
    source=model_source(snakemake),
    modality=snakemake.params.modality,
    language=snakemake.wildcards.lang,
    output_language=snakemake.params.output_language,
    corpus=Path(snakemake.input.corpus),
    speech=Path(speech) if speech else None,
    ranking=Path(snakemake.input.ranking),
    medians=Path(snakemake.input.medians),
    outputs={task: Path(path) for task, path in snakemake.output.items()},
    ks=snakemake.params.ks,
    n_utterances=snakemake.params.n_utterances,
    n_random=snakemake.params.n_random,
    seed=snakemake.params.seed,
    max_new_tokens=snakemake.params.max_new_tokens,
    encode_batch_size=batch_size["encode"],
    decode_batch_size=batch_size["steer"],
    made_by={"model": dict(snakemake.params.model), "code": snakemake.params.code},
)
