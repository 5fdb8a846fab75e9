"""Summarises what fixed neurons do to the output."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from steplens.jobs.run_stage import run_stage
from steplens.run.identities import fleurs_folder

params, given = snakemake.params, snakemake.input
keys = [tuple(key) for key in params.unchanged]
run_stage(
    snakemake,
    "studies.causal.summary:summarize_causal",
    texts=dict(zip(map(tuple, params.texts), map(Path, given.texts), strict=True)),
    unchanged=dict(zip(keys, map(Path, given.unchanged), strict=True)),
    corpora=dict(zip(params.languages, map(Path, given.corpora), strict=True)),
    folder=fleurs_folder(snakemake.config["corpus"]),
    splits=params.splits,
    output_language=params.output_language,
    n_resamples=params.n_resamples,
    seed=params.seed,
    degenerate_tokens=params.degenerate_tokens,
    outputs={name: Path(path) for name, path in snakemake.output.items()},
    left_out=Path(given.left_out),
)
