"""Every link, file and folder that a page, a docstring or a message names is there."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "workflow" / "steplens"
BASES = (ROOT, ROOT / "workflow", PACKAGE)
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in (ROOT, ROOT / "config", ROOT / "docs", ROOT / "resources" / "demo")
    for path in (folder.glob("*.md") if folder is ROOT else folder.rglob("*.md"))
)
# The changelog names files as they were when they changed.
HISTORY = "CHANGELOG.md"
SOURCES = [
    "Snakefile", "Makefile", ".ci/run", "pyproject.toml", "requirements.txt", "constraints.txt",
    *sorted(
        path.relative_to(ROOT).as_posix()
        for folder in ("workflow", "tools", "benchmarks", "tests", "profiles", "envs", "config")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".smk", ".yaml", ".j2"} and path.name != Path(__file__).name
    ),
]  # fmt: skip

# A path from the root of the project or from ``workflow``, up to where a placeholder begins.
NAMED = re.compile(
    r"(?<![\w./<>{}*-])((?:steplens|workflow|docs|tests|tools|benchmarks)/(?:[\w.-]+/)*(?:[\w-]+(?:\.\w+)*(?![\w*<{]))?)"
)
# A module by its file, from its own folder, from the package or from the root.
MODULE = re.compile(r"(?<![\w./<>{}*-])((?:\w+/)*\w+\.py)(?!\w)")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """What ``#…`` may name in a page: its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_of_a_page_lead_somewhere(name):
    """Every relative link and image, and the heading that it names."""
    page = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(name)):
        if re.match(r"\w+:", target):  # another site's
            continue
        path, _, heading = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not heading or heading in anchors(file), target


def missing(name: str) -> list[str]:
    """Paths that a file names and that are not there."""
    found = (match.rstrip("/") for match in NAMED.findall(text_of(name)))
    return [one for one in found if not any((base / one).exists() for base in BASES[:2])]


@pytest.mark.parametrize("name", [name for name in PAGES if name != HISTORY])
def test_files_and_folders_that_a_page_names_are_there(name):
    assert missing(name) == []


def test_files_and_folders_that_the_code_names_are_there():
    """In comments, docstrings and messages of the package, its rules, the tools and the tests."""
    assert {name: found for name in SOURCES if (found := missing(name))} == {}


def test_modules_that_the_package_names_are_there():
    """``table.py`` is a neighbour, ``files/records.py`` lies in another room."""
    lost = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for named in MODULE.findall(path.read_text(encoding="utf-8")):
            if not any((base / named).is_file() for base in (path.parent, *BASES)):
                lost.setdefault(path.relative_to(PACKAGE).as_posix(), []).append(named)
    assert lost == {}


def test_modules_that_are_run_by_name_are_there():
    """``python -m benchmarks.load``, in pages, docstrings and the Makefile; a package has a ``__main__``."""
    named = {
        module
        for name in (*PAGES, *SOURCES)
        if name != HISTORY
        for module in re.findall(r"python -m ((?:benchmarks|demo_model)[\w.]*\b)", text_of(name))
    }
    assert {"benchmarks", "benchmarks.load", "benchmarks.rates.measure"} <= named
    for module in named:
        found = find_spec(module)
        assert found, module
        assert not found.submodule_search_locations or find_spec(f"{module}.__main__"), module


def test_the_index_of_the_documentation_lists_every_page():
    listed = set(re.findall(r"^\| \[[^\]]+\]\(([^)]+)\)", text_of("docs/README.md"), flags=re.M))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert listed == pages - {"README.md"}


def test_a_path_that_is_not_there_is_seen(tmp_path):
    """And a placeholder, or what lies in a run, is none."""
    page = tmp_path / "page.md"
    page.write_text(
        "`steplens/no_such.py`, `docs/methods/causal.md`, tests/unit/<room>/, results/x/benchmarks/y.tsv"
    )
    assert missing(str(page)) == ["steplens/no_such.py"]
