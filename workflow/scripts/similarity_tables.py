"""The tables of similarity out of the pairs of all conditions."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.job import run_stage

levels = snakemake.params.levels
run_stage(
    snakemake,
    "studies.similarity_tables:similarity_tables",
    parts=[Path(path) for path in snakemake.input.parts],
    n_resamples=snakemake.params.n_resamples,
    seed=snakemake.params.seed,
    tables={name: Path(path) for name, path in snakemake.output.items()},
    levels=Path(levels) if levels else None,
)
