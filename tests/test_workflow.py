"""What Snakemake would do: the whole DAG, refusals before any job, and what each change redoes.

Dry runs only. Those that need finished results copy the bookkeeping of the demo, not its data.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

ALL_RULES = {
    "corpus", "speech_espeak", "speech_quality", "encode_speech", "encode_text", "decode",
    "capture", "rank_encoder", "rank_decoder", "compare_step",
    "gather_comparison", "locate", "count_valid", "steer", "summarize_steering", "tables",
    "table5", "recognition", "figure", "report",
}  # fmt: skip


def _link(source: str, target: str) -> None:
    """A hard link, or a copy with its file time where the folder is on another file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def snakemake(folder: Path, *options: str) -> subprocess.CompletedProcess:
    """Run Snakemake on the project's Snakefile in ``folder``."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1",
         "--directory", str(folder), "--profile", str(ROOT / "profiles" / "default"), *options],
        capture_output=True, text=True, cwd=folder, check=False,
    )  # fmt: skip


def planned(folder: Path, *options: str) -> dict[str, int]:
    """Jobs by rule that a dry run announces."""
    result = snakemake(folder, "--dry-run", "--quiet", "rules", *options)
    assert result.returncode == 0, result.stderr
    text = result.stdout + result.stderr
    if "Nothing to be done" in text:
        return {}
    counts = dict(re.findall(r"^(\w+) +(\d+)$", text, flags=re.M))
    return {rule: int(n) for rule, n in counts.items() if rule not in ("total", "all")}


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder to run in: the project's config and resources, no results."""
    for name in ("config", "resources"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def test_a_fresh_run_has_every_stage(project):
    """5 languages, 4 tasks, 3 steps: as many jobs as the design says (section 2)."""
    jobs = planned(project)
    assert set(jobs) == ALL_RULES
    assert jobs["encode_speech"] == jobs["encode_text"] == 5
    assert jobs["decode"] == 4 * 5
    assert jobs["capture"] == 4 * 5 * 3
    assert jobs["rank_decoder"] == 4 * 3
    assert jobs["steer"] == 2 * 5


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("langauges=[deu,jpn]", "langauges: unknown key; did you mean 'languages'?"),
        ("languages=[deu,japanese]", "got 'japanese'; did you mean 'jpn'?"),
        ("languages=[deu,jp]", "did you mean 'jpn'?"),
        ("steps=[0,6]", "expected steps from 1 on, got 0"),
        ("steps=[1,99]", "expected at most decoding.max_new_tokens = 48, got 99"),
        ("comparison={top_k: 5}", "comparison.top_k: unknown key"),
        ("output_language=deu", "not among languages"),
    ],
)
def test_a_mistake_in_the_config_is_refused_before_any_job(project, setting, message):
    """With the name, what was expected, and a suggestion."""
    result = snakemake(project, "--config", setting)
    assert result.returncode != 0
    assert message in result.stdout + result.stderr
    assert not (project / "results").exists()


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """The finished demo, as Snakemake knows it: a copy, so that a dry run may be told anything."""
    if not (ROOT / "results" / "demo" / "report.html").exists():
        pytest.fail("the demo has not been run: make demo")
    folder = tmp_path_factory.mktemp("finished")
    for name in ("config", "resources"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "results" / "demo", folder / "results" / "demo", copy_function=_link)
    shutil.copytree(
        ROOT / ".snakemake" / "metadata", folder / ".snakemake" / "metadata", dirs_exist_ok=True
    )
    return folder


@pytest.mark.demo
def test_a_finished_run_has_nothing_left_to_do(finished):
    """Same config: no job at all."""
    assert planned(finished) == {}


@pytest.mark.demo
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        # Another k ranks nothing again, and runs no model.
        ("comparison={k: 300}", {"compare_step": 3, "locate": 1}),
        ("comparison={k_sweep: [10, 20]}", {"compare_step": 3}),
        ("comparison={resamples: 50}", {"compare_step": 3}),
        ("steering={k: 100}", {"steer": 10, "summarize_steering": 1}),
        ("steering={resamples: 500}", {"summarize_steering": 1}),
        (
            "ranking={include_step_invariant: false}",
            {"rank_decoder": 12, "steer": 10, "compare_step": 3},
        ),
        # A new step: its capture, ranking, comparison and steering, and no decoding.
        (
            "steps=[1,4,6,11]",
            {"capture": 20, "rank_decoder": 4, "steer": 10, "compare_step": 1},
        ),
        # A step less: only what is drawn over all steps. The jobs that steer find all their outputs.
        ("steps=[1,6]", {"steer": 10, "gather_comparison": 5, "summarize_steering": 1}),
        # Another limit of the error rate speaks nothing again; what it leaves out is ranked anew.
        (
            "speech={checks: {max_cer: 0.4}}",
            {
                "speech_quality": 1,
                "rank_encoder": 2,
                "rank_decoder": 12,
                "steer": 10,
                "compare_step": 3,
            },
        ),
        # What could be done, and is not, is no matter of results either.
        ("speech={fallback: [xtts], xtts: {accept_cpml: true, speaker: Viktor Menelaos}}", {}),
        # How many at a time is no matter of results.
        ("batch_size={speech: 2, encode: 3, decode: 5, capture: 7, steer: 11}", {}),
    ],
)
def test_a_change_redoes_what_it_must_and_no_more(finished, change, expected):
    """Exactly these jobs of the stages before tables, figures and report."""
    jobs = planned(finished, "--config", change)
    last = {"tables", "figure", "report", "recognition", "count_valid", "locate",
            "gather_comparison", "summarize_steering"}  # fmt: skip
    for rule in set(jobs) - last | set(expected):
        assert jobs.get(rule) == expected.get(rule), (rule, jobs)


@pytest.mark.demo
def test_a_language_less_computes_nothing_of_the_others_again(finished):
    """Without French: rankings and what follows; no speech, no encoding, decoding or capture."""
    jobs = planned(finished, "--config", "languages=[deu,spa,cmn,jpn]")
    assert jobs["rank_encoder"] == 2
    assert jobs["rank_decoder"] == 12
    for rule in ("corpus", "speech_espeak", "encode_speech", "encode_text", "decode", "capture"):
        assert rule not in jobs


@pytest.mark.demo
def test_a_new_language_computes_only_its_own(finished):
    """English joins (and Spanish leaves the list to be the output language)."""
    jobs = planned(finished, "--config", "languages=[deu,fra,cmn,jpn,eng]", "output_language=spa",
                   "--until", "capture")  # fmt: skip
    assert jobs["corpus"] == 1
    assert jobs["speech_espeak"] == 1
    assert jobs["encode_speech"] == jobs["encode_text"] == 1
    # s2t and t2t translate into another language now; asr and tr of the others stand.
    assert jobs["decode"] == 2 * 5 + 2
    assert jobs["capture"] == (2 * 5 + 2) * 3


@pytest.mark.demo
def test_touching_every_file_redoes_nothing(finished, tmp_path):
    """A checkout renews file times: code and resources count by content."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("results", ".snakemake"):
        shutil.copytree(finished / name, copy / name, copy_function=_link)
    shutil.copytree(ROOT / "config", copy / "config")
    shutil.copytree(ROOT / "resources", copy / "resources", copy_function=shutil.copyfile)
    assert planned(copy) == {}
