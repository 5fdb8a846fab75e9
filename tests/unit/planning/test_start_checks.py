"""What is looked at when a run starts: bytes against free space, and who is asked for a GPU."""

import json
import re
import shutil
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from finished_demo import snakemake
from fleurs_files import LANGUAGES, line, write_split
from made_stores import NEURONS, write_store

from steplens.config.files import read_settings
from steplens.config.run import parse_config
from steplens.errors import ConfigError, DiskSpaceError, StoreError, TableError
from steplens.files import disk_space, table_metadata
from steplens.files.atomic import write_csv, write_json, write_text
from steplens.files.disk_space import MARGIN_BYTES, in_words, require_space
from steplens.files.table_metadata import (
    Origin,
    file_sha256,
    metadata_of,
    metadata_path,
    settings_of,
)
from steplens.planning import start_checks
from steplens.planning.model import published_model
from steplens.planning.start_checks import (
    check_start,
    notes,
    require_common_sentences,
    require_gpus,
    require_neurons,
    require_same_settings,
    require_stores,
    require_tables,
    run_bytes,
    unscored,
)
from steplens.planning.work import Sentences, disk_bytes

Usage = namedtuple("Usage", "total used free")
Job = namedtuple("Job", "rule wildcards output input params", defaults=[(), {}])
Rule = namedtuple("Rule", "name")
PAPER = {
    "model": {"path": "facebook/seamless-m4t-v2-large", "revision": "0" * 40},
    "corpus": {"n_utterances": 1000},
    "speech": {"engine": "recorded", "other_engine": "espeak"},
}


@pytest.fixture
def free(monkeypatch):
    """Says how many bytes are free."""

    def say(n_bytes):
        monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: Usage(0, 0, n_bytes))

    return say


def test_a_byte_too_few_is_refused(free, tmp_path):
    """With the margin that is left to others; the folder need not be there."""
    free(5 * 10**9 + MARGIN_BYTES)
    require_space(tmp_path / "a" / "b.zarr", 5 * 10**9, "the store")
    with pytest.raises(
        DiskSpaceError, match=r"expected 5\.3 GB free for the store, got 5\.3 GB on"
    ):
        require_space(tmp_path / "a" / "b.zarr", 5 * 10**9 + 1, "the store")
    assert list(tmp_path.iterdir()) == []


def test_bytes_are_said_as_people_say_them():
    assert [in_words(n) for n in (5e3, 2.5e6, 1e9, 3.21e12)] == [
        "5 kB", "2.5 MB", "1.0 GB", "3.2 TB",
    ]  # fmt: skip


def paper():
    config = parse_config(PAPER)
    engines = dict.fromkeys(config.languages, "recorded")
    return config, published_model("seamless-m4t-v2-large"), engines


WHOLE = {
    "speech_recorded": 5, "encode_speech": 5, "encode_text": 5, "capture": 60, "rank_encoder": 2,
    "rank_decoder": 12, "other_speech_espeak": 5, "other_encode_speech": 5, "other_capture": 30,
    "other_rank_encoder": 1, "other_rank_decoder": 6, "corpus": 5, "decode": 20, "report": 1,
    "rank_modality": 6, "measure_inequality": 60, "measure_inequality_encoder": 10,
}  # fmt: skip


def test_a_whole_run_is_as_large_as_the_plan_says():
    """Every rule counts as often as it runs; stores after the codec, audio and tables as they are."""
    config, model, engines = paper()
    sentences = {
        language: Sentences.of_length(config, engine, 130.0) for language, engine in engines.items()
    }
    planned = disk_bytes(config, model, sentences, engines, "float32")
    as_it_is = sum(
        n
        for rule, n in planned.items()
        if ("speech_" in rule and "encode" not in rule) or rule.startswith("measure_")
    )
    stores = sum(planned.values()) - as_it_is
    assert set(planned) <= set(WHOLE)
    found = run_bytes(config, model, engines, WHOLE)
    assert found == pytest.approx(as_it_is + 0.86 * stores)
    for rule in planned:
        one = run_bytes(config, model, engines, {rule: 1})
        assert one > 0
        assert run_bytes(config, model, engines, {rule: WHOLE[rule]}) == pytest.approx(
            one * WHOLE[rule]
        )
    assert run_bytes(config, model, engines, {}) == 0


