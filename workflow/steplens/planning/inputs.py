"""What a plan starts from: Snakemake's jobs, and what of the run is on this machine.

Nothing is written, fetched or loaded; neither torch nor a network is needed.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from steplens.config.run import Config
from steplens.errors import ConfigError
from steplens.files.hub import is_hub_name, list_name
from steplens.files.input_files import read_json_object
from steplens.languages.table import load_languages
from steplens.planning.model import Model, published_model
from steplens.planning.rates import Rate, choose_rate, observed_rate
from steplens.planning.work import (
    FLEURS_SENTENCES,
    GPU_RULES,
    LETTERS_A_SENTENCE,
    Sentences,
    job_units,
)
from steplens.project import project_path
from steplens.run.layout import RunLayout, written_last
from steplens.steering.kept_outputs import GENERATED, n_generated
from steplens.store.groups import COMMIT_MARK

# --- jobs ------------------------------------------------------------------------------------------


def planned_jobs(
    config: Config, snakefile: str | Path, triggers: Iterable[str], fresh: bool = False
) -> tuple[dict[str, int], dict[str, int]]:
    """Jobs by rule that Snakemake would run now, and those of the whole workflow.

    Parameters
    ----------
    config : Config
    snakefile : path
    triggers : iterable of str
        What redoes a job, as ``--rerun-triggers`` has it.
    fresh : bool
        Nothing is there yet: everything is to be run, and one dry run says it.

    Raises
    ------
    RuntimeError
        A dry run failed; the message is Snakemake's.
    """
    with tempfile.TemporaryDirectory(prefix="steplens-plan-") as folder:
        settings = Path(folder) / "config.json"
        settings.write_text(json.dumps(config.model_dump(), ensure_ascii=False), encoding="utf-8")
        command = [
            sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--configfile",
            str(settings), "--dry-run", "--quiet", "rules", "--nolock", "--rerun-incomplete",
            "--cores", "1", "--profile", "none", "--workflow-profile", "none",
            "--max-checksum-file-size", "100MB",
            "--rerun-triggers", *triggers,
        ]  # fmt: skip
        environment = {key: one for key, one in os.environ.items() if key != "SNAKEMAKE_PROFILE"}
        runs = [
            subprocess.Popen(
                [*command, *more],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=environment,
            )
            for more in ([["--forceall"]] if fresh else [[], ["--forceall"]])
        ]
        outputs = [run.communicate()[0] for run in runs]
    for run, output in zip(runs, outputs, strict=True):
        if run.returncode:
            raise RuntimeError(f"the dry run failed:\n{output.strip()}")
    tables = [job_table(output) for output in outputs]
    return tables[0], tables[-1]


def job_table(output: str) -> dict[str, int]:
    """Jobs by rule out of what a dry run prints; ``all``, which computes nothing, left out."""
    if "Nothing to be done" in output:
        return {}
    counts = {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", output, flags=re.M)}
    return {rule: n for rule, n in counts.items() if rule not in ("all", "total")}


# --- what is on this machine -----------------------------------------------------------------------


def find_model(path: str, revision: str | None) -> Model:
    """Sizes of the model: from its config.json in a folder or the hub's cache, else the published ones.

    Raises
    ------
    ConfigError
        A name on the hub that is neither in the cache nor among the published sizes.
    """
    file: Path | None = project_path(path) / "config.json"
    if is_hub_name(path):
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(path, "config.json", revision=revision)
        file = Path(cached) if isinstance(cached, str) else None
    try:
        content = read_json_object(file) if file and file.exists() else None
    except ValueError as error:
        raise ConfigError(f"model.path: {error}") from error
    model = published_model(path, content)
    if model is None:
        raise ConfigError(
            f"model.path: the sizes of {path} are not known before its config.json is there; run "
            "`snakemake fetch` first"
        )
    return model


def find_sentences(
    config: Config, engine_of: Mapping[str, str], fleurs: Path
) -> tuple[dict[str, Sentences], list[str]]:
    """Length of every language's utterances, and what was assumed or is wrong about them, in words."""
    notes, found, assumed = [], {}, []
    tokenizer = _tokenizer(config.model.path)
    for language, engine in engine_of.items():
        try:
            found[language] = _from_corpus(config, language, engine, fleurs, tokenizer)
        except FileNotFoundError:
            assumed.append(language)
            found[language] = Sentences.of_length(config, engine, LETTERS_A_SENTENCE)
        except ValueError as error:
            notes.append(f"! {error}")
            found[language] = Sentences.of_length(config, engine, LETTERS_A_SENTENCE)
    if assumed:
        notes.append(
            f"Sentences of {some(assumed)} are not on disk: {LETTERS_A_SENTENCE:.0f} letters each are "
            "assumed, FLEURS's average."
        )
        if config.corpus.n_utterances > FLEURS_SENTENCES:
            notes.append(
                f"! corpus.n_utterances: FLEURS has at most {FLEURS_SENTENCES} sentences a language, "
                f"{config.corpus.n_utterances} are asked for."
            )
    return found, notes


def _from_corpus(config: Config, language: str, engine: str, fleurs: Path, tokenizer) -> Sentences:
    from steplens.corpus.sentences import choose_sentences
    from steplens.speech.checks import n_characters

    known, corpus = load_languages(), config.corpus
    over = [known[code] for code in corpus.parallel_over]
    chosen = choose_sentences(
        fleurs, known[language], corpus.splits, corpus.n_utterances, config.seed, over
    )
    letters = sum(map(n_characters, chosen["raw_transcription"])) / len(chosen)
    guess = Sentences.of_length(config, engine, letters)
    tokens = guess.tokens
    if tokenizer is not None:
        tokens = 2 + sum(
            len(tokenizer.encode(text, add_special_tokens=False)) for text in chosen["text"]
        ) / len(chosen)
    return Sentences(len(chosen), guess.seconds, tokens)


