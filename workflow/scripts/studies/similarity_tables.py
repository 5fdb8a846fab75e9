"""The tables of similarity out of the pairs of all conditions."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from steplens.jobs.run_stage import run_stage

run_stage(
    snakemake,
    "studies.similarity.tables:similarity_tables",
    parts=dict(
        zip(map(tuple, snakemake.params.parts), map(Path, snakemake.input.parts), strict=True)
    ),
    n_resamples=snakemake.params.n_resamples,
    seed=snakemake.params.seed,
    level_of=snakemake.params.level_of,
    tables={name: Path(path) for name, path in snakemake.output.items()},
)
