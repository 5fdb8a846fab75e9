"""Fetches one thing from the hub."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage

run_stage(
    snakemake,
    f"models.fetch:{snakemake.params.what}",
    own_process=True,
    repository=snakemake.params.repository,
    revision=snakemake.params.revision,
    output=Path(snakemake.output[0]),
    **snakemake.params.get("options", {}),
)
