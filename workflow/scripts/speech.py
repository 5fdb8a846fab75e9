"""Speaks the sentences of one language."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.corpus.fleurs import archive_file
from steplens.jobs.run_stage import run_stage
from steplens.languages.table import load_languages
from steplens.run.identities import fleurs_folder

language = load_languages()[snakemake.wildcards.lang]
corpus = snakemake.config["corpus"]
# What is heard is among the parameters; where files lie, the device and the like are not, so that
# another folder or batch size speaks nothing again.
settings = dict(snakemake.params.settings)
if snakemake.params.engine == "xtts":
    settings = snakemake.config["speech"]["xtts"] | settings
    settings["batch_size"] = snakemake.config["batch_size"]["speech"]
if snakemake.params.engine == "recorded":
    folder = fleurs_folder(corpus)
    settings["audio"] = {
        split: str(archive_file(folder, language, split)) for split in corpus["splits"]
    }

run_stage(
    snakemake,
    "speech.speak:synthesize_corpus",
    own_process=True,  # it starts processes itself, and wants to be small
    corpus=Path(snakemake.input.corpus),
    language=language,
    engine=snakemake.params.engine,
    settings=settings,
    checks=snakemake.params.checks,
    first_attempts=dict(snakemake.params.first_attempts),
    seed=snakemake.params.seed,
    threads=snakemake.threads,
    libraries=dict(snakemake.params.libraries),
    output=Path(snakemake.output[0]),
)
