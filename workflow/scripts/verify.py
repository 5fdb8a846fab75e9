"""Reads all results of a run and says what is wrong."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage

params = snakemake.params
run_stage(
    snakemake,
    "run.verify:print_verification",
    results=Path(params.results),
    languages=params.languages,
    tasks=params.tasks,
    steps=params.steps,
    made_by=params.made_by,
    made_now=params.made_now,
    expected=params.expected,
    dtype=params.dtype,
    n_utterances=params.n_utterances,
    fixed_seconds=params.fixed_seconds,
    threads=snakemake.threads,
)
