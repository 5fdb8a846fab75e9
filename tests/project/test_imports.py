"""How the package hangs together: rooms of modules, and imports of modules alone.

Which room may import which is a contract of import-linter (pyproject.toml), a part of `make lint`.
"""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "workflow" / "steplens"
FILES = sorted(PACKAGE.rglob("*.py"))
# Beside the rooms: what all of them share, and doors that stay where readers of results know them.
TOP = {
    "__init__",
    "_version",
    "control",
    "errors",
    "project",
    "settings",
    "sites",
    "tasks",
    "wording",
}


def name_of(path: Path) -> str:
    """The dotted name of a module; of ``__init__.py`` that of its package."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path) for path in FILES if path.stem != "__init__"}
PACKAGES = {name_of(path) for path in FILES if path.stem == "__init__"}


def imports_of(path: Path) -> Iterator[ast.Import | ast.ImportFrom]:
    """Statements that import something of steplens, in functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = ["steplens" if node.level else node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        if any(name.split(".")[0] == "steplens" for name in names):
            yield node


def where(path: Path, node: ast.stmt) -> str:
    return f"{path.relative_to(PACKAGE)}:{node.lineno}: {ast.unparse(node)}"


def test_every_module_lies_in_a_room():
    assert {path.stem for path in PACKAGE.glob("*.py")} <= TOP
    without = [path for path in FILES if not (path.parent / "__init__.py").is_file()]
    assert not without, (
        "a folder without __init__.py is no package for setuptools and import-linter"
    )


def test_no_import_is_relative():
    found = [where(path, node) for path in FILES for node in imports_of(path)
             if isinstance(node, ast.ImportFrom) and node.level]  # fmt: skip
    assert not found


def test_no_module_imports_a_package():
    """What a package shows at its door would all be loaded, and count to the code of every stage."""
    found = []
    for path in FILES:
        for node in imports_of(path):
            if isinstance(node, ast.Import):
                wrong = True  # the code digest cannot follow it
            else:
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                wrong = node.module not in MODULES and not names <= MODULES
            if wrong:
                found.append(where(path, node))
    assert not found


def lint_imports(project: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=project,
        env=os.environ | {"PYTHONPATH": str(project / "workflow")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_every_room_keeps_its_place():
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "statement", "broken"),
    [
        (
            "statistics/extra.py",
            "from steplens.report.formatting import number",
            "Rooms import only",
        ),
        (
            "hooks/extra.py",
            "def f():\n    from steplens.speech.checks import Limits",
            "Rooms import only",
        ),
        ("attic/extra.py", "from steplens.tasks import TASKS", "Rooms import only"),
        (
            "studies/causal/extra.py",
            "from steplens.studies.modality.tables import tables",
            "No study",
        ),
        ("tasks.py", "from steplens.project import PROJECT", "Rooms import only"),
    ],
)
def test_what_the_contract_refuses(tmp_path, module, statement, broken):
    """An import upwards, of a neighbour, in a room without a place, from study to study, at the ground."""
    package = tmp_path / "workflow" / "steplens"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    file = package / module
    file.parent.mkdir(exist_ok=True)
    (file.parent / "__init__.py").touch()
    file.write_text(statement, encoding="utf-8")
    done = lint_imports(tmp_path)
    assert done.returncode == 1
    assert any(
        line.startswith(broken) and line.endswith("BROKEN") for line in done.stdout.splitlines()
    )
