# In: the merged configuration. Out: names that all rules share; nothing is run here.

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))

from snakemake.exceptions import WorkflowError

from steplens.jobs.bookkeeping import check_bookkeeping
from steplens.models.checkpoint import check_checkpoint, check_vocabulary, checkpoint_digest
from steplens.jobs.code_digest import code_digest
from steplens.config.run import parse_config
from steplens.errors import ConfigError
from steplens.config.files import read_settings, require_one_option
from steplens.jobs.file_digests import files_digest, tell_on_terminal
from steplens.corpus.fleurs import archive_file, check_corpus, recordings_digest, split_file
from steplens.files.hub import is_hub_name, list_name
from steplens.run.identities import FETCHED, fleurs_folder, model_identity, pinned, voice_identity
from steplens.run.layout import (
    CAUSAL_TABLES,
    COMPARED_TABLES,
    INEQUALITY_TABLES,
    LEARNING_CURVE,
    MODALITY_TABLES,
    PAPER_TABLES,
    RELIABILITY_TABLES,
    SIMILARITY_TABLES,
    STEERING_SUMMARIES,
    STEP_TABLES,
    TIE_TABLES,
    RunLayout,
    entries,
    written_last,
)
from steplens.languages.table import load_languages
from steplens.tasks import (
    IDENTIFICATION_TASK,
    MODALITY_OF,
    REPRESENTATION_TASKS,
    STEERED_TASKS,
    TASKS,
    TEXT_TWIN,
)
from steplens.files.table_metadata import code_of, is_kept, settings_of
from steplens.speech.takes import first_attempts as asked_attempts
from steplens.speech.engines.xtts_files import check_xtts, xtts_digest

tell_on_terminal()  # a checkpoint that is read for the first time takes a while


def refused(error):
    """The error with which Snakemake ends in one line; with --quiet all, its own log would not say why."""
    quiet = workflow.output_settings.quiet or ()
    if any(one.name == "ALL" for one in quiet) and not workflow.output_settings.dryrun:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    return WorkflowError(str(error))


try:
    # Of what Snakemake made of the files and the command line nothing is taken: it reads them leniently.
    require_one_option(sys.argv)
    CONFIG = parse_config(
        read_settings(workflow.configfiles, workflow.config_settings.config_args or ())
    )
    check_checkpoint(CONFIG.model.path, [*CONFIG.languages, CONFIG.output_language])
    if workflow.is_main_process:  # jobs read this file too
        check_vocabulary(CONFIG.model.path)
    LANGUAGE = load_languages()
    SPLITS = CONFIG.corpus.splits
    ENGINE_OF = {lang: CONFIG.speech.engine_for(LANGUAGE[lang]) for lang in CONFIG.languages}
    # Whose sentences are read (recognition scores translations against the output language's), and
    # whose recordings.
    FLEURS_LANGUAGES = [
        LANGUAGE[lang]
        for lang in dict.fromkeys(
            [*CONFIG.languages, *CONFIG.corpus.parallel_over, CONFIG.output_language]
        )
    ]
    RECORDED_LANGUAGES = [
        LANGUAGE[lang]
        for lang, engine in ENGINE_OF.items()
        if "recorded" in (engine, CONFIG.speech.other_engine)
    ]
    check_corpus(CONFIG.corpus.path, FLEURS_LANGUAGES, SPLITS, RECORDED_LANGUAGES)
    if "xtts" in CONFIG.engines_in_use:
        check_xtts(CONFIG.speech.xtts.path)
    # Which weights a stage would load, and at which precision: a retrained checkpoint in the same folder
    # is another model, the same one in another folder is not. Where it lies is for the config to say.
    MODEL = model_identity(CONFIG.model.model_dump(), checkpoint_digest(CONFIG.model.path))
    XTTS = voice_identity(CONFIG.speech.xtts.model_dump(), xtts_digest(CONFIG.speech.xtts.path))
except ConfigError as error:
    raise refused(error)

config.clear()
config.update(CONFIG.model_dump())  # defaults filled in, for the scripts

RESULTS = Path("results") / CONFIG.run
RUN = RunLayout(RESULTS)  # where every result lies; wildcards stand in as values
OTHER = RUN.other_speech  # the speech half once more, by speech.other_engine
LANGUAGES = CONFIG.languages
STEPS = sorted(CONFIG.steps)
TARGETS = CONFIG.steering_targets  # of every source language that is steered
# Snakemake formats the path of an environment: braces in the folder's name are doubled for it.
ENVS = Path(str(workflow.basedir).replace("{", "{{").replace("}", "}}")) / "envs"
# Jobs that use the model ask for one GPU, unless the config keeps it on the CPU.
GPUS = 0 if CONFIG.model.device == "cpu" else 1
# Of the checks, those that see the audio alone: the others come after decode.
AUDIO_CHECKS = CONFIG.speech.checks.model_dump(exclude={"max_cer", "leave_out_flagged"})


