"""The comparison over growing subsets of the sentences, at one step."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage
from steplens.run.arguments import selection_of

params = snakemake.params
run_stage(
    snakemake,
    "comparison.learning_curve:learning_curve",
    stores_speech=dict(
        zip(params.languages, map(Path, snakemake.input.stores_speech), strict=True)
    ),
    stores_text=dict(zip(params.languages, map(Path, snakemake.input.stores_text), strict=True)),
    step=int(snakemake.wildcards.tt),
    k=params.k,
    include_step_invariant=params.include_step_invariant,
    n_subsets=params.n_subsets,
    n_splits=params.n_splits,
    seed=params.seed,
    threads=snakemake.threads,
    output=Path(snakemake.output[0]),
    left_out=Path(snakemake.input.left_out),
    tasks=("s2t", "t2t"),
    selection=selection_of(snakemake),
)
