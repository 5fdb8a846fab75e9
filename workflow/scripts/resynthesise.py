"""Asks for other takes of flagged utterances."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage

run_stage(
    snakemake,
    "speech.quality:resynthesise",
    own_process=True,
    quality=Path(snakemake.input[0]),
    folder=Path(snakemake.params.folder),
)
