"""A cut of the demo through profiles/slurm on a real cluster of one node, and a job that fails there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from slurm_cluster import SlurmCluster, why_not

from steplens.files.atomic import read_parquet

PROFILES = ROOT / "profiles"
# Every stage that runs the model, and what they need, of two languages at one step. `auto` asks for a GPU
# and computes without one.
CUT = (
    "run=cut", "languages=[deu, cmn]", "steps=[1]", "model={device: auto}",
    "corpus={n_utterances: 6}",
    "steering={k: 100, n_utterances: 2, n_random: 1, resamples: 100}",
)  # fmt: skip
TARGETS = (
    "encoder/text/deu.zarr/zarr.json",
    "ranking/speech_encoder.zarr/zarr.json",
    "steering/texts/asr/deu/step-01.parquet",
)
# Fewer submissions than with the profile's own groups, which a dry run looks at: all of a language, one
# job after another, then all that depends on each other of the rest.
GROUPS = [
    *(f"{rule}=language" for rule in ("corpus", "speech_espeak", "encode_speech", "encode_text", "decode",
                                      "capture")),
    *(f"{rule}=analysis" for rule in ("rank_encoder", "rank_decoder", "steer")),
]  # fmt: skip
GPU_STAGES = ("encode_speech", "encode_text", "decode", "capture", "steer")


@pytest.fixture(scope="module")
def cluster():
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with SlurmCluster() as cluster:
        yield cluster


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder to run in: the project's config and resources, no results."""
    for name in ("config", "resources"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def submit(cluster, folder: Path, targets, *options: str, config=(), environment=()):
    """Run Snakemake with the profile; what is changed here is what suits a cluster of one test."""
    results = [str(Path("results") / "cut" / target) for target in targets]
    # Without accounting a status command may wait for ever, and may not even heed SIGTERM.
    return subprocess.run(
        ["setpriv", "--pdeathsig", "TERM", "timeout", "--kill-after=10", "1200",
         sys.executable, "-m", "snakemake", *results, "--snakefile", str(ROOT / "Snakefile"),
         "--directory", str(folder), "--workflow-profile", str(PROFILES / "slurm"),
         "--cores", "1", "--latency-wait", "10",
         "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "12",
         *options, "--config", *CUT, *config],
        cwd=folder, env=cluster.environment | dict(environment), capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_a_cut_of_the_demo_runs_through_slurm(cluster, project):
    """Every kind of submission, in jobs of the cluster; those that run the model have a GPU each.

    The jobs of a submission share one import of the libraries; those of the test below have their own.
    """
    before = len(cluster.jobs())
    warm = {"STEPLENS_WARM_START": "1"}
    result = submit(cluster, project, TARGETS, "--groups", *GROUPS, environment=warm)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    for target in TARGETS:
        assert (project / "results" / "cut" / target).stat().st_size > 0
    steered = read_parquet(project / "results" / "cut" / TARGETS[-1])
    assert set(steered["target"]) == {"cmn"}

    jobs = cluster.jobs()[before:]
    assert {job["JobState"] for job in jobs} == {"COMPLETED"}
    assert all(job["JobName"].startswith("steplens_") for job in jobs)
    submitted = result.stdout + result.stderr
    assert len(re.findall(r"submitted with SLURM jobid \d+", submitted)) == len(jobs)
    seen = set()
    for job in jobs:
        on_gpu = {stage for stage in GPU_STAGES if re.search(f"_{stage}(_|$)", job["Comment"])}
        seen |= on_gpu
        # One, even where several of a submission ask for one each: they take turns.
        assert job.get("TresPerJob") == ("gres:gpu:1" if on_gpu else None), job
        assert job["NumCPUs"] == "1"
    assert seen == set(GPU_STAGES)
    # Nothing ran beside the queue: two languages, the quality of speech, and two parts of the rest.
    assert "15 of 15 steps (100%) done" in submitted
    assert len(jobs) == 5


def test_a_failed_job_is_tried_again_with_more_and_then_shown_with_its_logs(cluster, project):
    """A damaged corpus of German: its job fails twice, that of Mandarin is done, both logs are named."""
    before = len(cluster.jobs())
    damaged = project / "results" / "cut" / "corpus" / "deu.parquet"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("no table\n")
    result = submit(
        cluster, project, ("speech/deu.parquet", "speech/cmn.parquet"),
        "--group-components", "sentences=1", "--set-resources", "speech_espeak:mem_mb=500 * attempt",
    )  # fmt: skip
    output = result.stdout + result.stderr
    assert result.returncode == 1, output
    assert (project / "results" / "cut" / "speech" / "cmn.parquet").exists()
    assert not (project / "results" / "cut" / "speech" / "deu.parquet").exists()

    jobs = cluster.jobs()[before:]
    assert sorted(job["JobState"] for job in jobs) == ["COMPLETED", "FAILED", "FAILED"]
    failed = [job["MinMemoryNode"] for job in jobs if job["JobState"] == "FAILED"]
    assert failed == ["500M", "1000M"]

    assert "results/cut/logs/speech/deu.log" in output
    assert output.count("Error in rule speech_espeak:") == 2
    log = project / "results" / "cut" / "logs" / "speech" / "deu.log"
    assert "deu.parquet: damaged" in log.read_text()
    slurm_logs = [Path(path) for path in re.findall(r"\(log: (\S+\.log)\)", output)]
    kept = [path for path in slurm_logs if path.exists()]  # those of finished jobs are deleted
    assert len(kept) == 2
    assert all("speech_espeak" in path.read_text() for path in kept)


def test_the_groups_of_the_profile_suit_the_whole_demo(project):
    """No group depends on itself; figures, tables and report are one submission."""
    result = subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--dry-run",
         "--directory", str(project), "--workflow-profile", str(PROFILES / "slurm"),
         "--config", "model={device: auto}"],
        cwd=project, capture_output=True, text=True, check=False,
    )  # fmt: skip
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    n_submissions = {
        group: len(re.findall(rf"^.*Group job {group} ", output, flags=re.M))
        for group in ("sentences", "decode", "capture", "rank", "report")
    }
    # 5 languages, 20 decodings, 60 captures, 14 rankings.
    assert n_submissions == {"sentences": 3, "decode": 10, "capture": 15, "rank": 7, "report": 1}


def test_the_profile_agrees_with_the_rules_and_with_the_default_profile():
    """Rules that it names exist; what redoes a job does not depend on where it runs."""
    text = (PROFILES / "slurm" / "config.yaml").read_text(encoding="utf-8")
    slurm = yaml.safe_load(text)
    default = yaml.safe_load((PROFILES / "default" / "config.yaml").read_text(encoding="utf-8"))
    for name in ("rerun-triggers", "rerun-incomplete", "quiet", "printshellcmds"):
        assert slurm[name] == default[name]
    rules = {
        name
        for path in (ROOT / "workflow" / "rules").rglob("*.smk")
        for name in re.findall(r"^rule (\w+):", path.read_text(encoding="utf-8"), flags=re.M)
    }
    assert set(slurm["set-resources"]) <= rules
    assert set(slurm["groups"]) <= rules
    assert set(slurm["group-components"]) == set(slurm["groups"].values())
    # Whose account it is, and on which partition, is for the user to say.
    assert not {"slurm_account", "slurm_partition"} & set(slurm["default-resources"])
