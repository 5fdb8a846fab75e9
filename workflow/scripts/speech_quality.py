"""Flags utterances that are spoken badly."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.jobs.run_stage import run_stage

languages = snakemake.params.languages
run_stage(
    snakemake,
    "speech.quality:judge_speech",
    corpora=dict(zip(languages, map(Path, snakemake.input.corpora), strict=True)),
    spoken=dict(zip(languages, map(Path, snakemake.input.speech), strict=True)),
    recognised=dict(zip(languages, map(Path, snakemake.input.decodings), strict=True)),
    max_cer=snakemake.params.max_cer,
    leave_out_flagged=snakemake.params.leave_out_flagged,
    output=Path(snakemake.output[0]),
)