def _tokenizer(path: str):
    """The tokenizer of a local checkpoint that has a fast one, else None."""
    file = project_path(path) / "tokenizer.json"
    if not file.is_file():
        return None
    from tokenizers import Tokenizer

    with suppress(Exception):  # the tokenizers library raises nothing narrower
        return Tokenizer.from_file(str(file))
    return None


def bytes_on_disk(paths: Iterable[Path]) -> int:
    """Bytes of all files under the paths, links followed."""
    total = 0
    for path in paths:
        files = [path] if path.is_file() else path.rglob("*") if path.is_dir() else []
        for file in files:
            with suppress(OSError):
                total += file.stat().st_size if file.is_file() else 0
    return total


def fetched_bytes(config: Config, fetched: Path) -> int:
    """Bytes of what ``snakemake fetch`` got for this configuration."""
    total = bytes_on_disk([fetched / "fleurs" / str(config.corpus.revision)])
    for section in (config.model, config.speech.xtts):
        if is_hub_name(section.path):
            name = list_name(section.path, section.revision)
            with suppress(OSError, ValueError):
                listed = json.loads((fetched / "models" / name).read_text(encoding="utf-8"))
                total += sum(listed["files"].values())
    return total


def gpu_names() -> list[str]:
    """Names of the GPUs that nvidia-smi lists."""
    with suppress(OSError, subprocess.SubprocessError):
        listing = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
        return re.findall(r"^GPU \d+: (.+?) \(UUID", listing, flags=re.M)
    return []


def cpu_name() -> str:
    """``CPU`` and the processor's name."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line for line in lines if line.startswith("model name"))
        return f"CPU {name.partition(':')[2].strip()}"
    return "CPU"


def observed_rates(
    config: Config,
    model: Model,
    sentences: Mapping[str, Sentences],
    engine_of: Mapping[str, str],
    results: Path,
    known: list[Rate],
    gpu: str,
    cpu: str,
) -> list[Rate]:
    """Rates from the benchmarks of the jobs that this run has finished, of the same model."""
    jobs: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for language, one in sentences.items():
        for rule, benchmark, output in _benchmarked(results, language, engine_of[language]):
            seconds, done = _seconds(benchmark), _rows(output)
            if seconds is None or done is None:
                continue
            n, n_neurons, on_gpu = done
            module = {"encode_speech": "speech_encoder", "encode_text": "text_encoder"}.get(
                rule, "decoder"
            )
            if n_neurons not in (None, model.n_neurons(module)):
                return []  # another model's
            if on_gpu is None:
                on_gpu = gpu != cpu and rule in GPU_RULES
            device = gpu if on_gpu else cpu
            units = job_units(config, rule, n, one)
            jobs.setdefault((rule, device), []).append((seconds, units))
    rates = []
    for (rule, device), done in jobs.items():
        like = choose_rate(known, rule, model, device)
        rate = observed_rate(rule, done, like.load_seconds if like else 0.0, model.name, device)
        if rate is not None:
            rates.append(rate)
    return rates


def _benchmarked(results: Path, language: str, engine: str):
    """(rule, benchmark, output) of every job of a language that may have run."""
    layout = RunLayout(results)
    timed = layout.benchmark(f"speech/{language}")
    yield f"speech_{engine}", timed, layout.speech(language)
    for path, of in layout.find("encoder_store", language=language):
        timed = layout.benchmark(f"encode/{of['modality']}/{language}")
        yield f"encode_{of['modality']}", timed, written_last(path)
    for path, of in layout.find("decoding", language=language):
        yield "decode", layout.benchmark(f"decode/{of['task']}/{language}"), path
    for path, of in layout.find("decoder_store", language=language):
        timed = layout.benchmark(f"capture/{of['task']}/{language}/step-{of['step']}")
        yield "capture", timed, written_last(path)
    for path, of in layout.find("steered_parts", language=language, part=GENERATED):
        yield "steer", layout.benchmark(f"steer/{of['task']}/{language}"), path


def _seconds(benchmark: Path) -> float | None:
    """Wall-clock seconds of a job, from Snakemake's benchmark."""
    with suppress(OSError, ValueError, IndexError):
        header, row = (line.split("\t") for line in benchmark.read_text().splitlines()[:2])
        return float(row[header.index("s")])
    return None


def _rows(output: Path) -> tuple[int, int | None, bool | None] | None:
    """Utterances (or outputs) of a finished job, and of a store its neurons and if a GPU made it."""
    with suppress(OSError, ValueError, KeyError):
        if output.name == COMMIT_MARK:
            mark = json.loads(output.read_text(encoding="utf-8"))
            n, n_neurons = mark["consolidated_metadata"]["metadata"]["activation"]["shape"]
            return n, n_neurons, mark["attributes"]["device"] == "cuda"
        if output.suffix == ".json":  # of steer: what its last job did not find there
            n = n_generated(output.parent)
            return (n, None, None) if n else None
        from pyarrow.parquet import read_metadata

        return read_metadata(output).num_rows, None, None
    return None


def some(names: list[str], most: int = 5) -> str:
    """A few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
