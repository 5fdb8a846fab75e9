"""Linear probes of the language on every layer of one condition."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from steplens.jobs.run_stage import run_stage
from steplens.run.arguments import condition_of

params = snakemake.params
run_stage(
    snakemake,
    "studies.modality.probes:probe_language",
    stores=dict(zip(params.languages, map(Path, snakemake.input.stores), strict=True)),
    ranking=Path(snakemake.input.ranking),
    condition=condition_of(snakemake),
    output=Path(snakemake.output[0]),
    folds=params.folds,
    regularisation=params.regularisation,
    seed=params.seed,
    left_out=Path(snakemake.input.left_out),
)
