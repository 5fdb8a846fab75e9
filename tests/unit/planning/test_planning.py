"""A plan says what a run costs: numbers by hand, the demo's real files, Snakemake's own job counts."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import LANGUAGES, ROOT

from steplens.config.run import parse_config
from steplens.errors import ConfigError, RateError
from steplens.planning.inputs import (
    bytes_on_disk,
    find_model,
    find_sentences,
    job_table,
    observed_rates,
)
from steplens.planning.model import PUBLISHED, Model, published_model
from steplens.planning.plan import (
    Plan,
    Row,
    folders,
    format_bytes,
    format_plan,
    format_seconds,
    make_plan,
)
from steplens.planning.rates import Rate, choose_rate, load_rates, observed_rate, write_rates
from steplens.planning.work import (
    STAGES,
    Part,
    Sentences,
    disk_bytes,
    interventions,
    job_units,
    parts_of,
    stage_of,
    work_units,
)
from steplens.run.layout import RunLayout

LARGE = Model("seamless-m4t-v2-large", PUBLISHED["seamless-m4t-v2-large"], "")
DEMO = ROOT / "results" / "demo"
CPU, GPU = "CPU x", "NVIDIA y"


def settings(**changes) -> dict:
    """config/config.yaml with sections laid over it."""
    content = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    for key, value in changes.items():
        content[key] = content.get(key, {}) | value if isinstance(value, dict) else value
    return content


def paper(**changes):
    """The paper's languages, utterances, tasks and steps."""
    return parse_config(
        settings(corpus={"n_utterances": 1000}, steering={"n_utterances": 100, "n_random": 3})
        | changes
    )


def sentences(config, seconds=10.0, tokens=30.0) -> dict[str, Sentences]:
    n = config.corpus.n_utterances
    return {language: Sentences(n, seconds, tokens) for language in config.languages}


ENGINES = dict.fromkeys(LANGUAGES, "espeak")


def test_published_sizes_are_those_of_transformers():
    """The table for a model that is not on disk agrees with the classes' own defaults."""
    from steplens.models.seamless.loading import family_class

    for name in ("seamless-m4t-v2-large", "hf-seamless-m4t-large"):
        config = family_class(PUBLISHED[name], "Config")()
        for key, value in PUBLISHED[name].items():
            assert getattr(config, key, value) == value or key == "vocab_size", (name, key)


def test_neurons_of_the_published_model():
    """589,824, 368,640 and 491,520 (D1)."""
    modules = ("speech_encoder", "text_encoder", "decoder")
    assert [LARGE.n_neurons(module) for module in modules] == [589_824, 368_640, 491_520]


def test_a_published_name_needs_no_config_and_an_equal_config_no_name():
    assert published_model("facebook/seamless-m4t-v2-large").assumed
    copy = published_model("models/mine", PUBLISHED["seamless-m4t-v2-large"])
    assert (copy.name, copy.assumed) == ("seamless-m4t-v2-large", False)
    assert published_model("somebody/another-model") is None


def test_a_hub_model_of_unknown_size_is_refused_with_what_to_do():
    with pytest.raises(ConfigError, match="snakemake fetch"):
        find_model("somebody/another-model", "0" * 40)


def test_decoder_stores_of_the_paper():
    """4 tasks x 5 languages x 3 steps x 1,000 utterances: 59 GB of neurons and 3 GB of residual stream."""
    config = paper()
    n_bytes = disk_bytes(config, LARGE, sentences(config), ENGINES, "float16")["capture"]
    neurons = 4 * 5 * 3 * 1000 * 491_520 * 2
    hidden = 4 * 5 * 3 * 1000 * 25 * 1024 * 2
    assert round(neurons / 1e9, 1) == 59.0
    assert n_bytes == pytest.approx(neurons + hidden, rel=1e-3)


def test_speech_encoder_stores_and_audio_of_the_paper():
    """Neurons, 26 rows of residual stream, and 62.5 final states of 10 s of audio."""
    config = paper()
    n_bytes = disk_bytes(config, LARGE, sentences(config), ENGINES, "float16")
    row = 589_824 * 2 + 26 * 1024 * 2 + 62.5 * 1024 * 2
    assert n_bytes["encode_speech"] == pytest.approx(5000 * row, rel=1e-3)
    assert n_bytes["speech_espeak"] == 5000 * (10 * 32_000 + 44)