def fetched_list(path, revision):
    """The list of a model's files that fetch leaves once they are in the hub's cache."""
    return FETCHED / "models" / list_name(path, revision)


def fetched_model(section):
    """That list as an input, for a model that comes from the hub."""
    return (
        ancient(fetched_list(section.path, section.revision)) if is_hub_name(section.path) else []
    )


MODEL_FETCHED = fetched_model(CONFIG.model)
XTTS_FETCHED = fetched_model(CONFIG.speech.xtts)
FROM_HUB = is_hub_name(CONFIG.corpus.path)
FLEURS = fleurs_folder(config["corpus"])


def told_apart(**settings):
    """Settings as parameters, and all of them once more as one.

    Snakemake compares the values of parameters as a set, without their names: of k=2, n_random=30 and
    k=30, n_random=2 it would not see the difference.
    """
    return settings | {"told_apart": settings}


# How top-k sets are chosen: a parameter of every rule that chooses neurons. Lots are drawn with the seed.
SELECTION = {
    "ties": CONFIG.ranking.ties,
    "scope": CONFIG.ranking.scope,
    "seed": CONFIG.seed if CONFIG.ranking.ties == "random" else 0,
}


def libraries(environment, *names):
    """The libraries whose arithmetic makes a stage's numbers: another minor version redoes it."""
    return pinned(Path(workflow.basedir) / "envs" / f"{environment}.yaml", *names)


def made_with(code, environment, *names):
    """Digest of a stage's code, and its libraries: what stores keep as the code that made them."""
    versions = libraries(environment, *names).items()
    return " ".join([code, *(f"{name}-{version}" for name, version in versions)])


wildcard_constraints:
    lang="[a-z]{3}",
    modality="speech|text",
    task="|".join(TASKS),
    tt=r"\d\d+",
    encoder="speech_encoder|text_encoder",


def encoder_store(modality, language, run=RUN):
    """Commit mark of an encoder store."""
    return written_last(run.encoder_store(modality, language))


def task_encoder_store(wildcards):
    """The encoder store that a task decodes from."""
    return encoder_store(MODALITY_OF[wildcards.task], wildcards.lang)


def decoder_store(task, language, step, run=RUN):
    """Commit mark of a decoder store."""
    return written_last(run.decoder_store(task, language, step))


def encoder_ranking(encoder, run=RUN):
    """Commit mark of a ranking of an encoder."""
    return written_last(run.encoder_ranking(encoder))


def decoder_ranking(task, step, run=RUN):
    """Commit mark of a ranking of the decoder."""
    return written_last(run.decoder_ranking(task, step))


def read_by_task(wildcards):
    """The sentences that a task reads; none of speech."""
    return RUN.corpus(wildcards.lang) if MODALITY_OF[wildcards.task] == "text" else []


def split_files(wildcards):
    """The TSVs that the sentences of a language come from."""
    codes = dict.fromkeys([wildcards.lang, *CONFIG.corpus.parallel_over])
    return [split_file(FLEURS, LANGUAGE[code], split) for code in codes for split in SPLITS]


def fetched(files):
    """Files of FLEURS as inputs, where they have to be fetched first.

    A local copy is no input, since inputs are compared by their paths: it counts by its content, among
    the parameters, wherever it lies.
    """
    return ancient(files) if FROM_HUB else []


def fetched_splits(wildcards):
    """The TSVs of a language as inputs, where they have to be fetched."""
    return fetched(split_files(wildcards))


def splits_digest(wildcards):
    """By content: a checkout that only touches the files redoes nothing."""
    if FROM_HUB:  # the revision says it all
        return CONFIG.corpus.revision
    return files_digest(split_files(wildcards))


def recordings(wildcards):
    """The archives that the recordings of a language come from."""
    return [archive_file(FLEURS, LANGUAGE[wildcards.lang], split) for split in SPLITS]


def fetched_recordings(wildcards):
    """Those archives as inputs, where they have to be fetched."""
    return fetched(recordings(wildcards))


def recordings_of(wildcards):
    """Which archives they are. Of the wildcards alone: what derives from inputs is not compared."""
    if FROM_HUB:
        return {"revision": CONFIG.corpus.revision}
    return {"digest": recordings_digest(recordings(wildcards))}


# Its column left_out says which utterances no statistic counts.
LEFT_OUT = RUN.speech_quality
OTHER_LEFT_OUT = OTHER.speech_quality


