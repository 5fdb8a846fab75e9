"""Counts top-k neurons by layer and submodule."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.comparison.location import RankedCondition
from steplens.jobs.run_stage import run_stage
from steplens.run.arguments import selection_of

encoders = [
    RankedCondition(f"{modality}_encoder", modality, 0, Path(path))
    for modality, path in zip(("speech", "text"), snakemake.input.encoders, strict=True)
]
decoders = [
    RankedCondition("decoder", task, step, Path(path))
    for (task, step), path in zip(snakemake.params.decoders, snakemake.input.decoders, strict=True)
]
run_stage(
    snakemake,
    "comparison.location:locate_all",
    conditions=encoders + decoders,
    k=snakemake.params.k,
    output=Path(snakemake.output[0]),
    selection=selection_of(snakemake),
)