def test_float32_doubles_the_stores_and_keeps_the_states():
    config = paper(store={"dtype": "float32"})
    half = disk_bytes(paper(), LARGE, sentences(config), ENGINES, "float16")
    full = disk_bytes(config, LARGE, sentences(config), ENGINES, "float16")
    assert full["capture"] == pytest.approx(2 * half["capture"], rel=1e-3)
    states = 5000 * 30 * 1024 * 2
    assert full["encode_text"] - states == pytest.approx(
        2 * (half["encode_text"] - states), rel=1e-3
    )


def test_work_of_the_paper():
    """Seconds of audio, tokens, passes and steered outputs, by hand."""
    config = paper()
    units = work_units(config, LARGE, sentences(config), ENGINES)
    assert units["encode_speech"] == 5 * 1000 * 10
    assert units["encode_text"] == 5 * 1000 * 30
    assert units["capture"] == 4 * 5 * 3 * 1000
    # 4 targets, each with its own neurons, another language's and three random sets.
    assert interventions(config, "deu") == 4 * 5
    limit = config.decoding.max_new_tokens
    assert units["decode"] == pytest.approx(4 * 5 * 1000 * min(limit, 33))
    assert units["steer"] == 2 * 5 * 3 * 100 * 20 * limit
    assert units["rank_decoder"] == pytest.approx(4 * 3 * 5000 * 491_520 / 1e6)
    # Both modalities; a draw costs more than its AP, where separation orders equal AP once more.
    per_draw = 3 * 2 * 5000 * 491_520 / 1e6
    assert units["compare_step"] == pytest.approx(config.comparison.resamples * 1.8 * per_draw)
    # Both halves of 10 splits, and 20 shuffles.
    assert units["reliability"] == pytest.approx((2 * 10 * 2.4 + 20 * 3.3) * per_draw)
    # Of three fractions five subsets each, whole and in halves; all sentences, and both halves of 10 splits.
    assert units["learning_curve"] == pytest.approx((3 * 5 * 3 + 1 + 2 * 10) * 2.4 * per_draw)
    by_column = work_units(
        parse_config(settings(ranking={"ties": "column"})), LARGE, sentences(config), ENGINES
    )
    assert by_column["reliability"] == pytest.approx((2 * 10 * 1.5 + 20 * 1.6) * per_draw)


def test_only_pairs_are_steered():
    """Two targets of German, one of French: no work for the other sources."""
    pairs = [["deu", "jpn"], ["fra", "jpn"], ["deu", "cmn"]]
    config = parse_config(settings(steering={"n_utterances": 50, "n_random": 3, "pairs": pairs}))
    assert config.steering_targets == {"deu": ["cmn", "jpn"], "fra": ["jpn"]}
    assert [interventions(config, one) for one in ("deu", "fra", "spa")] == [10, 5, 0]
    units = work_units(config, LARGE, sentences(config), ENGINES)
    assert units["steer"] == 2 * 3 * 15 * 50 * config.decoding.max_new_tokens


def test_interventions_are_those_that_steer_makes():
    """With two languages there is no third whose neurons could be fixed; with one pair there is."""
    import numpy as np

    from steplens.models.neurons import neuron_table
    from steplens.ranking.table import Ranking
    from steplens.steering.steer import trials

    config = json.loads((ROOT / "resources/demo/seamless-m4t-v2-demo/config.json").read_text())
    neurons = neuron_table(config, "decoder")
    for languages, pairs in ((LANGUAGES, []), (LANGUAGES[:2], []), (LANGUAGES, [["deu", "jpn"]])):
        shape = (len(languages), len(neurons))
        ap = np.random.default_rng(1).random(shape)
        ranking = Ranking(list(languages), ap, ap.astype("f4"), np.full(len(languages), 9), neurons)
        planned = parse_config(settings(languages=list(languages), steering={"pairs": pairs}))
        targets = planned.steering_targets["deu"]
        made = trials(ranking, "deu", 5, planned.steering.n_random, 1, targets=targets)
        assert len(made) == interventions(planned, "deu")