def test_what_is_made_anew_frees_what_was_there(free, tmp_path, monkeypatch):
    """A disk that just holds the run can hold it again."""
    config, model, engines = paper()
    store = tmp_path / "results" / "decoder" / "s2t" / "deu" / "step-01.zarr"
    store.mkdir(parents=True)
    with (store / "c.0.0").open("wb") as file:
        file.truncate(2 * 10**9)
    (store / "zarr.json").write_text("{}")
    needed = run_bytes(config, model, engines, {"capture": 1})
    assert 0.8e9 < needed < 2e9
    free(MARGIN_BYTES)
    job = Job(Rule("capture"), None, [str(store / "zarr.json")])
    monkeypatch.setattr(start_checks, "find_model", lambda *_: model)
    assert check_start(config, engines, [job], tmp_path / "results", True) == []
    shutil.rmtree(store)
    with pytest.raises(DiskSpaceError, match="the 1 jobs of this run"):
        check_start(config, engines, [job], tmp_path / "results", True)


@pytest.mark.parametrize("rules", [{"corpus", "rank_decoder", "report"}, {"speech_espeak"}])
def test_no_gpu_is_asked_for_where_none_is_used(monkeypatch, rules):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    require_gpus(parse_config({"model": {"device": "cuda"}}), rules)


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_no_gpu_is_asked_for_where_a_cpu_will_do(monkeypatch, device):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    require_gpus(parse_config({"model": {"device": device}}), {"encode_text", "other_capture"})


def test_a_k_that_nothing_uses_may_be_any():
    """A run up to the rankings."""
    config, model, _ = paper()
    config = parse_config(PAPER | {"comparison": {"k": 10**6}, "steering": {"k": 10**6}})
    require_neurons(config, model, {"capture", "rank_decoder"})


def test_two_scripts_and_greedy_decoding_need_no_word():
    assert notes(parse_config({})) == []


def test_stores_of_another_format_are_refused_before_the_first_job(tmp_path):
    """Those that are read; not those that are made anew, and none that is sound."""
    marks = [write_store(tmp_path / f"{one}.zarr", np.ones((3, len(NEURONS)))) / "zarr.json"
             for one in ("deu", "fra", "jpn", "spa")]  # fmt: skip
    for mark in marks[1:]:
        root = json.loads(mark.read_text())
        root["attributes"]["format_version"] = 2
        mark.write_text(json.dumps(root))
    again = Job(Rule("capture"), None, [str(marks[3])])
    require_stores([again, Job(Rule("rank_decoder"), None, ["r"], [str(marks[0]), str(marks[3])])])
    rank = Job(Rule("rank_decoder"), None, ["r"], [str(one) for one in marks])
    with pytest.raises(StoreError) as refused:
        require_stores([again, rank])
    told, command = str(refused.value).splitlines()
    assert told.startswith(f"{tmp_path}/fra.zarr: format_version: expected 3, got 2")
    assert "run the workflow again. Of 2 this is the first" in told
    assert command == f"rm -r {tmp_path}/fra.zarr {tmp_path}/jpn.zarr"


def test_snakemake_refuses_a_run_over_stores_of_another_format(tmp_path):
    """Before its first job, by the path of the store, where file times alone would take it as it is."""
    for name in ("config", "resources"):
        (tmp_path / name).symlink_to(ROOT / name)
    results = tmp_path / "results" / "demo"
    (results / "corpus").mkdir(parents=True)
    (results / "corpus" / "deu.parquet").touch()
    path = write_store(results / "encoder" / "text" / "deu.zarr", np.ones((3, len(NEURONS))))
    root = json.loads((path / "zarr.json").read_text())
    root["attributes"]["format_version"] = 2
    (path / "zarr.json").write_text(json.dumps(root))
    table = "results/demo/decoding/tr/deu.parquet"
    result = snakemake(tmp_path, table, "--rerun-triggers", "mtime")
    text = result.stdout + result.stderr
    assert result.returncode != 0
    assert "Traceback" not in text
    assert "results/demo/encoder/text/deu.zarr: format_version: expected 3, got 2" in text
    assert "rm -r results/demo/encoder/text/deu.zarr" in text
    assert not (results / "logs").exists()
    assert not (tmp_path / table).exists()


