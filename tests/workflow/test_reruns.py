"""What each kind of change redoes: the tables of docs/running/reruns.md, row by row, by dry runs on the demo.

A row says which jobs run again, and the dry run has to say the same: no job more and none less.
"""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from finished_demo import finished_demo, own_copy, planned, snakemake
from rerun_changes import (
    COMMITS,
    Change,
    all_of,
    asked_of,
    changed_sentences,
    checked_out,
    checks,
    comments,
    config,
    damaged_records,
    dated_ahead,
    deleted,
    hub,
    line,
    moved_checkpoint,
    moved_project,
    moved_sentences,
    moved_xtts,
    other_xtts,
    pin,
    resources_of_rules,
    retrained_checkpoint,
    row_of,
    script,
    set_to,
    template,
    touched,
    without_bookkeeping,
    xtts,
)

from steplens.config.run import parse_config
from steplens.files.hub import list_name
from steplens.run.identities import checkpoint_identity, model_identity, pinned, voice_identity
from steplens.speech.engines.xtts_files import FILES as FILES_OF_XTTS

PAGE = ROOT / "docs" / "running" / "reruns.md"
# Their jobs are counted in the tables: speech and whatever runs the model.
COUNTED = {
    "fetch_xtts", "corpus", "speech_espeak", "speech_xtts", "encode_speech", "encode_text", "decode",
    "capture", "steer", "causal_decoder", "causal_speech_encoder", "causal_text_encoder",
}  # fmt: skip