def test_another_engine_does_the_speech_half_once_more():
    """speech.other_engine: s2t and asr, the speech encoder, and nothing of text."""
    config = parse_config(settings(speech={"other_engine": "recorded"}))
    own, other = parts_of(config, sentences(config), ENGINES)
    assert isinstance(other, Part)
    assert own.prefix == ""
    assert other.tasks == ("s2t", "asr")
    n_bytes = disk_bytes(config, LARGE, sentences(config), ENGINES, "float16")
    assert n_bytes["other_capture"] * 2 == n_bytes["capture"]
    assert n_bytes["other_speech_recorded"] > n_bytes["speech_espeak"]
    assert "other_encode_text" not in n_bytes
    assert stage_of("other_encode_speech") == "encode speech"


def test_every_rule_of_a_run_has_a_stage():
    assert stage_of("capture") == "capture"
    assert stage_of("report") == "tables, figures"
    assert len({rule for rules in STAGES.values() for rule in rules}) == sum(
        map(len, STAGES.values())
    )


# --- the demo's real files -------------------------------------------------------------------------


@pytest.mark.demo
def test_predicted_bytes_are_before_compression_which_saves_a_little():
    """From the sentences alone, as in a fresh clone, against the files of the finished run."""
    config = parse_config(settings())
    model = find_model(str(ROOT / config.model.path), None)
    found, _ = find_sentences(config_at_root(config), ENGINES, ROOT / config.corpus.path)
    predicted = disk_bytes(config, model, found, ENGINES, "float32")
    by_stage: dict[str, float] = {}
    for rule, n_bytes in predicted.items():
        by_stage[stage_of(rule)] = by_stage.get(stage_of(rule), 0) + n_bytes
    for stage in ("speech", "encode speech", "encode text", "capture", "rank"):
        actual = bytes_on_disk(folders(RunLayout(DEMO))[stage])
        assert 0.7 * by_stage[stage] <= actual <= 1.25 * by_stage[stage], stage


def config_at_root(config):
    """The demo's configuration with the model's path as seen from anywhere."""
    return parse_config(
        config.model_dump() | {"model": {"path": str(ROOT / config.model.path), "device": "cpu"}}
    )


@pytest.mark.demo
def test_positions_of_the_demo_s_states():
    """Speech frames and text tokens of the stores are those that the plan derives."""
    import zarr

    config = parse_config(settings())
    model = find_model(str(ROOT / config.model.path), None)
    found, _ = find_sentences(config_at_root(config), ENGINES, ROOT / config.corpus.path)
    import pandas as pd

    for language, one in found.items():
        spoken = pd.read_parquet(DEMO / "speech" / f"{language}.parquet")
        seconds = spoken["n_samples"].sum() / 16_000
        states = zarr.open(DEMO / "encoder" / "speech" / f"{language}.zarr")["state"]
        assert states.shape[0] == pytest.approx(
            seconds * model.speech_positions_per_second, rel=0.03
        )
        states = zarr.open(DEMO / "encoder" / "text" / f"{language}.zarr")["state"]
        assert states.shape[0] == round(one.n * one.tokens)


@pytest.mark.demo
def test_the_demo_s_benchmarks_give_its_rates():
    """Measured, on the CPU, of the configured model; of another model nothing is taken."""
    config = config_at_root(parse_config(settings()))
    found, _ = find_sentences(config, ENGINES, ROOT / "resources/demo/fleurs")
    model = find_model(config.model.path, None)
    rates = observed_rates(config, model, found, ENGINES, DEMO, [], CPU, CPU)
    assert {rate.stage for rate in rates} >= {"encode_speech", "encode_text", "decode", "capture"}
    for rate in rates:
        assert (rate.basis, rate.device) == ("measured", CPU)
        assert rate.seconds_per_unit > 0
    assert observed_rates(config, LARGE, found, ENGINES, DEMO, [], CPU, CPU) == []


# --- rates -----------------------------------------------------------------------------------------


def rate(**changes) -> Rate:
    values = {
        "stage": "capture", "model": LARGE.name, "device": CPU, "unit": "utterance",
        "seconds_per_unit": 0.5, "load_seconds": 10.0, "basis": "measured", "source": "a test",
    }  # fmt: skip
    return Rate(**(values | changes))


def test_the_table_that_comes_with_steplens_can_be_read():
    """A GPU row for every stage that uses one, and none of them is called measured by mistake."""
    rates = load_rates()
    for stage in ("encode_speech", "encode_text", "decode", "capture", "steer"):
        assert any(one.on_gpu for one in rates if one.stage == stage), stage
    for one in rates:
        assert ("--estimate" in one.source) == (one.basis == "estimated"), one


