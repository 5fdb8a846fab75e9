"""Writes table 5."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage
from steplens.run.arguments import model_source

run_stage(
    snakemake,
    "models.components:write_components",
    source=model_source(snakemake),
    output=Path(snakemake.output[0]),
)