def test_tables_without_metadata_are_refused_before_the_first_job(tmp_path):
    """Those that are read, of a version that wrote none; not those that are made anew."""
    tables = [tmp_path / f"{one}.csv" for one in "abcd"]
    for table in tables:
        write_csv(pd.DataFrame({"x": [1]}), table)
    for table in tables[1:]:
        metadata_path(table).unlink()
    again = Job(Rule("locate"), None, [str(tables[3])])
    require_tables([again, Job(Rule("figure"), None, [], [str(tables[0]), str(tables[3])])])
    figure = Job(Rule("figure"), None, [], [str(one) for one in tables])
    with pytest.raises(TableError) as refused:
        require_tables([again, figure])
    told, command = str(refused.value).splitlines()
    assert told.startswith(f"{tables[1]}: expected b.csv-metadata.json beside it")
    assert "an earlier version wrote the table" in told
    assert "Of 2 this is the first" in told
    assert command == f"rm {tables[1]} {tables[2]}"


def made_under(path, params, monkeypatch):
    """A table, or the commit mark of a store, with the settings among these parameters."""
    monkeypatch.setattr(table_metadata, "_origin", Origin(path.parent, "any", settings_of(params)))
    if path.suffix == ".csv":
        write_csv(pd.DataFrame({"x": [1]}), path)
    else:
        write_text(path, "{}")
        write_json(metadata_path(path), metadata_of(path, file_sha256(path)))
    return str(path)


@pytest.mark.parametrize("name", ["location.csv", "deu.parquet", "deu.zarr/zarr.json"])
def test_what_other_settings_made_is_refused(tmp_path, monkeypatch, name):
    """By table, setting, expected, got and what to do; code and what says nothing of settings is not."""
    path = made_under(tmp_path / name, {"k": 50, "code": "a"}, monkeypatch)
    silent = str(tmp_path / "silent.csv")

    def job(**params):
        return Job(Rule("locate"), None, [path, silent, "figure.svg"], [], params)

    require_same_settings([job(k=50, code="b"), job(k=50)])
    with pytest.raises(TableError, match=f"^{re.escape(path)}: made under other settings: k: expected 10, "
                                         "got 50.*--rerun-triggers mtime"):  # fmt: skip
        require_same_settings([job(k=10)])


@pytest.mark.parametrize("more", [[], ["--rerun-triggers", "mtime"]], ids=["as it is", "mtime"])
def test_snakemake_puts_no_table_under_other_settings(tmp_path, monkeypatch, more):
    """It makes it again; told to heed file times alone, or without what it knows of past jobs, it says so."""
    for name in ("config", "resources"):
        (tmp_path / name).symlink_to(ROOT / name)
    table = tmp_path / "results" / "demo" / "comparison" / "location.csv"
    made_under(table, {"k": 50}, monkeypatch)
    figure = "results/demo/figures/figure2.svg"
    result = snakemake(tmp_path, figure, "--config", "comparison={k: 60}", *more)
    text = result.stdout + result.stderr
    assert result.returncode != 0
    assert "Traceback" not in text
    (told,) = [one for one in text.splitlines() if "made under other settings" in one]
    assert "results/demo/comparison/location.csv" in told
    assert "k: expected 60, got 50" in told
    assert not (tmp_path / figure).exists()


def parallel(folder, ids_of, **settings):
    """A configuration over a corpus of these ids by language."""
    for code, ids in ids_of.items():
        write_split(folder, LANGUAGES[code], "test", [line(one) for one in ids])
    corpus = {"path": str(folder), "n_utterances": 4} | settings.pop("corpus", {})
    return parse_config(
        {"languages": [*ids_of], "corpus": corpus, "steering": {"n_utterances": 2}} | settings
    )


RANKED = {"rank_decoder", "corpus"}


def test_languages_without_a_common_sentence_are_refused_by_name(tmp_path):
    """With their numbers and files; whatever follows from one language alone may run."""
    config = parallel(tmp_path, {"deu": range(4), "fra": range(2, 6), "spa": range(90, 94)})
    require_common_sentences(config, {"corpus", "encode_text", "capture"})
    with pytest.raises(ConfigError) as refused:
        require_common_sentences(config, RANKED)
    told = str(refused.value)
    assert told.startswith("languages: expected at least 1 of a run's sentences in common")
    files = {one: tmp_path / "data" / LANGUAGES[one].fleurs / "test.tsv" for one in ("deu", "spa")}
    assert (
        f"got 0 of deu (4 sentences, {files['deu']}) and spa (4 sentences, {files['spa']})" in told
    )
    assert "too few in 2 of 3 pairs" in told
    assert "corpus.parallel_over" in told


