"""Whole runs of a small study that are killed at random moments end like one that was left alone.

The reference runs on one core, the killed one on eight: what comes out depends on neither. The seed is
printed; STEPLENS_KILLS and STEPLENS_KILL_SEED make more kills, or the same again.
"""

import contextlib
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import ROOT

SMALL = (
    "languages=[deu,jpn]", "steps=[3]", "corpus={n_utterances: 8}", "decoding={max_new_tokens: 24}",
    "speech={checks: {leave_out_flagged: false}}",
    "steering={k: 50, n_utterances: 4, n_random: 1, resamples: 100}",
    "comparison={k: 50, k_sweep: [20, 50], resamples: 20}",
    # Of the studies the one that goes on where it was stopped, and what it needs: the others are many
    # short jobs that write one table each.
    "studies=[modality,causal]", "causal={ks: [20], n_utterances: 2, n_random: 1, resamples: 100}",
)  # fmt: skip
# What tells how a run went, and what is kept to go on with.
BOOKKEEPING = ("logs", "benchmarks", ".parts", "takes.jsonl", ".lock")
HOW = ("kill snakemake", "kill everything", "kill a job", "terminate snakemake")


def start(folder: Path, cores: int, *targets: str) -> subprocess.Popen:
    environment = os.environ | {"STEPLENS_WARM_START": "1", "TMPDIR": str(folder.parent)}
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", *targets, "--cores", str(cores),
         "--snakefile", str(ROOT / "Snakefile"),
         "--directory", str(folder), "--workflow-profile", str(ROOT / "profiles" / "default"),
         "--config", *SMALL],
        cwd=folder, env=environment, text=True, stdout=(folder / "out.log").open("a"),
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def project(folder: Path) -> Path:
    folder.mkdir()
    for name in ("config", "resources"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def digests(folder: Path) -> dict[str, str]:
    """Digest of every result by its path."""
    results = folder / "results" / "demo"
    return {
        str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(results.rglob("*"))
        if path.is_file() and not set(path.relative_to(results).parts) & set(BOOKKEEPING)
    }


def kill(run: subprocess.Popen, how: str, generator: random.Random) -> None:
    parent = psutil.Process(run.pid)
    children = parent.children(recursive=True)
    if how == "terminate snakemake":
        parent.send_signal(signal.SIGTERM)
    elif how == "kill a job" and children:
        with contextlib.suppress(psutil.NoSuchProcess):
            generator.choice(children).kill()
        return  # the others go on, and Snakemake tells of it
    else:
        victims = [parent, *(children if how == "kill everything" else ())]
        for one in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """The small study, on one core."""
    folder = project(tmp_path_factory.mktemp("undisturbed") / "project")
    assert start(folder, 1).wait(900) == 0, (folder / "out.log").read_text()[-3000:]
    return folder


def test_a_run_that_is_killed_again_and_again_ends_like_an_undisturbed_one(undisturbed, tmp_path):
    """Every way to die, then nothing but the same command again."""
    seed = int(os.environ.get("STEPLENS_KILL_SEED", time.time_ns() % 10**6))
    kills = int(os.environ.get("STEPLENS_KILLS", len(HOW)))
    generator = random.Random(seed)
    print(f"seed {seed}")
    folder = project(tmp_path / "killed")
    ways = [HOW[number % len(HOW)] for number in range(kills)]
    generator.shuffle(ways)
    n_killed = 0
    for how in ways:
        run = start(folder, 8)
        time.sleep(generator.uniform(5, 16))
        if run.poll() is not None:
            break
        kill(run, how, generator)
        n_killed += 1
        run.wait(600)
    assert n_killed, "the run was over before it was killed: no test"
    assert start(folder, 8).wait(900) == 0, (folder / "out.log").read_text()[-3000:]
    found, expected = digests(folder), digests(undisturbed)
    different = {key for key in {*found, *expected} if found.get(key) != expected.get(key)}
    assert not different, sorted(different)[:20]
    assert len(expected) > 100
    # And Snakemake takes it for finished.
    last = start(folder, 8)
    assert last.wait(300) == 0
    assert "Nothing to be done" in (folder / "out.log").read_text()[-2000:]
    shutil.rmtree(folder)


def snakemake(folder: Path, *targets: str) -> tuple[int, str]:
    """Status and output of one call."""
    (folder / "out.log").write_text("")
    status = start(folder, 2, *targets).wait(300)
    return status, (folder / "out.log").read_text()


def test_verify_names_everything_that_is_wrong_and_the_next_run_mends_it(undisturbed, tmp_path):
    """Flipped, lost, swapped, of another model: each by its path; what is whole is not named."""
    folder = tmp_path / "damaged"
    shutil.copytree(undisturbed, folder, symlinks=True)
    status, said = snakemake(folder, "verify")
    assert status == 0, said
    assert re.search(r"\d+ stores, .* checked, 0 problems, 0 not there yet", said)
    results = folder / "results" / "demo"
    chunk = next((results / "encoder" / "text" / "deu.zarr" / "activation").glob("c.*"))
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    wav = sorted((results / "speech" / "jpn").glob("*.wav"))[0]
    wav.unlink()
    decoder = results / "decoder" / "asr"
    shutil.rmtree(decoder / "jpn" / "step-03.zarr")
    shutil.copytree(decoder / "deu" / "step-03.zarr", decoder / "jpn" / "step-03.zarr")
    table = results / "decoding" / "tr" / "deu.parquet"
    table.write_bytes(table.read_bytes()[:-100])
    (results / "ranking" / "speech_encoder.zarr" / "ap" / "c.0.0").unlink()
    status, said = snakemake(folder, "verify")
    assert status == 1
    for name in (
        "encoder/text/deu.zarr: activation/c.0.0: damaged",
        f"speech/jpn/{wav.name}: the audio is lost",
        "decoder/asr/jpn/step-03.zarr: language: expected jpn, got deu",
        "decoding/tr/deu.parquet: damaged",
        "ranking/speech_encoder.zarr/ap/c.0.0: expected a chunk, got nothing",
    ):
        assert name in said, (name, said)
    assert "encoder/text/jpn.zarr: " not in said
    remove = re.search(r"^rm -r (.+)$", said, re.MULTILINE)[1].split()
    make = re.search(r"^snakemake --cores all (.+)$", said, re.MULTILINE)[1].split()
    assert len(remove) == len(make) == 5
    for path in remove:
        path = folder / path
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    status, said = snakemake(folder, *make)
    assert status == 0, said
    assert digests(folder) == digests(undisturbed)
    status, said = snakemake(folder, "verify")
    assert status == 0, said
