"""What a run finds on this machine when it starts: licence, disk, GPU, memory, another run."""

import base64
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from fleurs_files import LANGUAGES, line, write_split
from snakemake.persistence import MetadataRecord

from bad_input.case import Case, World
from steplens.batches.batching import run_batches
from steplens.config.run import parse_config
from steplens.errors import ConfigError, DiskSpaceError
from steplens.files.disk_space import require_space
from steplens.files.file_times import settle_future_times
from steplens.jobs.bookkeeping import check_bookkeeping
from steplens.models.source import ModelSource
from steplens.planning.licences import check_licences
from steplens.planning.start_checks import (
    check_start,
    notes,
    require_common_sentences,
    require_gpus,
    require_readable,
    require_sentences,
    require_writable,
)
from steplens.speech.engines.xtts_files import check_xtts

NOBODY = 65534
Job = namedtuple("Job", "rule wildcards input output")
Rule = namedtuple("Rule", "name")
Wildcards = namedtuple("Wildcards", "lang")
DEMO = str(ROOT / "resources" / "demo" / "seamless-m4t-v2-demo")


def config(**settings):
    return lambda world: parse_config(settings)


def no_gpu(**settings):
    """A machine that shows no GPU."""

    def prepare(world: World):
        world.patch.setenv("CUDA_VISIBLE_DEVICES", "")
        return parse_config(settings)

    return prepare


def read_only(world: World) -> Path:
    """A folder in which this user may not write; the superuser, who may, becomes nobody."""
    folder = world.folder / "results"
    folder.mkdir(mode=0o555)
    return folder / "demo"


def as_nobody(folder: Path) -> None:
    if os.geteuid():
        require_writable(folder)
        return
    with contextlib.ExitStack() as stack:
        # Where nobody may pass, which pytest's own folders do not allow.
        open_folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (open_folder / "results").mkdir()
        (open_folder / "results").chmod(0o555)
        open_folder.chmod(0o755)
        stack.callback(os.seteuid, 0)
        os.seteuid(NOBODY)
        require_writable(open_folder / "results" / "demo")


def a_file_in_its_place(world: World) -> Path:
    (world.folder / "results").write_text("")
    return world.folder / "results" / "demo"


def of_the_future(folder: Path) -> None:
    """An input of another owner, a day ahead, that a job is to read."""
    with contextlib.ExitStack() as stack:
        open_folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        results = open_folder / "results"
        results.mkdir()
        path = open_folder / "list"
        path.write_text("")
        os.utime(path, (time.time() + 100_000,) * 2)
        path.chmod(0o444)
        if os.geteuid():
            pytest.skip("the owner of a file can always change its time")
        results.chmod(0o777)
        open_folder.chmod(0o755)
        stack.callback(os.seteuid, 0)
        os.seteuid(NOBODY)
        job = Job(Rule("corpus"), None, [str(path)], [str(results / "made")])
        settle_future_times([job], [job], results)


def record(content: bytes):
    """Snakemake's record of an output, with this in it."""

    def prepare(world: World) -> Path:
        output = world.folder / "results" / "demo" / "a.csv"
        output.parent.mkdir(parents=True)
        output.touch()
        name = base64.urlsafe_b64encode(str(output).encode()).decode()
        path = world.folder / ".snakemake" / "metadata" / "/".join(_cut(name))
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        return world.folder

    return prepare


def _cut(name: str) -> list[str]:
    parts = [name[start : start + 254] for start in range(0, len(name), 254)]
    return [f"@{part}" for part in parts[:-1]] + parts[-1:]


def bookkeeping(folder: Path) -> str:
    return " ".join(
        check_bookkeeping(
            MetadataRecord.model_validate, (folder / "results" / "demo",), folder / ".snakemake"
        )
    )


def planned(n_utterances: int):
    """A run of 60 captures, the planned disk full of them, on a machine of some terabytes."""

    def prepare(world: World):
        settings = parse_config(
            {
                "model": {"path": "facebook/seamless-m4t-v2-large", "revision": "0" * 40},
                "corpus": {"n_utterances": n_utterances},
            }
        )
        jobs = [Job(Rule("capture"), Wildcards("deu"), [], [])] * 60
        engines = dict.fromkeys(settings.languages, "espeak")
        return settings, engines, jobs, world.folder / "results" / "paper", True

    return prepare