# Of the table of settings.
SETTINGS = {
    "one of `languages` less": config("languages=[deu,spa,cmn,jpn]"),
    "one of `steps` more": config("steps=[1,4,6,11]"),
    "one of `steps` less": config("steps=[1,6]"),
    "`seed`": config("seed=2"),
    "`corpus.n_utterances`": config("corpus={n_utterances: 50}"),
    "`corpus.splits`, `corpus.parallel_over`": config("corpus={parallel_over: [deu, fra]}"),
    "`speech.engine`": config("speech={engine: xtts}"),
    "`speech.espeak.words_per_minute`": config("speech={espeak: {words_per_minute: 200}}"),
    "`speech.checks`, of the audio": config("speech={checks: {max_silent_share: 0.5}}"),
    "`speech.checks.max_cer`, `leave_out_flagged`": config("speech={checks: {max_cer: 0.4}}"),
    "`model.dtype`; `model.device` from `cpu` to `cuda` where `dtype` is `auto`": config(
        "model={device: cuda}"
    ),
    "`encoding.fixed_seconds`": config("encoding={fixed_seconds: 3}"),
    "`store.dtype`": config("store={dtype: float32}"),
    "`decoding.max_new_tokens`": config("decoding={max_new_tokens: 40}"),
    "`ranking.include_step_invariant`": config("ranking={include_step_invariant: false}"),
    "`ranking.ties`, `ranking.scope`": config("ranking={ties: column}"),
    "`comparison.k`": config("comparison={k: 300}"),
    "`comparison.k_sweep`, `comparison.resamples`": config("comparison={k_sweep: [10, 20]}"),
    "`comparison.splits`": config("comparison={splits: 8}"),
    "`comparison.shuffles`": config("comparison={shuffles: 30}"),
    "`comparison.subsets`": config("comparison={subsets: 4}"),
    "`steering.k`, `steering.n_utterances`, `steering.n_random`": config("steering={k: 100}"),
    "`steering.n_random` and `steering.n_utterances` change places": config(
        "steering={n_random: 30, n_utterances: 2}"
    ),
    "`steering.pairs`": config(
        "steering={pairs: [[deu,spa],[deu,fra],[deu,cmn],[deu,jpn],[jpn,deu]]}"
    ),
    "`steering.rate_tokens`": config("steering={rate_tokens: characters}"),
    "`steering.resamples`, `min_source_rate`, `degenerate_tokens`": config(
        "steering={min_source_rate: 0.2}"
    ),
    "`modality.k`": config("modality={k: 200}"),
    "`modality.folds`, `modality.regularisation`": config("modality={folds: 4}"),
    "`inequality.resamples`": config("inequality={resamples: 200}"),
    "`similarity.variance`, `sentences_per_component`, `shuffles`": config(
        "similarity={shuffles: 2}"
    ),
    "`similarity.length_bins`": config("similarity={length_bins: 2}"),
    "`similarity.resamples`": config("similarity={resamples: 50}"),
    "`causal.ks`, `causal.n_utterances`, `causal.n_random`": config("causal={ks: [100, 200]}"),
    "`causal.step`": config("causal={step: 6}"),
    "`causal.resamples`": config("causal={resamples: 200}"),
    "one of `studies` less": config("studies=[modality,inequality,causal]"),
    "all of `batch_size`; settings of an engine or a fallback that speaks no language of the run; the "
    "licence; `model.device` where `dtype` is given": config(
        "batch_size={speech: 2, encode: 3, decode: 5, capture: 7, steer: 11}",
        "speech={fallback: [xtts], xtts: {accept_cpml: true, speaker: Viktor Menelaos}}",
        "model={dtype: float32, device: cuda}",
    ),
}
# Of the table of files.
FILES = {
    "the checkpoint: other weights, or another revision": retrained_checkpoint,
    "the checkpoint in another folder": moved_checkpoint,
    "FLEURS: other sentences of one language": changed_sentences,
    "FLEURS in another folder": moved_sentences,
    "all results touched, in any order": touched,
    "results dated in the future: a clock was set back, or a file server's is ahead": dated_ahead,
    "records in `.snakemake/metadata` that were damaged": damaged_records,
    "a checkout: all of the project's files are new": checked_out,
    "the project's folder moved": moved_project,
    "the results without `.snakemake`, with their times": without_bookkeeping,
    "results deleted that others were made of": deleted("comparison/steps/*/overlap.csv"),
    "a table or a figure deleted": deleted("figures/figure4.svg"),
    "the metadata beside a table deleted": deleted("comparison/overlap.csv-metadata.json"),
    "a row of `resources/languages.tsv` of another language": row_of("ita", "espeak", "en"),
    "a row of `resources/resource_levels.tsv` of another language": row_of(
        "ita", "level", "3", "resource_levels"
    ),
    "the resource level of a language of the run": row_of("deu", "level", "4", "resource_levels"),
    "what eSpeak NG calls a language of the run": row_of("deu", "espeak", "nl"),
}
# Of the table of code and libraries.
CODE = {
    "comments, docstrings, layout, anywhere": comments,
    "what rules ask for: memory, time, threads": resources_of_rules,
    "messages: progress, logs, start-up, the warm process, GPU locks": line(
        "jobs/progress", "jobs/run_stage", "jobs/warm_start", "jobs/workers", "jobs/devices", "files/hub"
    ),
    "a speech engine that speaks no language of the run": line("speech/engines/xtts"),
    "`corpus/sentences.py`": line("corpus/sentences"),
    "`speech/speak.py`": line("speech/speak"),
    "`recording/encode.py`": line("recording/encode"),
    "`generation/decode.py`": line("generation/decode"),
    "`recording/capture.py`, or its script": script,
    "`hooks/intervention.py`": line("hooks/intervention"),
    "`ranking/sorting.py`": line("ranking/sorting"),
    "`ranking/table.py`": line("ranking/table"),
    "`figures/style.py`": line("figures/style"),
    "the report's template": template,
    "torch or transformers: a minor version": pin("torch", "torch", 2),
    "torchaudio: a minor version": pin("torch", "torchaudio", 2),
    "espeakng-loader or SciPy: a minor version": pin("analysis", "espeakng-loader", 2),
    "num2words or confusable-homoglyphs: a minor version": pin("analysis", "num2words", 2),
    "scikit-learn: a minor version": pin("analysis", "scikit-learn", 2),
    "any patch release; pandas, zarr, matplotlib, Snakemake …: any version": all_of(
        pin("torch", "torch", 3), pin("analysis", "matplotlib", 2), pin("torch", "zarr", 2),
        pin("analysis", "pandas", 1), pin("analysis", "espeakng-loader", 3),
        pin("xtts", "torch", 2),
    ),
}  # fmt: skip
# Of the table of a run with XTTS and a model from the hub.
XTTS = {
    "`speech.xtts.speaker`": lambda change: set_to(
        1, xtts(change.run / "xtts", speaker="Viktor Menelaos")
    )(change),
    "the checkpoint of XTTS: other content": other_xtts,
    "the checkpoint of XTTS in another folder; `speech.xtts.device`; `batch_size.speech`; settings of "
    "another engine": all_of(
        moved_xtts,
        lambda change: change.options.append("batch_size={speech: 2}"),
        lambda change: set_to(
            1, change.options[1].replace('"cpu"', '"cuda"')[:-1] + ", espeak: {words_per_minute: 99}}"
        )(change),
    ),
    "limits of `speech.checks`": checks,
    "`snakemake resynthesise`, of one language's takes": asked_of("xtts"),
    "takes that were asked of another engine": asked_of("recorded"),
    "`model.revision`": set_to(2, hub("B")),
    "`speech/engines/xtts.py`, `speech/engines/xtts_batch.py`": line("speech/engines/xtts_batch"),
    "coqui-tts: a minor version": pin("xtts", "coqui-tts", 2),
    "coqui-tts: a patch release": pin("xtts", "coqui-tts", 3),
}  # fmt: skip


