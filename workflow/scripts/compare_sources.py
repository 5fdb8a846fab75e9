"""Compares sources of speech, and text, in one condition."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage
from steplens.run.arguments import selection_of

params = snakemake.params
n = len(params.languages)
stores = [Path(path) for path in snakemake.input.stores]
run_stage(
    snakemake,
    "comparison.speech_sources:compare_sources",
    rankings=dict(zip(params.sources, map(Path, snakemake.input.rankings), strict=True)),
    stores={
        source: dict(zip(params.languages, stores[i * n : (i + 1) * n], strict=True))
        for i, source in enumerate(params.sources)
    },
    left_out=dict(zip(params.sources, map(Path, snakemake.input.left_out), strict=True)),
    module=params.module,
    task=params.task,
    step=int(params.step),
    k=params.k,
    include_step_invariant=params.include_step_invariant,
    n_resamples=params.n_resamples,
    seed=params.seed,
    threads=snakemake.threads,
    summary_csv=Path(snakemake.output.summary),
    overlap_csv=Path(snakemake.output.overlap),
    selection=selection_of(snakemake),
)
