"""What is looked at once, when a run starts and before its first job: leave, room, and a GPU.

Not at a dry run or a plan: only what is about to be used must be there. Snakemake's jobs are taken as they
are, so that nothing is planned a second time; neither torch nor a network is needed.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from steplens.config.run import Config
from steplens.corpus.sentences import choose_sentences, read_sentences, split_paths
from steplens.corpus.sentences import require_common_sentences as require_common
from steplens.errors import ConfigError, StoreError, TableError
from steplens.files.disk_space import nearest_existing, require_space
from steplens.files.hub import is_hub_name
from steplens.files.table_metadata import is_kept, read_metadata, settings_of, settings_problems
from steplens.jobs.devices import visible_devices
from steplens.languages.table import load_languages
from steplens.models.checkpoint import search_notes
from steplens.planning.inputs import bytes_on_disk, find_model
from steplens.planning.licences import check_licences
from steplens.planning.model import Model
from steplens.planning.work import (
    GPU_RULES,
    LETTERS_A_SENTENCE,
    OTHER,
    Sentences,
    disk_bytes,
    parts_of,
    ranked_neurons,
)
from steplens.run.identities import fleurs_folder
from steplens.speech.texts import text_problem, unread_letters
from steplens.store.groups import COMMIT_MARK, group_path, read_root
from steplens.tasks import TASKS, TEXT_TWIN

# Stores as they come out of the codec, against the bytes that go in (docs/reference/stores.md).
_COMPRESSED = 0.86
# What takes all languages together.
_OVER_LANGUAGES = frozenset(
    {"rank_encoder", "rank_decoder", "rank_modality", "compare_step", "compare_sources",
     "compare_sources_encoder", "reliability", "learning_curve", "probe_encoder", "probe_decoder",
     "similarity_encoders", "similarity_decoder"}
)  # fmt: skip
_COMPARING = frozenset({"compare_step", "locate", "compare_sources", "compare_sources_encoder"})

# Of these rules nothing is written to the results: they may lie on a full disk, or where none can write.
READING = frozenset({"plan", "verify"})


def check_start(
    config: Config,
    engine_of: Mapping[str, str],
    jobs: Collection[Any],
    results: Path,
    on_this_machine: bool,
    finished: Collection[Any] = (),
) -> list[str]:
    """Raise for a run that would fail later for want of something known now.

    Parameters
    ----------
    config : Config
    engine_of : mapping of language to speech engine
    jobs : collection of Snakemake's jobs
        Those that are to run: ``workflow.dag.needrun_jobs()``.
    results : path
        ``results/<run>``.
    on_this_machine : bool
        Whether the jobs run here, and not on the nodes of a cluster.
    finished : collection of Snakemake's jobs
        All that these jobs build on and that do not run again.

    Returns
    -------
    list of str
        What is no error and yet to be known, a line each.

    Raises
    ------
    ConfigError
        A licence is not accepted, a folder cannot be written to, there is no GPU, a language has too few
        sentences, those of another, or such as its voice cannot read, or the model has fewer neurons than
        are asked for.
    StoreError
        A store or ranking that a job is to read is of another version of the format, or damaged.
    TableError
        A table that a job is to read is damaged, or what the jobs build on was made under other settings.
    DiskSpaceError
        The results would not fit.
    """
    rules = {job.rule.name for job in jobs}
    check_licences(config, rules)
    if not rules - READING:
        return []
    require_writable(results)
    require_stores(jobs)
    require_tables(jobs)
    require_same_settings(finished)
    if on_this_machine:
        require_gpus(config, rules)
    require_sentences(config, [job.wildcards.lang for job in jobs if job.rule.name == "corpus"])
    require_common_sentences(config, rules)
    unread = require_readable(config, _to_be_spoken(jobs))
    told = [*unread, *notes(config), *unscored(config, rules)]
    try:
        model = find_model(config.model.path, config.model.revision)
    except ConfigError:  # nothing is known of it before it is fetched
        return told
    require_neurons(config, model, rules)
    # What a job makes anew frees what it made before.
    freed = bytes_on_disk({_data_of(Path(one)) for job in jobs for one in job.output})
    to_come = run_bytes(config, model, engine_of, Counter(job.rule.name for job in jobs))
    require_space(results, max(0, to_come - freed), f"the {len(jobs)} jobs of this run")
    return told


def require_writable(folder: Path) -> None:
    """Raise ConfigError if nothing can be written into a folder, or it cannot be made."""
    there = nearest_existing(folder)
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ConfigError(
            f"{folder}: expected a folder that results can be written to, got {os.strerror(error.errno)} in "
            f"{there}; give yourself leave to write there (chmod u+w), or run in another folder "
            "(snakemake --directory)"
        ) from error


def require_stores(jobs: Collection[Any]) -> None:
    """Raise StoreError for stores and rankings that these jobs read, do not make anew, and cannot open.

    Those of another version of the format, above all: found one by one, each would cost a run.
    """
    made = {str(one) for job in jobs for one in job.output}
    read = {str(one) for job in jobs for one in job.input} - made
    wrong = {}
    for mark in sorted(one for one in read if Path(one).name == COMMIT_MARK):
        try:
            read_root(mark)
        except StoreError as error:
            wrong[str(group_path(mark))] = error
    if wrong:
        others = f" Of {len(wrong)} this is the first; remove them all:" if len(wrong) > 1 else ""
        raise StoreError(f"{next(iter(wrong.values()))}.{others}\nrm -r {' '.join(wrong)}")


def require_tables(jobs: Collection[Any]) -> None:
    """Raise TableError for CSV files that these jobs read, do not make anew, and that are not as written.

    Those without metadata, above all, of a version of steplens that wrote none.
    """
    made = {str(one) for job in jobs for one in job.output}
    read = {str(one) for job in jobs for one in job.input} - made
    wrong = {}
    for path in sorted(one for one in read if one.endswith(".csv")):
        try:
            read_metadata(path)
        except TableError as error:
            wrong[path] = error
    if wrong:
        others = f" Of {len(wrong)} this is the first; remove them all:" if len(wrong) > 1 else ""
        raise TableError(f"{next(iter(wrong.values()))}.{others}\nrm {' '.join(wrong)}")


def require_same_settings(finished: Collection[Any]) -> None:
    """Raise TableError for tables and stores that other settings made than those of this run.

    By default Snakemake makes them again. Told to heed file times alone (``--rerun-triggers mtime``), or
    without what it knows of past jobs, it would put them under the new settings, in a report too.
    """
    wrong: dict[str, str] = {}
    for job in finished:
        for path in filter(is_kept, map(str, job.output)):
            problems = list(settings_problems(path, settings_of(job.params)))
            if problems:
                wrong[path] = "; ".join(problems)
    if wrong:
        path, problem = next(iter(sorted(wrong.items())))
        others = f" Of {len(wrong)} tables and stores this is the first." if len(wrong) > 1 else ""
        raise TableError(
            f"{path}: made under other settings: {problem}.{others} Run without --rerun-triggers mtime, so "
            "that they are made again; or delete what is to be made again, or set back the settings"
        )


def require_gpus(config: Config, rules: Iterable[str]) -> None:
    """Raise ConfigError if one of these rules is to run on a GPU and this machine shows none."""
    wanted = [rule for rule in rules if rule.removeprefix(OTHER) in GPU_RULES]
    asking = {
        "model.device": config.model.device == "cuda" and any("xtts" not in one for one in wanted),
        "speech.xtts.device": config.speech.xtts.device == "cuda"
        and any("xtts" in one for one in wanted),
    }
    for key, asks in asking.items():
        if asks and not visible_devices():
            hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
            why = (
                "nvidia-smi lists none" if hidden is None else f"CUDA_VISIBLE_DEVICES is {hidden!r}"
            )
            raise ConfigError(
                f"{key}: expected a GPU for {min(wanted)}, got none on this machine ({why}); check the "
                "driver, or say cpu or auto"
            )


def require_common_sentences(config: Config, rules: Collection[str]) -> None:
    """Raise ConfigError where languages are to be compared that share too few sentences.

    One is the least, for what ranks or compares languages: without it they differ in content too. The study
    similarity needs more. The TSVs are read where they are there: of a corpus on the hub, once it is fetched.
    """
    rules = {rule.removeprefix(OTHER) for rule in rules}
    fewest = config.similarity.sentences_per_component
    similarity = bool({"similarity_encoders", "similarity_decoder"} & rules)
    if similarity and config.corpus.n_utterances < fewest:
        raise ConfigError(
            f"corpus.n_utterances: expected at least similarity.sentences_per_component = {fewest} for the "
            f"study similarity, got {config.corpus.n_utterances}; take more sentences, or leave similarity "
            "out of studies"
        )
    if not rules & _OVER_LANGUAGES:
        return
    known = load_languages()
    folder, splits = fleurs_folder(config.corpus.model_dump()), config.corpus.splits
    files = {code: split_paths(folder, known[code], splits) for code in config.languages}
    needed = [*files, *config.corpus.parallel_over]
    if not all(
        path.is_file() for code in needed for path in split_paths(folder, known[code], splits)
    ):
        return
    try:
        chosen = {code: _chosen(config, code)["utterance"].tolist() for code in files}
        require_common(chosen, fewest if similarity else 1, files)
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error


def require_sentences(config: Config, languages: Iterable[str]) -> None:
    """Raise ConfigError for languages whose sentences cannot be chosen; of a name on the hub nothing."""
    if is_hub_name(config.corpus.path):
        return
    for code in languages:
        _chosen(config, code)


def _chosen(config: Config, code: str) -> pd.DataFrame:
    """The sentences of one language that the stage ``corpus`` will take."""
    known = load_languages()
    try:
        return choose_sentences(
            fleurs_folder(config.corpus.model_dump()),
            known[code],
            config.corpus.splits,
            config.corpus.n_utterances,
            config.seed,
            [known[one] for one in config.corpus.parallel_over],
        )
    except (ValueError, OSError) as error:
        raise ConfigError(str(error)) from error


def _to_be_spoken(jobs: Collection[Any]) -> list[tuple[str, str]]:
    """Languages and the engines that these jobs speak them with."""
    rules = [(job, job.rule.name.removeprefix(OTHER)) for job in jobs]
    engines = {f"speech_{engine}": engine for engine in ("espeak", "xtts")}
    return [(job.wildcards.lang, engines[rule]) for job, rule in rules if rule in engines]


def require_readable(config: Config, spoken: Iterable[tuple[str, str]]) -> list[str]:
    """Raise ConfigError for a language most of whose sentences its voice cannot read; say of how many others.

    Parameters
    ----------
    config : Config
    spoken : iterable of (language, speech engine)
        What is to be spoken, and with which engine.

    Returns
    -------
    list of str
        A line each language with sentences that will be flagged; none of a corpus on the hub.
    """
    if is_hub_name(config.corpus.path):
        return []
    found = []
    for code, engine in spoken:
        language = load_languages()[code]
        texts = _chosen(config, code)["raw_transcription"].tolist()
        problems = list(filter(None, (text_problem(text, language, engine) for text in texts)))
        if not problems:
            continue
        said = (
            f"{len(problems)} of {len(texts)} sentences of {language.name} ({code}): {problems[0]}"
        )
        n_unread = sum(bool(unread_letters(text, language)) for text in texts)
        if engine == "espeak" and n_unread > len(texts) / 2:
            others = [one for one in language.engines if one != "espeak"]
            raise ConfigError(
                f"speech: {config.corpus.path}: expected sentences that the voice {language.espeak} can "
                f"read, got {said}; speak {code} by another engine ({' or '.join(others)}), or give it "
                "sentences in letters that the voice reads"
            )
        found.append(f"speech: {said}; they will be flagged in tables/speech_quality.csv")
    return found


def require_neurons(config: Config, model: Model, rules: Iterable[str]) -> None:
    """Raise ConfigError where more neurons are to be chosen than there are.

    Parameters
    ----------
    config : Config
    model : Model
    rules : iterable of str
        Those that are to run: a k that nothing uses may be any.
    """
    rules = set(rules)
    n_neurons = ranked_neurons(config, model)
    asked = []
    if rules & _COMPARING:
        asked += [("comparison.k", config.comparison.k, n_neurons)]
        asked += [("comparison.k_sweep", max(config.comparison.k_sweep), n_neurons)]
    if "modality_tables" in rules:
        asked += [("modality.k", config.modality.k, n_neurons)]
    if "causal_decoder" in rules:
        asked += [("causal.ks", max(config.causal.ks), n_neurons)]
    if "steer" in rules:
        asked += [("steering.k", config.steering.k, n_neurons // 2)]
    for key, k, most in asked:
        if k > most:
            half = ", half of them, since top and bottom k are replaced" * (most < n_neurons)
            raise ConfigError(
                f"{key}: expected at most {most} (the decoder of {config.model.path} has {n_neurons} neurons "
                f"that are ranked{half}), got {k}; ask for fewer"
            )


def notes(config: Config) -> list[str]:
    """What a run does not heed or cannot show, in words."""
    known = load_languages()
    scripts = {known[code].script for code in config.languages}
    found = search_notes(config.model.path)
    if len(scripts) == 1:
        found.append(
            f"languages: expected two scripts for control rates and effect ratios (D10, D11), got "
            f"{', '.join(config.languages)}, all in {min(scripts)}: those tables will be empty; add a "
            "language of another script, or read the language probabilities instead"
        )
    return found


def unscored(config: Config, rules: Collection[str]) -> list[str]:
    """Languages whose translations have nothing to be scored against; of a name on the hub nothing."""
    if "recognition" not in rules or is_hub_name(config.corpus.path):
        return []
    target = load_languages()[config.output_language]
    folder = fleurs_folder(config.corpus.model_dump())
    references = set(read_sentences(folder, target, config.corpus.splits)["utterance"])
    without = [
        code
        for code in config.languages
        if not references & set(_chosen(config, code)["utterance"])
    ]
    if not without:
        return []
    return [
        f"output_language: expected the sentences of {', '.join(without)} in {target.name} ({target.code}) "
        "too, got none with their ids: s2t and t2t of these languages are not scored; give the same sentence "
        "the same id there"
    ]


def run_bytes(
    config: Config, model: Model, engine_of: Mapping[str, str], jobs: Mapping[str, int]
) -> float:
    """Bytes that these jobs write into the results, after compression; small tables left out.

    Parameters
    ----------
    config : Config
    model : Model
    engine_of : mapping of language to speech engine
    jobs : mapping of rule to int
        How many of each are to run.
    """
    # Of the sentences only their number matters much: it is the stores that are large.
    sentences = {
        language: Sentences.of_length(config, engine, LETTERS_A_SENTENCE)
        for language, engine in engine_of.items()
    }
    compute_dtype = "float16" if config.model.dtype == "float16" else "float32"
    n_bytes = disk_bytes(config, model, sentences, engine_of, compute_dtype)
    whole = _jobs_of_a_whole_run(config, engine_of, sentences)
    return sum(
        _share(rule) * total * min(1.0, jobs.get(rule, 0) / whole[rule])
        for rule, total in n_bytes.items()
    )


def _share(rule: str) -> float:
    """Of the bytes that are left after compression: audio and tables are counted as they are."""
    own = rule.removeprefix(OTHER)
    return 1.0 if own.startswith(("speech_", "measure_")) else _COMPRESSED


def _jobs_of_a_whole_run(
    config: Config, engine_of: Mapping[str, str], sentences: Mapping[str, Sentences]
) -> dict[str, int]:
    """Jobs of every rule that ``disk_bytes`` counts, with nothing done yet."""
    whole: dict[str, int] = {}
    for part in parts_of(config, sentences, engine_of):
        conditions = len(part.tasks) * len(config.steps)
        spoken = Counter(f"{part.prefix}speech_{engine}" for engine, _ in part.spoken.values())
        whole |= spoken
        whole |= {f"{part.prefix}encode_{one}": len(part.spoken) for one in part.modalities}
        whole[f"{part.prefix}capture"] = conditions * len(part.spoken)
        whole[f"{part.prefix}rank_encoder"] = len(part.modalities)
        whole[f"{part.prefix}rank_decoder"] = conditions
    whole["rank_modality"] = len(TEXT_TWIN) * len(config.steps)
    whole["measure_inequality"] = len(TASKS) * len(config.steps) * len(engine_of)
    whole["measure_inequality_encoder"] = 2 * len(engine_of)
    return whole


def _data_of(output: Path) -> Path:
    """What stands behind an output: the whole of a store, or the audio that a table lists."""
    if output.name == COMMIT_MARK:
        return output.parent
    beside = output.with_suffix("")
    return beside if output.suffix == ".parquet" and beside.is_dir() else output
