"""Writes the report."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


from steplens.jobs.run_stage import run_stage

run_stage(
    snakemake,
    "report.write:report",
    run_folder=Path(snakemake.output[0]).parent,
    output=Path(snakemake.output[0]),
    settings=snakemake.params.settings,
    speech=[Path(path) for path in snakemake.input.speech],
)