def rows(heading: str) -> dict[str, tuple[str, str]]:
    """The table under a heading of the page: the change to the cells of jobs and of other rules."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [one.strip("|").split(" | ") for one in section.splitlines() if one.startswith("| ")]
    return {change.strip(): (jobs, others) for change, jobs, others, _ in lines[1:]}


def names(cell: str) -> set[str]:
    """The rules that a cell names, itself or by their study."""
    text = PAGE.read_text(encoding="utf-8")
    listed = re.search(r"names the rest, of (.*?);", text, flags=re.S)[1]
    studies = {
        study: set(re.findall(r"`(\w+)`", rules))
        for study, rules in re.findall(r"`(\w+)`\s\(([^)]*)\)", listed)
    }
    every = set(re.findall(r"`(\w+)`", listed)) - set(studies)
    named = set(re.findall(r"`(\w+)`", cell))
    found = named.union(*(studies.get(name, ()) for name in named)) - set(studies)
    return every - found if cell.startswith("all") else found


def assert_row(cells: tuple[str, str], jobs: dict[str, int]) -> None:
    """What is planned is what the row says."""
    expected = {rule: int(n) for rule, n in re.findall(r"`(\w+)` (\d+)", cells[0])}
    assert {rule: n for rule, n in jobs.items() if rule in COUNTED} == expected
    assert set(jobs) - COUNTED == names(cells[1])


TABLES = {"Settings": SETTINGS, "Files and folders": FILES, "Code and libraries": CODE}
ROWS = [(heading, row) for heading, table in TABLES.items() for row in table]


@pytest.mark.parametrize("heading", [*TABLES, "With XTTS and a model from the hub"])
def test_the_page_has_the_rows_that_are_tested(heading):
    assert list(rows(heading)) == list(
        (TABLES | {"With XTTS and a model from the hub": XTTS})[heading]
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    return finished_demo(tmp_path_factory.mktemp("finished"))


@pytest.mark.demo
def test_the_page_names_every_rule(finished):
    """In a list that a row may call all; and a finished run has nothing to do."""
    assert planned(finished) == {}
    every = set(planned(finished, "--forceall"))
    assert every - COUNTED == names("all")


@pytest.mark.demo
def test_the_order_of_keys_changes_nothing(finished, tmp_path):
    """As in the configuration that a plan hands to Snakemake: all keys, in another order."""
    settings = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))
    everything = parse_config(settings).model_dump(mode="json")
    other = tmp_path / "other.json"
    other.write_text(json.dumps(dict(reversed(everything.items()))))
    assert planned(finished, "--configfile", str(other)) == {}


@pytest.mark.demo
@pytest.mark.parametrize(("heading", "row"), ROWS, ids=[row for _, row in ROWS])
def test_a_change_redoes_what_the_page_says_and_no_more(finished, tmp_path, heading, row):
    change = Change(finished, scratch=tmp_path)
    TABLES[heading][row](change)
    assert_row(rows(heading)[row], change.jobs())


@pytest.mark.demo
def test_a_language_more_computes_its_own_and_the_statistics(finished, tmp_path):
    """French joins four others. And once all is touched, nothing is to be done."""
    change = Change(finished, scratch=tmp_path)
    four = ("--config", "languages=[deu,spa,cmn,jpn]")
    touched = snakemake(change.own(), "--touch", "--quiet", "all", *four)
    assert touched.returncode == 0, touched.stderr
    assert planned(change.run, *four) == {}
    for path in change.run.glob("results/demo/*/**/fra*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert_row(rows("A language more")["a language joins `languages`"], change.jobs())


@pytest.mark.demo
def test_a_pair_more_steers_its_source_alone(finished, tmp_path):
    """Of German the outputs are there. The pair of another source is two jobs, one of each task."""
    change = Change(finished, scratch=tmp_path)
    one, two = (
        ("--config", f"steering={{pairs: [{pairs}]}}")
        for pairs in ("[deu,jpn]", "[deu,jpn],[jpn,cmn]")
    )
    touched = snakemake(change.own(), "--touch", "--quiet", "all", *one)
    assert touched.returncode == 0, touched.stderr
    assert planned(change.run, *one) == {}
    for path in change.run.glob("results/demo/steering/texts/*/jpn/*.parquet"):
        path.unlink()
    change.options += two
    assert_row(
        rows("A pair more")["a pair of another source joins `steering.pairs`"], change.jobs()
    )


@pytest.fixture(scope="module")
def spoken(finished, tmp_path_factory) -> Change:
    """The demo's files as if XTTS had spoken and a model from the hub encoded them."""
    run = own_copy(finished, tmp_path_factory.mktemp("xtts") / "run")
    (run / "xtts").mkdir()
    for name in FILES_OF_XTTS:
        (run / "xtts" / name).write_text("some")
    (run / "resources").unlink()
    (run / "resources" / "fetched" / "models").mkdir(parents=True)
    for path in (ROOT / "resources").iterdir():
        if path.name != "fetched":
            (run / "resources" / path.name).symlink_to(path)
    for commit in COMMITS.values():
        (run / "resources" / "fetched" / "models" / list_name("facebook/model", commit)).touch()
    options = ["--config", xtts(run / "xtts"), hub("A")]
    targets = [f"results/demo/encoder/speech/{lang}.zarr/zarr.json" for lang in ("deu", "cmn")]
    made = snakemake(run, *targets, "--touch", "--quiet", "all", *options)
    assert made.returncode == 0, made.stderr
    return Change(run, options=[*options, "--", *targets])


