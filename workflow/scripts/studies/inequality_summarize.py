"""Writes the tables of the inequality study."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from steplens.jobs.run_stage import run_stage

run_stage(
    snakemake,
    "studies.inequality.summary:summarize",
    measured=[Path(path) for path in snakemake.input.measured],
    scripts=snakemake.params.scripts,
    n_resamples=snakemake.params.n_resamples,
    seed=snakemake.params.seed,
    tables={name: Path(path) for name, path in snakemake.output.items()},
    left_out=Path(snakemake.input.left_out),
)
