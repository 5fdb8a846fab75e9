"""Chooses the sentences of one language."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steplens.files.hub import is_hub_name
from steplens.jobs.run_stage import run_stage
from steplens.languages.table import load_languages
from steplens.run.identities import fleurs_folder

languages = load_languages()
config = snakemake.config
# Local files were looked at when the run started; fetched ones are there only now.
fetched = is_hub_name(config["corpus"]["path"])
needed = config["similarity"]["sentences_per_component"]
similarity = "similarity" in config["studies"] and snakemake.params.n_utterances >= needed
run_stage(
    snakemake,
    "corpus.sentences:write_corpus",
    folder=fleurs_folder(config["corpus"]),
    language=languages[snakemake.wildcards.lang],
    splits=snakemake.params.splits,
    n_utterances=snakemake.params.n_utterances,
    seed=snakemake.params.seed,
    parallel_over=[languages[code] for code in snakemake.params.parallel_over],
    output=Path(snakemake.output[0]),
    compared_with=[languages[code] for code in config["languages"]] if fetched else [],
    fewest_common=needed if similarity else 1,
)
