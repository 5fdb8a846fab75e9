"""Compares speech with text at one step."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage
from steplens.run.arguments import selection_of

languages = snakemake.params.languages
run_stage(
    snakemake,
    "comparison.compare_step:compare_step",
    ranking_speech=Path(snakemake.input.ranking_speech),
    ranking_text=Path(snakemake.input.ranking_text),
    stores_speech=dict(zip(languages, map(Path, snakemake.input.stores_speech), strict=True)),
    stores_text=dict(zip(languages, map(Path, snakemake.input.stores_text), strict=True)),
    tasks=("s2t", "t2t"),
    step=int(snakemake.wildcards.tt),
    k=snakemake.params.k,
    ks=snakemake.params.ks,
    include_step_invariant=snakemake.params.include_step_invariant,
    n_resamples=snakemake.params.n_resamples,
    seed=snakemake.params.seed,
    threads=snakemake.threads,
    tables={name: Path(path) for name, path in snakemake.output.items()},
    left_out=Path(snakemake.input.left_out),
    drawn_bytes=snakemake.resources.mem_mb * 1_000_000 // 2,
    selection=selection_of(snakemake),
)
