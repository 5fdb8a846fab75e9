"""Chooses the sentences of one language."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.identities import fleurs_folder
from steplens.job import run_stage
from steplens.languages import load_languages

languages = load_languages()
run_stage(
    snakemake,
    "corpus:write_corpus",
    folder=fleurs_folder(snakemake.config["corpus"]),
    language=languages[snakemake.wildcards.lang],
    splits=snakemake.params.splits,
    n_utterances=snakemake.params.n_utterances,
    seed=snakemake.params.seed,
    parallel_over=[languages[code] for code in snakemake.params.parallel_over],
    output=Path(snakemake.output[0]),
)
