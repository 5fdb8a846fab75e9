"""``open_run``: results by what they are, and errors that say what is there."""

import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from made_stores import NEURONS, write_store
from made_up_run import frames

from steplens.errors import RunError
from steplens.files import table_metadata
from steplens.files.atomic import TableError, write_csv, write_json, write_parquet, write_text
from steplens.ranking.table import Ranking, write_ranking
from steplens.run.layout import RunLayout
from steplens.run.open import open_run

LANGUAGES = ["jpn", "deu"]
CONFIG = {
    "languages": LANGUAGES, "steps": [6, 1], "seed": 3,
    "ranking": {"ties": "column", "scope": "module"},
}  # fmt: skip
RNG = np.random.default_rng(5)
AP = RNG.uniform(0.2, 0.9, (2, len(NEURONS))).round(12)
AP[1, [3, 7, 11]] = 1.0, 1.0, 0.95  # German's best, of which the first two are equal
SEPARATION = np.zeros_like(AP)
SEPARATION[1, [3, 7]] = 1.0, 2.0


def write_report(layout: RunLayout) -> None:
    """A report, and beside it the configuration, as its rule leaves them."""
    table_metadata.begin(table_metadata.Origin(layout.root, "report", {"settings": CONFIG}))
    try:
        write_text(layout.report, "<html></html>\n")
        told = table_metadata.metadata_of(layout.report, table_metadata.file_sha256(layout.report))
        write_json(table_metadata.metadata_path(layout.report), told)
    finally:
        table_metadata.begin(None)


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory):
    """A small run before its report: tables, two stores, a ranking, texts."""
    layout = RunLayout(tmp_path_factory.mktemp("results") / "small")
    for name, frame in frames().items():
        write_csv(frame, layout.root / name)
    activation = RNG.normal(size=(4, len(NEURONS)))
    for step in (1, 6):
        path = layout.decoder_store("asr", "deu", step)
        write_store(path, activation, np.ones(4, bool), language="deu", task="asr", step=step)
    path = layout.encoder_store("text", "deu")
    write_store(path, activation, modality="text")
    condition = {"module": "decoder", "task": "asr", "step": 6}
    ranking = Ranking(
        LANGUAGES, AP, np.ones(AP.shape, np.float32), np.array([4, 4]), NEURONS,
        separation=SEPARATION,
    )  # fmt: skip
    write_ranking(layout.decoder_ranking("asr", 6), ranking, condition)
    decoded = pd.DataFrame({"utterance": [4, 9], "text": ["ja", "nein"]})
    decoded.attrs = {"task": "asr", "language": "deu"}
    write_parquet(decoded, layout.decoding("asr", "deu"))
    steered = decoded.assign(source="deu", target="jpn", step=6)
    steered.attrs = {"task": "asr", "source": "deu", "step": 6}
    write_parquet(steered, layout.steered_texts("asr", "deu", 6))
    sentences = pd.DataFrame({"utterance": [4, 9]})
    for language in LANGUAGES:
        sentences.attrs = {"language": language}
        write_parquet(sentences, layout.corpus(language))
    return layout


@pytest.fixture(scope="module")
def run(unfinished, tmp_path_factory):
    """The same, finished."""
    layout = RunLayout(tmp_path_factory.mktemp("results") / "small")
    shutil.copytree(unfinished.root, layout.root)
    write_report(layout)
    return open_run(layout.root)


def test_a_finished_run_knows_its_configuration(run):
    assert run.config == CONFIG
    assert run.languages == LANGUAGES
    assert run.steps == [1, 6]
    assert run.tasks == ["asr"]
    assert run.model == {"model": "made up", "revision": "r1"}


def test_an_unfinished_run_knows_what_is_on_disk(unfinished):
    run = open_run(str(unfinished.root))
    assert run.config is None
    assert run.languages == sorted(LANGUAGES)
    assert run.steps == [1, 6]
    assert "report     none yet" in repr(run)


def test_an_empty_run_has_nothing_yet(tmp_path):
    (tmp_path / "run" / "corpus").mkdir(parents=True)
    run = open_run(tmp_path / "run")
    assert (run.languages, run.steps, run.tasks, run.tables, run.model) == ([], [], [], [], {})
    assert "model      no store yet" in repr(run)
    with pytest.raises(RunError, match=r"no decoding of this run is there yet$"):
        run.texts("asr", "deu")


def test_the_summary_of_a_run_names_what_a_user_asks_for(run):
    assert repr(run).splitlines() == [
        f"Run {run.layout.root}",
        "  model      made up",
        "  languages  jpn, deu",
        "  tasks      asr",
        "  steps      1, 6",
        "  stores     1 of encoders, 2 of the decoder",
        "  rankings   0 of encoders, 1 of the decoder",
        f"  tables     {len(frames())}, such as comparison/learning_curve, comparison/location",
        f"  report     {run.layout.report}",
    ]


def test_stores_are_opened_by_task_or_modality(run):
    data = run.store("asr", "deu", step=6)
    assert data["activation"].shape == (4, len(NEURONS))
    assert (data.attrs["task"], data.attrs["step"]) == ("asr", 6)
    assert run.store("text", "deu").attrs["modality"] == "text"


