"""Puts the CSVs of all steps into one."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage

run_stage(
    snakemake,
    "files.gathering:gather",
    parts=[Path(path) for path in snakemake.input],
    output=Path(snakemake.output[0]),
)
