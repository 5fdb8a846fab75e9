"""Paths of results are written in ``run/layout.py`` alone.

Package, scripts and rules are searched for what looks like the path of a result, or like a part of one: a
file name with an ending that results have, a path below a folder of results, or such a folder that something
is joined with.
"""

import re

import pytest
from conftest import ROOT

from steplens.run.layout import OTHER_SPEECH, RESULTS

WORKFLOW = ROOT / "workflow"
LAYOUT = WORKFLOW / "steplens" / "run" / "layout.py"
FILES = [
    ROOT / "Snakefile",
    *sorted(path for kind in ("*.py", "*.smk") for path in WORKFLOW.rglob(kind) if path != LAYOUT),
]
_PATTERNS = [one.pattern for one in RESULTS.values() if "/" in one.pattern]
FOLDERS = {OTHER_SPEECH, *(pattern.split("/")[0] for pattern in _PATTERNS)}
ENDINGS = (".csv", ".parquet", ".zarr", ".wav", ".jsonl")
NAMES = {"report.html", "zarr.json", "first_attempts.json", "generated.json"}
# File to literals, and why they may stand there.
ALLOWED = {
    "corpus/fleurs.py": (
        {"*.parquet", "*/*.parquet", "*.wav"},
        "files of FLEURS, which are no results",
    ),
    "speech/speak.py": (
        {"takes.jsonl", "{}.wav", "*.wav"},
        "what lies beside the table that the rule declares, in a folder that the rule hands over",
    ),
    "speech/quality.py": ({"first_attempts.json"}, "as speech/speak.py"),
    "run/result_checks.py": ({"*.wav"}, "looks for audio that the table beside it does not list"),
    "steering/kept_outputs.py": (
        {"generated.json", "part-{}.parquet"},
        "names of its own within a folder that it is given, of several stages",
    ),
    "store/groups.py": ({"zarr.json"}, "defines the commit mark; a test holds the layout's to it"),
    "store/conditions.py": ({"zarr.json"}, "runs where zarr is not installed"),
    "files/table_metadata.py": ({"zarr.json"}, "a kind of file among others, by its ending"),
}


def texts(source: str) -> list[tuple[str, bool]]:
    """Texts of a file, and whether a slash joins each; without comments and docstrings, fields as {}.

    By regular expressions: rules are no Python, and what tokens an f-string has depends on Python's version.
    Not the names of logs and benchmarks, which are those of jobs.
    """
    source = re.sub(r'"""(.|\n)*?"""|#.*', "", source)
    source = re.sub(r'\.(log|benchmark)\(f?"[^"]*"', "", source)
    return [
        (re.sub(r"\{[^{}]*\}", "{}", one[2]), bool(one[1] or one[3]))
        for one in re.finditer(r'(/ *)?[rbf]{0,2}"([^"\n]*)"( */)?', source)
    ]


def is_path(text: str, joined: bool) -> bool:
    """Whether a text is the path of a result, or a part of one."""
    if not re.fullmatch(r"[\w./{}*-]+", text):  # a sentence may name one
        return False
    if text in NAMES or (text.endswith(ENDINGS) and text not in ENDINGS):
        return True
    return text.split("/")[0] in FOLDERS and (joined or "/" in text)


def paths_in(source: str) -> set[str]:
    return {text for text, joined in texts(source) if is_path(text, joined)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_path_of_a_result_is_written_outside_the_layout(path):
    within = path.relative_to(WORKFLOW / "steplens").as_posix() if "steplens" in path.parts else ""
    allowed = ALLOWED.get(within, (set(), ""))[0]
    found = paths_in(path.read_text(encoding="utf-8"))
    assert found - allowed == set(), f"{path}: take it from steplens.run.layout.RunLayout"
    assert allowed - found == set(), f"{path}: no longer there; take it off ALLOWED"


@pytest.mark.parametrize(
    "line",
    [
        'RESULTS / "corpus" / f"{language}.parquet"', 'folder / "steering"', '"comparison" / name',
        'f"decoder/{task}/{language}"', '"tables/table1.csv"', 'f"{name}.csv"', 'run / "report.html"',
        'f"step-{step:02d}.zarr"',
    ],
)  # fmt: skip
def test_the_search_finds_paths(line):
    assert paths_in(f"x = {line}\n")


@pytest.mark.parametrize(
    "line",
    [
        'module == "decoder"', 'RUN.log("steer/{task}/{lang}")', '"which tables/table1.csv has"',
        'FLEURS / "data"', "y  # in corpus/deu.parquet", 'path.suffix == ".csv"', 'task="speech"',
    ],
)  # fmt: skip
def test_the_search_leaves_other_texts_alone(line):
    assert not paths_in(f"x = {line}\n")
