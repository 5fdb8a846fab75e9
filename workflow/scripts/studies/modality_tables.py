"""Where the neurons that tell the modality lie."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from steplens.jobs.run_stage import run_stage
from steplens.run.arguments import selection_of

run_stage(
    snakemake,
    "studies.modality.tables:modality_tables",
    conditions=[
        (task, step, Path(modality), Path(language))
        for (task, step), modality, language in zip(
            snakemake.params.conditions,
            snakemake.input.modality,
            snakemake.input.language,
            strict=True,
        )
    ],
    k=snakemake.params.k,
    tables={name: Path(path) for name, path in snakemake.output.items()},
    selection=selection_of(snakemake),
)
