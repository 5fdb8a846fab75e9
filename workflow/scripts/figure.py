"""Draws one figure."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage

run_stage(
    snakemake,
    snakemake.params.stage,
    stem=Path(snakemake.output.svg).with_suffix(""),
    **{name: Path(path) for name, path in snakemake.input.items()},
)