def spoken_by(engine):
    """Wildcard constraint: the languages that an engine speaks in this run."""
    return "|".join(lang for lang, one in ENGINE_OF.items() if one == engine) or "none"


def first_attempts(wildcards):
    """Utterance and attempt to begin with: a parameter, so that asking for other takes speaks again."""
    asked = asked_attempts(RUN.first_attempts(wildcards.lang), ENGINE_OF[wildcards.lang])
    return sorted(asked.items())


def two_rankings(wildcards):
    """Rankings of s2t and t2t at one step."""
    return {
        f"ranking_{MODALITY_OF[task]}": decoder_ranking(task, wildcards.tt)
        for task in REPRESENTATION_TASKS
    }


def pairs_of_different_script():
    """(source, target) of every steered pair of languages in different scripts."""
    script = {lang: LANGUAGE[lang].script for lang in LANGUAGES}
    return [
        (source, target)
        for source, targets in TARGETS.items()
        for target in targets
        if script[source] != script[target]
    ]


def settings_of_parts(rule):
    """The settings of a rule, for one that gathers its tables: their parameter, though it only copies.

    So the gathered table keeps them where its parts are deleted.
    """
    return settings_of({name: value for name, value in rule.params.items() if not callable(value)})


def results_on_disk():
    """Paths of tables, figures, and commit marks of stores that lie in the results, or may."""
    return sorted(str(one) for one in map(written_last, entries(RESULTS)) if is_kept(one))


def maker_of(path):
    """The rule that makes a file; None where no rule does."""
    fitting = (one for one in workflow.rules if any(output.match(path) for output in one.output))
    return next(fitting, None)


def made_for(targets):
    """Every file of the run that targets are, or are made of; and what is made together with it."""
    found = {}
    queue = [str(one) for one in targets]
    asked = set()
    while queue:
        path = queue.pop()
        if path in asked or not Path(path).is_relative_to(RESULTS):
            continue
        asked.add(path)
        maker = maker_of(path)
        if maker is None:
            continue
        wildcards = maker.get_wildcards(path)
        key = (maker.name, *sorted(wildcards.items()))
        if key not in found:
            found[key] = [str(one.apply_wildcards(wildcards)) for one in maker.output]
            queue += map(str, maker.expand_input(wildcards)[0])
    return sorted({path for files in found.values() for path in files})


def made_now():
    """Path to (settings, code) of every table and store on disk that a rule of this configuration makes.

    Settings and code are what ``settings_of`` and ``code_of`` find among the parameters that the rule would
    run with: what the metadata beside each file is to be compared with.
    """
    found = {}
    for path in results_on_disk():
        maker = maker_of(path)
        if maker is None:
            continue
        wildcards = SimpleNamespace(**maker.get_wildcards(path))
        if getattr(wildcards, "lang", LANGUAGES[0]) not in LANGUAGES:
            continue
        if int(getattr(wildcards, "tt", STEPS[0])) not in STEPS:
            continue
        params = {
            name: value(wildcards) if callable(value) else value
            for name, value in maker.params.items()
        }
        found[path] = settings_of(params), code_of(params)
    return found


class Drawing(NamedTuple):
    """What draws a figure, ``module:function`` of steplens, and the CSVs that it takes, by argument."""

    stage: str
    tables: dict


# Figure number to Drawing, and study to the tables that its section of the report reads. Every rules
# file adds its own; rules that need them all are included last.
FIGURES = {}
STUDIES = {}


def drawing_of(wildcards):
    """What draws a figure."""
    return FIGURES[int(wildcards.number)]


def figure_files(number):
    """Both files of a figure."""
    return [RUN.figure(number, image) for image in ("svg", "png")]


SPEECH_TASKS = [task for task in TASKS if MODALITY_OF[task] == "speech"]


def other_resynthesis(wildcards):
    """As first_attempts, for the other engine."""
    path = OTHER.first_attempts(wildcards.lang)
    return sorted(asked_attempts(path, CONFIG.speech.other_engine).items())


def sources_table(wildcards):
    """The table of one condition that a gathered table of two sources of speech is made of."""
    return "overlap" if wildcards.end else "summary"


def compared_speech(wildcards):
    """What compare_speech makes."""
    if CONFIG.speech.other_engine is None:
        raise refused(
            ConfigError(
                "compare_speech: expected speech.other_engine, the engine to set against "
                f"{CONFIG.speech.engine}; for natural speech: --config "
                '"speech={other_engine: recorded}"'
            )
        )
    tables = [RUN.comparison_table(f"speech_sources{end}") for end in ("", "_overlap")]
    return [*tables, *figure_files(10)]