def few_sentences(world: World):
    write_split(world.folder, LANGUAGES["deu"], "test", [line(1), line(2)])
    settings = {
        "corpus": {"path": str(world.folder), "n_utterances": 9},
        "steering": {"n_utterances": 5},
    }
    return parse_config(settings)


def no_common_sentence(world: World):
    for code, ids in (("deu", (1, 2)), ("fra", (3, 4))):
        write_split(world.folder, LANGUAGES[code], "test", [line(one) for one in ids])
    return parse_config(
        {
            "languages": ["deu", "fra"],
            "corpus": {"path": str(world.folder), "n_utterances": 2},
            "steering": {"n_utterances": 2},
        }
    )


def kanji(n: int):
    """Three Japanese sentences, of which so many are written in kanji."""

    def prepare(world: World):
        texts = ["今日は本を読む。"] * n + ["きょうは ほんを よむ。"] * (3 - n)
        lines = [line(number, text, text) for number, text in enumerate(texts, 1)]
        write_split(world.folder, LANGUAGES["jpn"], "test", lines)
        corpus = {"path": str(world.folder), "n_utterances": 3, "splits": ["test"]}
        return parse_config(
            {"languages": ["deu", "jpn"], "corpus": corpus, "steering": {"n_utterances": 3}}
        )

    return prepare


def unfit(error: Exception):
    """One utterance that is larger than the memory."""

    def prepare(world: World):
        def run(rows: np.ndarray):
            raise error

        return run

    return prepare


def batches(run):
    return list(run_batches([7, 9], 8, 8, run, names=[41, 42]))


def host_memory(rows: np.ndarray):
    torch.empty(10**15)


