"""What Snakemake would do: the whole DAG, and refusals before any job. Dry runs only.

What each change redoes stands in test_reruns.py.
"""

import json
import shutil
from pathlib import Path

import pytest
from conftest import ROOT
from finished_demo import finished_demo, planned, snakemake

from steplens.planning import studies as planning_studies

ALL_RULES = {
    "corpus", "speech_espeak", "speech_quality", "encode_speech", "encode_text", "decode",
    "capture", "rank_encoder", "rank_decoder", "compare_step", "reliability", "learning_curve",
    "gather_comparison", "locate", "count_valid", "count_ties", "steer", "summarize_steering",
    "tables", "table5", "recognition", "figure", "report", "rank_modality", *planning_studies.RULES,
}  # fmt: skip


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
    "studies", ["[]", "[modality]", "[inequality]", "[similarity]", "[modality, causal]"]
)
def test_a_study_that_is_left_out_is_asked_for_by_nothing(project, studies):
    result = snakemake(project, "--dry-run", "all", "verify", "--config", f"studies={studies}")
    assert result.returncode == 0, result.stderr[-2000:]


def test_only_sources_of_pairs_are_steered(project):
    """Three pairs of two sources: German to Japanese, Japanese to German and to French."""
    jobs = planned(project, "--config", "steering={pairs: [[deu, jpn], [jpn, deu], [jpn, fra]]}")
    assert set(jobs) == ALL_RULES
    assert jobs["steer"] == 2 * 2
    assert jobs["decode"] == 4 * 5


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("steering={pairs: [[deu, jp]]}", "got 'jp'; did you mean 'jpn'?"),
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


def test_a_large_checkpoint_is_read_once_and_it_is_said(project, tmp_path, monkeypatch):
    """A dry run on an empty cache says why it takes a while; what reads the rules after it does not."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = tmp_path / "model"
    shutil.copytree(ROOT / "resources" / "demo" / "seamless-m4t-v2-demo", model)
    lengthen(model / "model.safetensors", 70 * 2**20)
    options = (
        "--dry-run",
        "--quiet",
        "rules",
        "--config",
        f"model={{path: {model}}}",
        "--until",
        "corpus",
    )
    said = f"{model / 'model.safetensors'}: reading 0.1 GB for a digest of its content"
    first, second = snakemake(project, *options), snakemake(project, *options)
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert said in first.stdout + first.stderr
    assert "reading" not in second.stdout + second.stderr
    assert len(list((tmp_path / "cache" / "steplens").iterdir())) == 1


def lengthen(path: Path, n_bytes: int) -> None:
    """One more tensor, of zeros, that no stage reads."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header, end = json.loads(data[8:start]), len(data) - start
    more = {"dtype": "U8", "shape": [n_bytes], "data_offsets": [end, end + n_bytes]}
    content = json.dumps(header | {"more": more}).encode()
    path.write_bytes(len(content).to_bytes(8, "little") + content + data[start:])
    with path.open("r+b") as file:
        file.truncate(8 + len(content) + end + n_bytes)


def test_a_vocabulary_of_junk_is_refused_before_any_job(project, tmp_path):
    """The check that is made once a run, in a dry run too."""
    model = tmp_path / "model"
    shutil.copytree(ROOT / "resources" / "demo" / "seamless-m4t-v2-demo", model)
    (model / "tokenizer.json").write_text('{"model": {"vocab": {"a": 0}}}')
    result = snakemake(project, "--dry-run", "--config", f"model={{path: {model}}}")
    assert result.returncode != 0
    assert f"model.path: {model / 'tokenizer.json'}: expected" in result.stdout + result.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The finished demo, as Snakemake knows it."""
    return finished_demo(tmp_path_factory.mktemp("finished"))


@pytest.mark.demo
def test_a_finished_run_has_nothing_left_to_do(finished):
    """Same config: no job at all."""
    assert planned(finished) == {}


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