def test_the_top_neurons_are_those_that_the_run_would_choose(run, unfinished):
    """The configuration orders ties by column; without it the default is separation."""
    ranking = run.ranking("asr", step=6)
    top = ranking.top("deu", k=3)
    assert list(top.index) == [3, 7, 11]
    assert list(top["ap"]) == [1.0, 1.0, 0.95]
    assert top["unit"].tolist() == NEURONS["unit"].iloc[[3, 7, 11]].tolist()
    assert list(top.columns) == [
        "layer", "submodule", "unit", "step_invariant", "ap", "separation", "median",
    ]  # fmt: skip
    assert list(open_run(unfinished.root).ranking("asr", step=6).top("deu", k=3).index) == [
        7,
        3,
        11,
    ]
    first = ranking.top("deu", k=1)
    assert first.attrs == {
        "module": "decoder", "task": "asr", "step": 6, "language": "deu",
        "decided_by_tie": 1, "tied": 2,
    }  # fmt: skip
    assert ranking.bottom("jpn", k=2)["ap"].tolist() == sorted(AP[0])[:2]
    assert repr(ranking) == (
        f"Ranking of module decoder, task asr, step 6: {len(NEURONS):,} neurons for 2 languages (jpn, deu)"
    )


def test_tables_are_read_as_they_were_written(run):
    assert run.tables == sorted(name.removesuffix(".csv") for name in frames())
    expected = frames()["comparison/overlap_summary.csv"]
    for name in ("comparison/overlap_summary", "overlap_summary", "overlap_summary.csv"):
        pd.testing.assert_frame_equal(run.table(name), expected, check_exact=False)


def test_a_table_of_all_steps_comes_before_those_of_single_steps(unfinished, tmp_path):
    layout = RunLayout(shutil.copytree(unfinished.root, tmp_path / "small"))
    write_csv(pd.DataFrame({"step": [1]}), layout.step_table("sensitivity", 1))
    run = open_run(layout.root)
    assert len(run.table("sensitivity")) > 1
    assert len(run.table("step-01/sensitivity")) == 1


def test_texts_are_decoded_sentences_or_steered_outputs(run):
    assert run.texts("asr", "deu")["text"].tolist() == ["ja", "nein"]
    assert run.texts("asr", "deu", step=6)["target"].tolist() == ["jpn", "jpn"]
    assert run.corpus("deu")["utterance"].tolist() == [4, 9]


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda run: run.store("asr", "deu", step=2),
         "expected the decoder store of task asr, language deu, step 2, got none; there are those of "
         "task asr; language deu; step 1, 6"),
        (lambda run: run.store("asr", "deu"), "step: expected one of 1, 6 for task asr, got none"),
        (lambda run: run.store("text", "deu", step=1), "step: expected none for the text encoder, got 1"),
        (lambda run: run.store("st", "deu", step=1),
         "expected a task or a modality, one of s2t, t2t, asr, tr, speech, text, got 'st'"),
        (lambda run: run.store("text", "german"), "language: expected an ISO 639-3 code such as deu"),
        (lambda run: run.ranking("speech"), "no encoder ranking of this run is there yet"),
        (lambda run: run.ranking("asr", step=6).top("spa", 1),
         "language: expected one of jpn, deu, got 'spa'"),
        (lambda run: run.texts("tr", "deu", step=6), "there are those of task asr; language deu; step 6"),
        (lambda run: run.table("overlap_sumary"),
         "such as comparison/overlap_summary"),
        (lambda run: run.table("modality/probes"), "got 'modality/probes', a table that is not there yet"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_an_error_that_says_what_is(run, ask, words):
    with pytest.raises(RunError) as error:
        ask(run)
    assert words in str(error.value)


def test_a_folder_without_results_is_refused(run, tmp_path):
    results = run.layout.root.parent
    with pytest.raises(RunError, match=f"got no such folder; runs in {results}: small$"):
        open_run(results / "smal")
    with pytest.raises(RunError, match=f"got a folder without any; runs in {results}: small$"):
        open_run(results)
    with pytest.raises(RunError, match=r"got a folder without any$"):
        open_run(tmp_path)


def test_a_table_that_was_changed_by_hand_is_refused(unfinished, tmp_path):
    layout = RunLayout(shutil.copytree(unfinished.root, tmp_path / "small"))
    path = layout.table("table5")
    path.write_text(path.read_text().replace("64", "65", 1))
    with pytest.raises(TableError, match="damaged, or changed by hand"):
        open_run(layout.root).table("table5")


@pytest.mark.demo
def test_the_finished_demo_opens():
    run = open_run(ROOT / "results" / "demo")
    assert run.languages == ["deu", "spa", "fra", "cmn", "jpn"]
    assert run.tasks == ["s2t", "t2t", "asr", "tr"]
    assert run.steps == [1, 6, 11]
    assert run.config["run"] == "demo"
    assert (
        run.store("asr", "deu", step=1).sizes["utterance"] == run.config["corpus"]["n_utterances"]
    )
    top = run.ranking("asr", step=1).top("deu", k=400)
    assert len(top) == 400
    assert top["ap"].is_monotonic_decreasing
    assert run.table("comparison/overlap_summary")["step"].tolist() == [1, 6, 11]
    assert set(run.texts("asr", "deu", step=6)["control"]) >= {"steered", "random"}
    for name in run.tables:
        run.table(name)