def test_rates_survive_writing_and_reading(tmp_path):
    rates = [rate(), rate(device=GPU, basis="estimated")]
    write_rates(rates, tmp_path / "rates.tsv")
    assert load_rates(tmp_path / "rates.tsv") == rates


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, "captures", "stage: expected one of"),
        (3, "token", "unit: expected 'utterance' for capture, got 'token'"),
        (4, "fast", "seconds_per_unit: expected seconds, 0 or more, got 'fast'"),
        (4, "-1", "seconds_per_unit: expected seconds, 0 or more, got '-1'"),
        (5, "inf", "load_seconds: expected seconds"),
        (6, "guessed", "basis: expected measured or estimated, got 'guessed'"),
        (7, "", "source: expected a text"),
        (7, "a\tb", "expected 8 fields separated by tabs, got 9"),
    ],
)
def test_a_bad_row_of_rates_is_named(tmp_path, column, value, message):
    """File, line, column, what was expected and what was there."""
    table = tmp_path / "rates.tsv"
    write_rates([rate()], table)
    header, row = table.read_text().splitlines()
    fields = row.split("\t")
    fields[column] = value
    table.write_text(header + "\n" + "\t".join(fields) + "\n")
    with pytest.raises(RateError, match=r"rates\.tsv:2: ") as error:
        load_rates(table)
    assert message in str(error.value)


def test_a_table_with_another_header_is_refused(tmp_path):
    (tmp_path / "rates.tsv").write_text("stage\tspeed\n")
    with pytest.raises(RateError, match="columns: expected stage, model"):
        load_rates(tmp_path / "rates.tsv")


def test_the_rate_of_the_device_at_hand_comes_first():
    rates = [rate(device="NVIDIA z", seconds_per_unit=9.0), rate(device=GPU), rate()]
    assert choose_rate(rates, "capture", LARGE, GPU).seconds_per_unit == 0.5
    assert not choose_rate(rates, "capture", LARGE, CPU).on_gpu


def test_another_gpu_s_rate_is_an_estimate():
    """The slowest one that is known, and no CPU's."""
    rates = [rate(device="NVIDIA z", seconds_per_unit=9.0), rate(device=GPU), rate()]
    chosen = choose_rate(rates, "capture", LARGE, "NVIDIA unheard of")
    assert (chosen.seconds_per_unit, chosen.basis) == (9.0, "estimated")


def test_another_model_s_rate_is_scaled_by_parameters():
    """Half the layers cost less than the whole, and the result counts as estimated."""
    medium = Model("hf-seamless-m4t-medium", PUBLISHED["hf-seamless-m4t-medium"], "")
    chosen = choose_rate([rate()], "capture", medium, CPU)
    share = medium.n_parameters("decoder") / LARGE.n_parameters("decoder")
    assert 0.3 < share < 0.7
    assert chosen.seconds_per_unit == pytest.approx(0.5 * share)
    assert chosen.basis == "estimated"
    assert choose_rate([], "capture", medium, CPU) is None


def test_rates_of_a_run_leave_out_the_load_unless_it_hides_the_work():
    own = observed_rate("capture", [(60.0, 100), (110.0, 200)], 10.0, LARGE.name, CPU)
    assert own.seconds_per_unit == pytest.approx(150 / 300)
    short = observed_rate("capture", [(12.0, 100)], 10.0, LARGE.name, CPU)
    assert (short.seconds_per_unit, short.load_seconds) == (0.12, 0.0)
    assert observed_rate("capture", [], 10.0, LARGE.name, CPU) is None


# --- printing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, "0"), (999, "999 B"), (1200, "1.2 kB"), (58_982_400_000, "59.0 GB"), (2e12, "2.0 TB")],
)
def test_bytes_in_words(n, text):
    assert format_bytes(n) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(12, "12 s"), (600, "10 min"), (9000, "2.5 h"), (200_000, "56 h"), (1e7, "2,778 h")],
)
def test_seconds_in_words(seconds, text):
    assert format_seconds(seconds) == text


def test_an_estimate_is_marked_wherever_it_counts():
    """In its stage and in the sum."""
    rows = {
        "decode": Row(1, 2, 0, 5e9, {GPU: 7200.0}, {GPU}),
        "steer": Row(1, 1, 0, 0, {GPU: 3600.0}),
    }
    text = format_plan(Plan(rows, [GPU], []), "A plan")
    assert "~2.0 h" in text
    assert " 60 min" in text
    assert "~3.0 h" in text.splitlines()[-4]
    assert "not measured" in text