def test_those_count_that_the_run_takes(tmp_path):
    """Of two files that share many sentences, two small draws may share none; parallel_over mends it."""
    ids = {"deu": range(300), "fra": range(299, 600)}
    require_common_sentences(parallel(tmp_path, {"deu": range(9), "fra": range(9)}), RANKED)
    with pytest.raises(ConfigError, match="got 0 of deu"):
        require_common_sentences(parallel(tmp_path, ids), RANKED)
    ids["fra"] = range(296, 600)
    both = {"parallel_over": ["deu", "fra"]}
    require_common_sentences(parallel(tmp_path, ids, corpus=both), RANKED)


def test_similarity_needs_more_common_sentences_than_one(tmp_path):
    ids = {"deu": range(8), "fra": range(5, 13)}
    settings = {"corpus": {"n_utterances": 8}, "similarity": {"sentences_per_component": 3}}
    require_common_sentences(parallel(tmp_path, ids, **settings), {"similarity_encoders"})
    settings["similarity"] = {"sentences_per_component": 4}
    require_common_sentences(parallel(tmp_path, ids, **settings), RANKED)
    with pytest.raises(ConfigError, match=r"at least 4 .*sentences_per_component\), got 3 of deu"):
        require_common_sentences(parallel(tmp_path, ids, **settings), {"similarity_encoders"})


def test_translations_without_a_reference_are_told(tmp_path):
    """By their languages, where anything is to be scored."""
    write_split(tmp_path, LANGUAGES["eng"], "test", [line(one) for one in range(3)])
    config = parallel(tmp_path, {"deu": range(4), "fra": range(3, 7)})
    (note,) = unscored(config, {"recognition"})
    assert "expected the sentences of fra in English (eng) too, got none" in note
    assert unscored(config, {"rank_decoder"}) == []
    write_split(tmp_path, LANGUAGES["eng"], "test", [line(one) for one in range(9)])
    assert unscored(config, {"recognition"}) == []


def test_the_demo_can_start_in_any_folder(monkeypatch, tmp_path):
    """Its relative paths are the project's, and not those of the folder that Snakemake works in."""
    monkeypatch.chdir(tmp_path)
    config = parse_config(read_settings([ROOT / "config" / "config.yaml"]))
    of_language = [
        Job(Rule(rule), SimpleNamespace(lang=code), [f"results/demo/{rule}/{code}.parquet"])
        for rule in ("corpus", "speech_espeak") for code in config.languages
    ]  # fmt: skip
    others = [
        Job(Rule(rule), None, []) for rule in ("recognition", "rank_decoder", "similarity_encoders")
    ]
    engine_of = dict.fromkeys(config.languages, "espeak")
    check_start(config, engine_of, [*of_language, *others], Path("results/demo"), True)


@pytest.mark.parametrize("rule", ["plan", "verify"])
def test_what_only_reads_needs_no_space_and_no_leave_to_write(free, rule):
    """Results on a full disk, or on one mounted read-only, can be verified: /proc takes no file."""
    free(0)
    results = Path("/proc/results")
    assert check_start(parse_config({}), {}, [Job(Rule(rule), None, [])], results, True) == []
    with pytest.raises(ConfigError, match="can be written to"):
        check_start(parse_config({}), {}, [Job(Rule("rank_decoder"), None, [])], results, True)


def test_of_a_corpus_on_the_hub_nothing_is_asked_before_it_is_there():
    config = parse_config({"corpus": {"path": "google/fleurs", "revision": "0" * 40}})
    require_common_sentences(config, RANKED)


def test_snakemake_says_it_in_one_line_and_runs_nothing(tmp_path):
    """Before any job, with nothing left behind: here of a corpus that a job would refuse later."""
    lines = [line(n) for n in range(1, 9)]
    for code in ("deu", "fra", "eng"):
        write_split(tmp_path / "fleurs", LANGUAGES[code], "test", lines)
    write_split(tmp_path / "fleurs", LANGUAGES["fra"], "test", [*lines, "9\tcut off"])
    for name in ("config", "resources"):
        (tmp_path / name).symlink_to(ROOT / name)
    result = snakemake(
        tmp_path, "--config", "languages=[deu,fra]", "steering={n_utterances: 4}",
        f"corpus={{path: {tmp_path / 'fleurs'}, n_utterances: 4}}",
    )  # fmt: skip
    text = result.stdout + result.stderr
    assert result.returncode != 0
    assert "Traceback" not in text
    (told,) = [one for one in text.splitlines() if "expected 7 fields" in one]
    assert "fr_fr/test.tsv:9: expected 7 fields separated by tabs, got 2" in told
    assert "fetch the file again" in told
    assert not list((tmp_path / "results").rglob("*.parquet"))