@pytest.mark.demo
@pytest.mark.parametrize("row", XTTS)
def test_with_xtts_a_change_redoes_what_the_page_says(spoken, tmp_path, row):
    start = spoken.options.index("--")
    change = Change(spoken.run, options=spoken.options[:start], scratch=tmp_path)
    XTTS[row](change)
    change.options += spoken.options[start:]
    assert_row(rows("With XTTS and a model from the hub")[row], change.jobs())


def test_dtype_is_known_where_the_device_is():
    """cuda and cuda:1 are one; of "auto" on "auto" nothing is known before a job runs."""
    one = {"path": "p", "revision": None}
    identities = {
        (dtype, device): model_identity(one | {"dtype": dtype, "device": device}, "12")["dtype"]
        for dtype in ("auto", "float32")
        for device in ("auto", "cpu", "cuda", "cuda:1")
    }
    assert identities["auto", "cpu"] == identities["float32", "cuda"] == "float32"
    assert identities["auto", "cuda"] == identities["auto", "cuda:1"] == "float16"
    assert identities["auto", "auto"] == "auto"


def test_a_checkpoint_is_its_content_or_name_and_revision():
    assert checkpoint_identity("a", None, "12") == checkpoint_identity("b", "c" * 40, "12") == "12"
    assert checkpoint_identity("a/b", "c", "") == "a/b@c"
    section = {"path": "a/b", "revision": "c", "speaker": "A", "device": "cpu", "accept_cpml": True}
    assert voice_identity(section, "") == {"path": "a/b", "revision": "c", "speaker": "A"}
    assert voice_identity(section, "12") == {"digest": "12", "speaker": "A"}


def test_pins_are_those_of_the_environment():
    torch = pinned(ROOT / "envs" / "torch.yaml", "torch", "transformers")
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    for name, version in torch.items():
        assert any(one.startswith(f"{name}=={version}.") for one in lines)
    with pytest.raises(ValueError, match=r"torch.yaml: expected a pin of coqui-tts"):
        pinned(ROOT / "envs" / "torch.yaml", "coqui-tts")