def locked(world: World) -> tuple[Path, subprocess.Popen]:
    """A folder in which another process is at work."""
    code = (
        f"import sys, time; sys.path.insert(0, {str(ROOT / 'workflow')!r}); from pathlib import Path; "
        f"from steplens.jobs.locks import lock_run; lock_run(Path({str(world.folder / 'demo')!r})); "
        "print('held', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return world.folder / "demo", process


def second_run(given: tuple[Path, subprocess.Popen]) -> None:
    from steplens.jobs.locks import lock_run

    folder, process = given
    try:
        lock_run(folder)
    finally:
        process.kill()
        process.communicate()


SPOKEN = [("jpn", "espeak")]
WITH_XTTS = {"speech": {"engine": "xtts", "xtts": {"device": "cuda"}}}
TOO_LARGE = ("expected a batch of one to fit into memory", "give the job more memory")

CASES = [
    Case("start: a licence that is not accepted", config(**WITH_XTTS),
         lambda made: check_licences(made, {"speech_xtts"}), ConfigError, "speech.xtts.accept_cpml",
         "https://coqui.ai/cpml", "expected true", "got false", "read and accept it"),
    Case("start: no folder of XTTS", lambda world: str(world.folder), check_xtts, ConfigError,
         "speech.xtts.path", "{folder}", "expected a folder with config.json", "has no config.json",
         "a name owner/name"),
    Case("start: a GPU for the model and none there", no_gpu(model={"device": "cuda"}),
         lambda made: require_gpus(made, {"encode_text", "corpus"}), ConfigError, "model.device",
         "on this machine", "expected a GPU for encode_text", "CUDA_VISIBLE_DEVICES is ''",
         "say cpu or auto"),
    Case("start: a GPU for XTTS and none there", no_gpu(**WITH_XTTS),
         lambda made: require_gpus(made, {"speech_xtts", "corpus"}), ConfigError, "speech.xtts.device",
         "on this machine", "expected a GPU for speech_xtts", "got none", "say cpu or auto"),
    Case("in a job: a GPU and none there", lambda world: ModelSource(DEMO, None, "auto", "cuda"),
         lambda source: source.torch_device, ValueError, "model.device", "torch",
         "expected a GPU for 'cuda'", "got none", "use 'auto' or 'cpu'"),
    Case("start: a read-only folder", read_only, as_nobody, ConfigError, "results", "/results/demo",
         "expected a folder that results can be written to", "got Permission denied", "chmod u+w"),
    Case("start: a file in the folder's place", a_file_in_its_place, require_writable, ConfigError,
         "results", "{folder}/results/demo", "expected a folder that results can be written to",
         "got Not a directory", "run in another folder"),
    Case("start: an input dated in the future", lambda world: world.folder, of_the_future, ConfigError,
         "file time", "/list", "expected a file time in the past", "28 hours ahead",
         "touch the file, or copy it"),
    Case("start: a record of Snakemake's that is cut off", record(b'{"rule": '), bookkeeping, None,
         "results/demo/a.csv was made", ".snakemake/metadata", "expected Snakemake's record",
         "got broken JSON", "delete the output and it is made again (rm "),
    Case("start: a record over which Snakemake stops", record(b"[1]"), bookkeeping, ConfigError,
         "record of how {folder}/results/demo/a.csv", ".snakemake/metadata", "expected Snakemake's record",
         "got JSON of another kind (list)", "delete it, and the output with it"),
    Case("start: a disk that will be full", planned(10_000_000), lambda given: check_start(*given),
         DiskSpaceError, ("disk space", "the 60 jobs"), "{folder}/results/paper", "expected", "TB free for",
         "free space there"),
    Case("before a dump: a full disk", lambda world: world.folder,
         lambda folder: require_space(folder / "a.zarr", 1e18, "the store of s2t deu"), DiskSpaceError,
         ("disk space", "the store of s2t deu"), "{folder}/a.zarr", "expected 1000000.0 TB",
         "got", "free space"),
    Case("start: languages without a common sentence", no_common_sentence,
         lambda made: require_common_sentences(made, {"rank_decoder"}), ConfigError, "languages",
         ("{folder}/data/de_de/test.tsv", "{folder}/data/fr_fr/test.tsv"),
         "expected at least 1 of a run's sentences in common", "got 0 of deu (2 sentences",
         "give a sentence the same id in all languages"),
    Case("start: too few sentences", few_sentences, lambda made: require_sentences(made, ["deu"]),
         ConfigError, "corpus.n_utterances", "deu in test", "expected at most 2", "got 9", "ask for fewer"),
    Case("start: kanji for a voice that reads none", kanji(3), lambda made: require_readable(made, SPOKEN),
         ConfigError, ("speech", "Japanese"), "{folder}", "expected sentences that the voice ja can read",
         "got 3 of 3 sentences", "speak jpn by another engine"),
    Case("start: some kanji for a voice that reads none", kanji(1),
         lambda made: " ".join(require_readable(made, SPOKEN)), None, ("speech", "Japanese"), "(jpn)",
         "eSpeak NG cannot read", "1 of 3 sentences", "flagged in tables/speech_quality.csv"),
    Case("start: languages of one script", config(languages=["deu", "spa"], steering={"n_utterances": 5}),
         lambda made: " ".join(notes(made)), None, "languages", "control rates and effect ratios",
         "expected two scripts", "got deu, spa, all in Latin", "add a language"),
    Case("start: another run in the folder", locked, second_run, ConfigError, "run", "{folder}/demo",
         "expected no other run at work there", "got one by process", "wait for it"),
    Case("in a job: CUDA out of memory", unfit(torch.OutOfMemoryError("tried to allocate 9 GiB")), batches,
         MemoryError, "memory", "utterance 42", TOO_LARGE[0], ("got length 9", "9 GiB"), TOO_LARGE[1]),
    Case("in a job: torch finds no memory on a CPU", lambda world: host_memory, batches, MemoryError,
         "memory", "utterance 42", TOO_LARGE[0], "got length 9", TOO_LARGE[1]),
    Case("in a job: numpy finds no memory", lambda world: lambda rows: np.empty(10**15), batches,
         MemoryError, "memory", "utterance 42", TOO_LARGE[0], "got length 9", TOO_LARGE[1]),
]  # fmt: skip
