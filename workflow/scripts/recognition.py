"""Scores what the model wrote unsteered."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage
from steplens.run.identities import fleurs_folder

params = snakemake.params
decodings = zip(params.decodings, map(Path, snakemake.input.decodings), strict=True)
run_stage(
    snakemake,
    "steering.summary:score_decoding",
    corpora=dict(zip(params.languages, map(Path, snakemake.input.corpora), strict=True)),
    decodings={tuple(key): path for key, path in decodings},
    folder=fleurs_folder(snakemake.config["corpus"]),
    splits=params.splits,
    output_language=params.output_language,
    n_resamples=params.n_resamples,
    seed=params.seed,
    output=Path(snakemake.output[0]),
    left_out=Path(snakemake.input.left_out),
)
