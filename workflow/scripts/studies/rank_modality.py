"""Ranks neurons by how well they tell speech from text."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from steplens.jobs.run_stage import run_stage

inputs, params = snakemake.input, snakemake.params
run_stage(
    snakemake,
    "studies.modality.ranking:rank_modality",
    stores={
        task: dict(zip(params.languages, map(Path, stores), strict=True))
        for task, stores in (
            (snakemake.wildcards.task, inputs.stores_speech),
            (params.twin, inputs.stores_text),
        )
    },
    step=int(snakemake.wildcards.tt),
    outputs={modality: Path(path) for modality, path in snakemake.output.items()},
    include_step_invariant=params.include_step_invariant,
    threads=snakemake.threads,
    left_out=Path(inputs.left_out),
)
