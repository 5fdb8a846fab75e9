"""Speaks the sentences of one language."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.job import run_stage
from steplens.languages import load_languages

settings = dict(snakemake.params.settings)
if snakemake.params.engine == "xtts":  # no param: another batch size speaks nothing again
    settings["batch_size"] = snakemake.config["batch_size"]["speech"]

run_stage(
    snakemake,
    "speech:synthesize_corpus",
    own_process=True,
    corpus=Path(snakemake.input.corpus),
    language=load_languages()[snakemake.wildcards.lang],
    engine=snakemake.params.engine,
    settings=settings,
    checks=snakemake.params.checks,
    first_attempts=dict(snakemake.params.first_attempts),
    seed=snakemake.params.seed,
    threads=snakemake.threads,
    output=Path(snakemake.output[0]),
)