def test_what_does_not_fit_is_said_with_how_much_is_short(tmp_path):
    """A petabyte of stores; and jobs that are done already cost nothing."""
    content = settings(corpus={"n_utterances": 2_000_000_000}, steering={"n_utterances": 10})
    content["model"] = {"path": str(ROOT / "resources/demo/seamless-m4t-v2-demo"), "device": "cpu"}
    config = parse_config(content)
    whole = {"capture": 60, "decode": 20}
    plan = make_plan(
        config, ENGINES, whole, whole, tmp_path / "results", tmp_path, tmp_path / "none", []
    )
    assert any(note.startswith("! ") and " short " in note for note in plan.notes), plan.notes
    assert any("FLEURS has at most" in note for note in plan.notes)
    done = make_plan(
        config, ENGINES, {}, whole, tmp_path / "results", tmp_path, tmp_path / "none", []
    )
    assert done.rows["capture"].to_come == 0
    assert (done.rows["capture"].now, done.rows["capture"].whole) == (0, 60)


def test_with_a_gpu_times_are_for_it_and_without_for_those_that_are_known(tmp_path, monkeypatch):
    """By the name that nvidia-smi gives; rules that need no GPU keep the CPU's rate."""
    monkeypatch.setenv("PATH", str(tmp_path))
    content = settings(model={"device": "cuda"})
    content["model"]["path"] = str(ROOT / "resources/demo/seamless-m4t-v2-demo")
    config = parse_config(content)
    jobs = {"capture": 60, "rank_encoder": 2}
    rates = [
        rate(device=GPU, stage="steer", unit="generated token"),
        rate(device=GPU, seconds_per_unit=0.1, load_seconds=0.0),
        rate(stage="rank", unit="million activations", model="any"),
    ]
    folders = (tmp_path / "results", tmp_path, tmp_path / "none", rates)
    without = make_plan(config, ENGINES, jobs, jobs, *folders)
    assert without.devices[0] == GPU
    assert any("nvidia-smi lists no GPU" in note for note in without.notes)
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho 'GPU 0: {GPU} (UUID: GPU-1)'\n")
    program.chmod(0o755)
    plan = make_plan(config, ENGINES, jobs, jobs, *folders)
    assert plan.devices == [GPU]
    assert "capture" in plan.rows
    assert plan.rows["rank"].seconds[GPU] > 0
    assert plan.rows["capture"].estimated == {GPU}  # of another model, scaled


def test_units_of_one_job():
    config = paper()
    one = Sentences(1000, 10.0, 30.0)
    assert job_units(config, "speech_xtts", 7, one) == 70
    assert job_units(config, "steer", 7, one) == 7 * config.decoding.max_new_tokens


# --- Snakemake -------------------------------------------------------------------------------------


def snakemake(folder: Path, *options: str) -> subprocess.CompletedProcess:
    """Run Snakemake on the project's Snakefile in ``folder``."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "1",
         "--directory", str(folder), "--profile", str(ROOT / "profiles" / "default"), *options],
        capture_output=True, text=True, cwd=folder, check=False,
    )  # fmt: skip


@pytest.fixture
def project(tmp_path) -> Path:
    """A folder to run in: the project's config and resources, no results."""
    for name in ("config", "resources"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def test_the_plan_counts_the_jobs_that_a_dry_run_announces(project):
    """In a fresh folder, and nothing is left behind."""
    result = snakemake(project, "plan", "--quiet", "all")
    assert result.returncode == 0, result.stdout + result.stderr
    dry = snakemake(project, "--dry-run", "--quiet", "rules")
    announced = job_table(dry.stdout + dry.stderr)
    total = sum(announced.values())
    last = next(line for line in result.stdout.splitlines() if line.startswith("in all"))
    assert last.split()[2:4] == [str(total), str(total)]
    capture = next(line for line in result.stdout.splitlines() if line.startswith("capture"))
    assert capture.split()[1:3] == ["60", "60"]
    assert not (project / "results").exists()


def test_a_broken_config_is_refused_with_its_own_message(project):
    result = snakemake(project, "plan", "--config", "languages=[deu,japanese]")
    assert result.returncode != 0
    assert "did you mean 'jpn'?" in result.stdout + result.stderr
