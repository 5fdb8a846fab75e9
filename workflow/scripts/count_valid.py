"""Counts valid utterances."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage

stores = map(Path, snakemake.input.stores)
run_stage(
    snakemake,
    "steering.summary:count_valid",
    stores={tuple(key): path for key, path in zip(snakemake.params.stores, stores, strict=True)},
    output=Path(snakemake.output[0]),
    left_out=Path(snakemake.input.left_out),
)
