"""Compiled kernels are kept by all of their code, in a folder that can be written to, and for themselves."""

import ast
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT
from numba import config
from numba.core.dispatcher import Dispatcher

from steplens.ranking import kernels

PACKAGE = ROOT / "workflow" / "steplens"
NOBODY = 65534
WITH_KERNELS = sorted(
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if any(
        isinstance(node, ast.ImportFrom) and node.module == "steplens.ranking.kernels"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    )
)


class Package:
    """Two small modules of kernels, the first of which calls the second."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch):
        self.folder = folder
        self._patch = patch
        self.write("lower", "LIFT = 1\n@kernel()\ndef raised(x):\n    return x + LIFT\n")
        self.write(
            "upper",
            "from lower import raised\n@kernel(nogil=True)\ndef twice(x):\n    return 2 * raised(x)\n",
        )

    def write(self, name: str, code: str) -> None:
        (self.folder / f"{name}.py").write_text(
            f"from steplens.ranking.kernels import kernel\n{code}"
        )

    def read(self, name: str) -> str:
        head, _, code = (self.folder / f"{name}.py").read_text().partition("\n")
        assert head.endswith("import kernel")
        return code

    def load(self) -> Dispatcher:
        """``twice``, as another process would have it: the modules are run anew."""
        for name in ("lower", "upper"):
            path = self.folder / f"{name}.py"
            module = ModuleType(name)
            self._patch.setitem(sys.modules, name, module)
            exec(compile(path.read_text(), path, "exec"), vars(module))
        return module.twice

    def run(self, argument=3) -> tuple:
        """``twice(argument)``, how often it was compiled, and how often it was found."""
        twice = self.load()
        stats = (value := twice(argument)) and twice.stats
        return value, sum(stats.cache_misses.values()), sum(stats.cache_hits.values())

    def files(self, kind: str, folder: str = "__pycache__") -> list[Path]:
        return list((self.folder / folder).rglob(f"upper.twice*.{kind}"))


@pytest.fixture
def package(tmp_path, monkeypatch):
    return Package(tmp_path, monkeypatch)


def test_a_kernel_is_compiled_once(package):
    assert package.run() == (8, 1, 0)
    assert package.run() == (8, 0, 1)


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [("x + LIFT", "x - LIFT", 4), ("LIFT = 1", "LIFT = 5", 16), ("@kernel()", "@kernel(fastmath=True)", 8)],
)  # fmt: skip
def test_a_kernel_is_not_kept_when_what_it_calls_in_another_file_changed(package, old, new, value):
    """Its code, a constant that it uses, or an option of the compiler."""
    package.run()
    code = package.read("lower")
    assert old in code
    package.write("lower", code.replace(old, new))
    assert package.run() == (value, 1, 0)
    assert package.run() == (value, 0, 1)


def test_what_no_kernel_calls_may_change(package):
    package.run()
    package.write(
        "lower", f"# another comment\n{package.read('lower')}\ndef other():\n    return 1\n"
    )
    assert package.run() == (8, 0, 1)


def test_the_real_kernels_notice_a_helper_in_another_file(tmp_path):
    """``scores/ap.py`` sorts by ``sorting.py``: with a helper that is wrong its answer is another one."""
    shutil.copytree(PACKAGE, tmp_path / "steplens", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import numpy as np; from steplens.ranking.scores.ap import average_precision as ap;"
        "print(ap(np.array([[3.0], [2.0], [-1.0], [-2.0]], 'f4'), np.array([1, 1, 1, 0]))[1, 0])"
    )

    def found() -> float:
        run = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return float(run.stdout)

    assert found() == 1.0
    sorting = tmp_path / "steplens" / "ranking" / "sorting.py"
    text = sorting.read_text()
    # Of negative numbers the larger magnitude then lies above.
    changed = text.replace("elif pattern >= sign:", "elif pattern > number(~number(0)):")
    assert changed != text
    sorting.write_text(changed)
    assert found() < 1.0


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_checkout_that_is_read_only_is_no_reason_to_keep_an_old_kernel(package, monkeypatch):
    """The reader is another user than the one who installs updates."""
    package.run()  # what the compiler imports
    shutil.rmtree(package.folder / "__pycache__")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        home = folder / "home"
        home.mkdir()
        os.chown(home, NOBODY, NOBODY)
        monkeypatch.setenv("XDG_CACHE_HOME", str(home))
        for name in ("lower", "upper"):
            shutil.copy(package.folder / f"{name}.py", folder)
        package.folder = folder

        def run() -> tuple:
            os.seteuid(NOBODY)
            try:
                return package.run()
            finally:
                os.seteuid(0)

        assert run() == (8, 1, 0)
        assert run() == (8, 0, 1)
        assert package.files("nbc", "home")
        package.write("lower", "@kernel()\ndef raised(x):\n    return x - 1\n")
        assert run() == (4, 1, 0)
        shutil.rmtree(home / "numba")
        home.chmod(0o500)
        assert run()[0] == 4  # nowhere to write: compiled, and not kept
        assert not package.files("nbc", ".")


def test_other_kernels_of_the_process_keep_numbas_own_cache(package):
    """A notebook that imports steplens: it compiles, and keeps, where it did."""
    before = config.CACHE_DIR
    package.load()
    assert config.CACHE_DIR == before == ""
    path = package.folder / "own.py"
    path.write_text("from numba import njit\n@njit(cache=True)\ndef half(x):\n    return x / 2\n")
    own = {"__name__": "own"}
    exec(compile(path.read_text(), path, "exec"), own)
    assert own["half"].stats.cache_path == str(package.folder / "__pycache__")


def test_numba_cache_dir_is_heeded(package, monkeypatch):
    """As for any kernel of numba's."""
    monkeypatch.setattr(config, "CACHE_DIR", str(package.folder / "elsewhere"))
    package.run()
    assert package.files("nbc", "elsewhere")
    assert not package.files("nbc")


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "junk"])
def test_a_damaged_file_counts_as_none(package, kind, damage):
    package.run()
    (file,) = package.files(kind)
    content = bytearray(file.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    file.write_bytes(
        {"empty": b"", "cut": content[: len(content) // 2], "junk": b"junk"}.get(damage, content)
    )
    assert package.run() == (8, 1, 0)
    assert package.run() == (8, 0, 1)


def test_every_entry_has_a_file_of_its_own(package):
    """By numba's numbers, processes that compile for other types at once can take one name."""
    names = set()
    for argument in (3, 3.0):
        shutil.rmtree(package.folder / "__pycache__", ignore_errors=True)
        package.run(argument)
        names |= {path.name for path in package.files("nbc")}
    assert len(names) == 2


def test_files_that_no_entry_names_are_removed(package):
    package.run()
    package.write("upper", package.read("upper").replace("2 *", "3 *"))
    assert package.run()[0] == 12
    assert len(package.files("nbc")) == 1


def test_without_the_compiler_kernels_are_plain_functions(package, monkeypatch):
    monkeypatch.setattr(config, "DISABLE_JIT", 1)
    assert not isinstance(twice := package.load(), Dispatcher)
    assert twice(3) == 8


def test_what_has_no_digest_is_refused(package):
    """It would be compiled in without being seen."""
    package.write("lower", "TABLE = [1]\n@kernel()\ndef raised(x):\n    return x + TABLE[0]\n")
    with pytest.raises(TypeError, match="expected kernels, constants and modules of other packages in a "
                       "kernel, got list"):  # fmt: skip
        package.run()


# --- the package's own -----------------------------------------------------------------------------


@pytest.mark.parametrize("module", WITH_KERNELS)
def test_every_kernel_of_the_package_has_a_digest(module):
    found = [
        one
        for one in vars(importlib.import_module(f"steplens.{module}")).values()
        if isinstance(one, Dispatcher)
    ]
    assert found
    for one in found:
        assert isinstance(one._cache, kernels._KernelCache)
        assert len(kernels.kernel_digest(one.py_func)) == 16


def test_numba_compiles_nothing_of_the_package_by_itself():
    """``njit`` would keep a kernel by its own file alone."""
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if {"njit", "jit", "vectorize", "guvectorize", "stencil", "cfunc"}
        & {node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
           for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))}
    }  # fmt: skip
    assert users == {"ranking/kernels.py"}
    assert WITH_KERNELS == [
        "ranking.resampled", "ranking.scores.ap", "ranking.separation", "ranking.sorting",
    ]  # fmt: skip
