"""Where results lie: paths and their recognition come from one declaration."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from steplens.config.studies import StudyName
from steplens.run.layout import (
    _FIELDS,
    COMMIT_MARK,
    RESULTS,
    STUDIES,
    RunLayout,
    place_of,
    written_last,
)
from steplens.store import groups

LAYOUT = RunLayout(Path("results/demo"))
# A value of every field whose values are no names.
VALUES = {
    "language": "deu", "step": 6, "number": 7, "name": "a/b",
    "part": f"{'0' * 32}/part-000001.parquet",
}  # fmt: skip
STUDY_TABLES = {f"{study}_table" for study in STUDIES}


def given(result: str, layout: RunLayout = LAYOUT, wildcards: bool = False) -> list[Path]:
    """What the method of a result gives, for every name that a field may have."""
    method = getattr(type(layout), result, None)
    if isinstance(method, property):
        return [getattr(layout, result)]
    if result in STUDY_TABLES:
        study = result.removesuffix("_table")
        return [layout.study_table(study, name) for name in _FIELDS[result]]
    # Parameters have the names of fields, but where a method has one of its own.
    fields = {"utterance": "number"}
    if result.endswith(("table", "sources")):
        fields["name"] = result if result.endswith("table") else "sources_table"
    names = [fields.get(one, one) for one in list(inspect.signature(method).parameters)[1:]]
    if wildcards:
        return [method(layout, *(f"{{{name}}}" for name in names))]
    allowed = [_FIELDS[name] if name not in VALUES else (VALUES[name],) for name in names]
    widest = max(map(len, allowed))
    return [method(layout, *(one[row % len(one)] for one in allowed)) for row in range(widest)]


@pytest.mark.parametrize("result", RESULTS)
def test_every_path_that_the_layout_gives_is_recognised(result):
    for path in given(result):
        place = place_of(path.relative_to(LAYOUT.root).as_posix())
        assert place is not None, path
        assert place.what == RESULTS[result].kind
        assert not place.other_speech


@pytest.mark.parametrize("result", RESULTS)
def test_the_speech_half_holds_results_of_speech_and_no_others(result):
    half = LAYOUT.other_speech
    if not RESULTS[result].of_speech:
        with pytest.raises(ValueError, match="holds the speech half of a run alone"):
            given(result, half)
        return
    for path in given(result, half):
        assert place_of(path.relative_to(LAYOUT.root).as_posix()).other_speech


@pytest.mark.parametrize("result", sorted(set(RESULTS) - STUDY_TABLES))
def test_wildcards_of_rules_stay_as_they_are(result):
    (path,) = given(result, wildcards=True)
    within = path.relative_to(LAYOUT.root).as_posix()
    assert within == RESULTS[result].pattern


def test_every_method_gives_a_declared_result():
    methods = {name for name in vars(RunLayout) if not name.startswith("_")}
    other = {"root", "half", "other_speech", "study_table", "folder", "find"}
    assert methods - other == set(RESULTS) - STUDY_TABLES


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (LAYOUT.decoder_store("asr", "deu", 1), "decoder/asr/deu/step-01.zarr"),
        (LAYOUT.decoder_store("asr", "deu", "1"), "decoder/asr/deu/step-01.zarr"),
        (LAYOUT.decoder_store("{task}", "{lang}", "{tt}"), "decoder/{task}/{lang}/step-{tt}.zarr"),
        (LAYOUT.decoder_ranking("tr", 100), "ranking/decoder/tr/step-100.zarr"),
        (LAYOUT.study_table("causal", "ties"), "causal/ties.csv"),
        (LAYOUT.comparison_table("speech_sources{end}"), "comparison/speech_sources{end}.csv"),
        (LAYOUT.encoder_sources("overlap", "speech_encoder"),
         "comparison/speech_sources/speech_encoder/step-00/overlap.csv"),
        (LAYOUT.figure(4, "svg"), "figures/figure4.svg"),
        (LAYOUT.log("steer/asr/deu"), "logs/steer/asr/deu.log"),
        (LAYOUT.other_speech.speech_quality, "other_speech/tables/speech_quality.csv"),
        (LAYOUT.folder("decoder_store"), "decoder"),
        (LAYOUT.folder("encoder_store", modality="text"), "encoder/text"),
        (LAYOUT.folder("report"), "report.html"),
    ],
)  # fmt: skip
def test_paths(path, expected):
    assert path == LAYOUT.root / expected


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: LAYOUT.decoding("st", "deu"), "task: expected one of s2t, t2t, asr, tr, got 'st'"),
        (lambda: LAYOUT.corpus("de"), "language: expected an ISO 639-3 code such as deu, got 'de'"),
        (lambda: LAYOUT.decoder_ranking("asr", -1), "step: expected a decoding step, from 1, got -1"),
        (lambda: LAYOUT.step_table("location", 1), "step_table: expected one of overlap, "),
        (lambda: LAYOUT.study_table("gender", "gini"), "study: expected one of modality, "),
        (lambda: LAYOUT.figure(4, "pdf"), "image: expected one of svg, png, got 'pdf'"),
    ],
)  # fmt: skip
def test_a_value_that_no_result_has_is_refused(call, words):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value).startswith(words)


def test_what_lies_on_disk_is_found_with_its_fields(tmp_path):
    layout = RunLayout(tmp_path)
    for task, step in (("asr", 11), ("asr", 1), ("tr", 1)):
        layout.decoder_store(task, "deu", step).mkdir(parents=True)
    (tmp_path / "decoder" / "asr" / "deu" / "step-xy.zarr").mkdir()
    found = list(layout.find("decoder_store", language="deu", task="asr"))
    assert [path for path, _ in found] == [layout.decoder_store("asr", "deu", n) for n in (1, 11)]
    assert found[1][1] == {"task": "asr", "language": "deu", "step": "11"}
    assert list(layout.find("decoder_store", language="fra")) == []


def test_a_store_is_there_with_its_commit_mark():
    assert COMMIT_MARK == groups.COMMIT_MARK
    store = LAYOUT.encoder_store("text", "deu")
    assert written_last(store) == store / COMMIT_MARK
    assert written_last(LAYOUT.report) == LAYOUT.report


def test_the_studies_are_those_of_the_configuration():
    assert StudyName.__args__ == STUDIES


def test_the_layout_imports_nothing_heavy():
    """Rules load it at every start of Snakemake."""
    heavy = "{'numpy', 'pandas', 'zarr', 'xarray', 'torch', 'pydantic'}"
    code = f"import sys, steplens.run.layout; print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "workflow", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "set()"
