# In: the merged configuration. Out: names that all rules share; nothing is run here.

import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))

from snakemake.exceptions import WorkflowError

from steplens.checkpoint import check_checkpoint, checkpoint_digest
from steplens.code_digest import code_digest
from steplens.config import ConfigError, parse_config
from steplens.content_digest import files_digest
from steplens.languages import load_languages
from steplens.tasks import (
    IDENTIFICATION_TASK,
    MODALITY_OF,
    REPRESENTATION_TASKS,
    STEERED_TASKS,
    TASKS,
)

try:
    CONFIG = parse_config(config)
    check_checkpoint(CONFIG.model.path, [*CONFIG.languages, CONFIG.output_language])
except ConfigError as error:
    raise WorkflowError(str(error))

config.update(CONFIG.model_dump())  # defaults filled in, for the scripts

RESULTS = Path("results") / CONFIG.run
LANGUAGES = CONFIG.languages
STEPS = sorted(CONFIG.steps)
ENVS = Path(workflow.basedir) / "envs"
# Jobs that use the model ask for one GPU, unless the config keeps it on the CPU.
GPUS = 0 if CONFIG.model.device == "cpu" else 1
# Which weights a stage would load: a retrained checkpoint in the same folder is another model.
MODEL = CONFIG.model.model_dump() | {"digest": checkpoint_digest(CONFIG.model.path)}


wildcard_constraints:
    lang="[a-z]{3}",
    modality="speech|text",
    task="|".join(TASKS),
    tt=r"\d\d+",
    encoder="speech_encoder|text_encoder",


def encoder_store(modality, language):
    """Commit mark of an encoder store."""
    return RESULTS / "encoder" / modality / f"{language}.zarr" / "zarr.json"


def task_encoder_store(wildcards):
    """The encoder store that a task decodes from."""
    return encoder_store(MODALITY_OF[wildcards.task], wildcards.lang)


def decoder_store(task, language, step):
    """Commit mark of a decoder store."""
    return RESULTS / "decoder" / task / language / f"step-{int(step):02d}.zarr" / "zarr.json"


def decoding(task, language):
    """Table of decoded sentences."""
    return RESULTS / "decoding" / task / f"{language}.parquet"


def corpus(language):
    """Table of sentences."""
    return RESULTS / "corpus" / f"{language}.parquet"


def decoder_ranking(task, step):
    """Commit mark of a ranking of the decoder."""
    return RESULTS / "ranking" / "decoder" / task / f"step-{int(step):02d}.zarr" / "zarr.json"


def encoder_ranking(encoder):
    """Commit mark of a ranking of an encoder."""
    return RESULTS / "ranking" / f"{encoder}.zarr" / "zarr.json"


def steered_texts(task, language, step):
    """Table of steered outputs."""
    folder = RESULTS / "steering" / "texts" / task / language
    return folder / f"step-{int(step):02d}.parquet"


def log_of(name):
    """Where a rule logs; ``name`` may hold wildcards."""
    return RESULTS / "logs" / f"{name}.log"


def benchmark_of(name):
    """Where Snakemake keeps the time and memory of a job."""
    return RESULTS / "benchmarks" / f"{name}.tsv"


def split_files(wildcards):
    """The TSVs that the sentences of a language come from."""
    languages = load_languages()
    codes = {languages[one].fleurs for one in [wildcards.lang, *CONFIG.corpus.parallel_over]}
    folder = Path(CONFIG.corpus.folder) / "data"
    return [
        folder / code / f"{split}.tsv" for code in sorted(codes) for split in CONFIG.corpus.splits
    ]


def splits_digest(wildcards):
    """By content: a checkout that only touches the files redoes nothing."""
    files = split_files(wildcards)
    return files_digest(files) if all(one.is_file() for one in files) else ""


def step_table(name, step="{tt}"):
    """A comparison's CSV of one step."""
    return RESULTS / "comparison" / "steps" / f"step-{step}" / f"{name}.csv"


def two_rankings(wildcards):
    """Rankings of s2t and t2t at one step."""
    return {
        f"ranking_{MODALITY_OF[task]}": decoder_ranking(task, wildcards.tt)
        for task in REPRESENTATION_TASKS
    }


def comparison_table(name):
    """A comparison's CSV over all steps."""
    return RESULTS / "comparison" / f"{name}.csv"


def pairs_of_different_script():
    """(source, target) of every ordered pair of languages in different scripts."""
    script = {lang: load_languages()[lang].script for lang in LANGUAGES}
    return [
        (one, other) for one in LANGUAGES for other in LANGUAGES if script[one] != script[other]
    ]


def figure_files(number):
    """Both files of a figure."""
    return [RESULTS / "figures" / f"figure{number}.{kind}" for kind in ("svg", "png")]
