"""The code digest follows what a stage imports and sees code only."""

import textwrap

import pytest

from steplens.jobs import code_digest as digesting

FILES = {
    "encoding": '''
        """Stage encode."""
        from . import store
        from .jobs import progress
        from .jobs.run_stage import run
        from .sites import table  # columns
        def encode(n):
            """Encode."""
            return table(n) + 1
    ''',
    "sites": """
        from .nested.deep import width
        def table(n):
            return width * n
    """,
    "store": "SIZE = 3",
    "nested/__init__": "from .inside import one",
    "nested/deep": "from ..base import zero\nfrom .beside import two\nfrom . import aside\nwidth = 1",
    "nested/inside": "one = 1",
    "nested/beside": "two = 2",
    "nested/aside": "three = 3",
    "base": "zero = 0",
    "jobs/progress": "bar = 1",
    "jobs/run_stage": "from ..unseen import x\nrun = 1",
    "unseen": "x = 1",
    "other": "import numpy\nx = 1",
}


class Package:
    """A package on disk, whose files can be rewritten between digests."""

    def __init__(self, folder):
        self._folder = folder
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name, text):
        path = self._folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text).strip() + "\n", encoding="utf-8")

    def remove(self, name):
        (self._folder / f"{name}.py").unlink()

    def append(self, name, line):
        with (self._folder / f"{name}.py").open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    def digest(self, *modules):
        self._forget()
        return digesting.code_digest(*modules)

    def used(self, *modules):
        self._forget()
        return digesting.used_modules(*modules)

    @staticmethod
    def _forget():
        digesting._parsed.cache_clear()
        digesting._deep_digest.cache_clear()
        digesting.code_digest.cache_clear()


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setattr(digesting, "_PACKAGE", tmp_path)
    monkeypatch.setattr(digesting, "_KNOWN", digesting._Known(tmp_path / "cache" / "known.json"))
    yield Package(tmp_path)
    Package._forget()


REACHED = ["base", "encoding", "nested.aside", "nested.beside", "nested.deep", "sites", "store"]


def test_imports_are_followed_through_modules_and_subpackages(package):
    """What tells people about progress is left out, with what it alone imports."""
    assert [name for name in package.used("encoding") if name in REACHED] == REACHED
    assert not {"jobs.progress", "jobs.run_stage", "unseen", "other"} & set(
        package.used("encoding")
    )


def test_a_subpackage_follows_its_own_relative_imports(package):
    assert package.used("nested") == ["nested", "nested.inside"]


def test_a_module_without_imports_uses_itself(package):
    assert package.used("other") == ["other"]
    assert package.used("other", "base") == ["base", "other"]


@pytest.mark.parametrize(
    "name", ["encoding", "sites", "store", "base", "nested/deep", "nested/beside"]
)
def test_a_changed_line_of_code_in_any_used_module_changes_the_digest(package, name):
    before = package.digest("encoding")
    package.append(name, "added = 1")
    assert package.digest("encoding") != before


@pytest.mark.parametrize("name", ["jobs/progress", "jobs/run_stage", "unseen", "other"])
def test_a_change_elsewhere_leaves_the_digest_alone(package, name):
    before = package.digest("encoding")
    package.write(name, "changed = 1")
    assert package.digest("encoding") == before


@pytest.mark.parametrize(
    "text",
    [
        FILES["encoding"].replace("Stage encode.", "Another docstring."),
        FILES["encoding"].replace('"""Encode."""', '"""Encode everything."""'),
        FILES["encoding"].replace('            """Encode."""\n', ""),
        FILES["encoding"].replace("# columns", "# another comment"),
        FILES["encoding"].replace(
            "table(n) + 1", "(\n                table(n)\n                +1\n            )"
        ),
        FILES["encoding"].replace("def encode", "\n\n\n        def encode"),
    ],
    ids=["module", "function", "without", "comment", "layout", "blank"],
)
def test_comments_docstrings_and_layout_do_not_change_the_digest(package, text):
    before = package.digest("encoding")
    assert text != FILES["encoding"]
    package.write("encoding", text)
    assert package.digest("encoding") == before


@pytest.mark.parametrize(
    ("old", "new"), [("+ 1", "+ 2"), ("table(n)", "table(-n)"), ("encode(n)", "encode(n, m=0)")]
)
def test_a_changed_expression_changes_the_digest(package, old, new):
    before = package.digest("encoding")
    package.write("encoding", FILES["encoding"].replace(old, new))
    assert package.digest("encoding") != before


MOVED = {
    "encoding": """
        from steplens.rooms import store
        from steplens import progress
        from steplens.jobs.run_stage import run
        from steplens.rooms.columns import table
        def encode(n):
            return table(n) + 1
    """,
    "rooms/store": FILES["store"],
    "rooms/columns": FILES["sites"].replace("from .nested.deep", "from ..nested.deep"),
}


def test_moving_modules_and_renaming_them_leaves_the_digest_alone(package):
    before = package.digest("encoding")
    for name in ("store", "sites"):
        package.remove(name)
    for name, text in MOVED.items():
        package.write(name, text)
    assert {"rooms.store", "rooms.columns", "nested.deep"} <= set(package.used("encoding"))
    assert package.digest("encoding") == before
    package.append("rooms/columns", "added = 1")
    assert package.digest("encoding") != before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("from .base import one", "from .other import one"),
        ("from .base import one", "from .base import two as one"),
        ("from .base import one", "from . import base as one"),
        ("from . import base, other", "from . import base as other, other as base"),
    ],
)
def test_what_is_imported_under_a_name_counts(package, old, new):
    """Though both modules are used before and after, and no other line is changed."""
    for name in ("base", "other"):
        package.write(name, f"one = two = '{name}'")
    both = "from . import base, other\nfrom .base import one\nx = one"
    package.write("stage", both)
    before = package.digest("stage")
    package.write("stage", both.replace(old, new))
    assert package.used("stage") == ["base", "other", "stage"]
    assert package.digest("stage") != before


@pytest.mark.parametrize(
    "line", ["import steplens.models.neurons", "import numpy, steplens as lens"]
)
def test_an_import_that_cannot_be_followed_is_an_error(package, line):
    package.write("encoding", line)
    with pytest.raises(ValueError, match=r"line 1: expected from steplens\.… import"):
        package.digest("encoding")


def test_a_circle_of_imports_is_an_error_that_shows_it(package):
    package.write("base", "from .nested.deep import width")
    with pytest.raises(ValueError, match=r"got base -> nested\.deep -> base$"):
        package.digest("base")


def test_a_script_counts_where_it_is_named(package, tmp_path, monkeypatch):
    """What hands settings to the stage is code of the stage; its comments are not."""
    monkeypatch.setattr(digesting, "_SCRIPTS", tmp_path)

    def digest(text):
        (tmp_path / "script.py").write_text(text)
        digesting.code_digest.cache_clear()
        return digesting.code_digest("encoding", script="script")

    head = "import sys\nsys.path.insert(0, 'a')\nrun_stage('a.b:encode')"
    assert digest(head) == digest(head.replace("'a'", "'b'").replace("a.b:", "c:"))
    assert digest(head) != digest(head.replace(":encode", ":decode"))
    first = digest('"""Runs it."""\nrun(k=1)\n')
    assert first == digest('"""Runs."""\nrun(k=1)  # it\n')
    assert first != digest('"""Runs it."""\nrun(k=2)\n')
    assert first != package.digest("encoding")


def test_the_digest_does_not_depend_on_what_a_version_of_python_writes_out(package):
    """Python 3.12 has fields of functions that 3.11 has not, empty; 3.13 leaves out what is empty."""
    import ast

    tree = ast.parse(FILES["base"] + "\ndef f(x, *, y=None): return {**x, 'a': y, 'b': []}")
    plain = digesting._plain(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node._fields = (*node._fields, "type_params")
            node.type_params = []
            del node.type_comment
    assert digesting._plain(tree) == plain
    assert "Constant(value='a')" in plain
    for other in ("y=0", "y"):
        assert digesting._plain(ast.parse(f"def f(x, *, {other}): pass")) != digesting._plain(
            ast.parse("def f(x, *, y=None): pass")
        )


def test_the_digest_is_the_same_for_any_order_of_modules(package):
    digest = package.digest("sites", "store")
    assert package.digest("store", "sites") == digest
    assert len(digest) == 16
    assert int(digest, 16)


def test_steplens_itself_a_stage_uses_what_it_imports():
    """An example of the real package: encoding reads sites and writes a store, and no figure."""
    used = digesting.used_modules("recording.encode")
    assert {"recording.encode", "models.neurons", "store.writer"} <= set(used)
    assert not any(name.startswith("figures") for name in used)
    assert "figures.style" in digesting.used_modules("figures.overlap")
    # Neither another version nor another message runs anything again.
    assert not {"_version", "errors", "jobs.file_digests"} & set(used)
    assert "store.groups" in used


def test_what_was_parsed_before_is_not_parsed_again_and_the_digest_is_the_same(
    package, tmp_path, monkeypatch
):
    """From run to run, by content: also in a copy, and after a change that is taken back."""
    first = package.digest("encoding")
    package.append("encoding", "CHANGED = 1")
    assert package.digest("encoding") != first
    package.write("encoding", FILES["encoding"])
    known = digesting._Known(tmp_path / "cache" / "known.json")
    monkeypatch.setattr(digesting, "_KNOWN", known)
    monkeypatch.setattr(digesting, "_parse", lambda _source: pytest.fail("parsed again"))
    assert package.digest("encoding") == first


@pytest.mark.parametrize("content", ["", "{", "[1]", "null"])
def test_a_damaged_file_of_what_was_parsed_does_no_harm(package, tmp_path, monkeypatch, content):
    first = package.digest("encoding")
    path = tmp_path / "cache" / "known.json"
    path.write_text(content)
    monkeypatch.setattr(digesting, "_KNOWN", digesting._Known(path))
    assert package.digest("encoding") == first


def test_where_nothing_can_be_kept_everything_is_parsed(package, tmp_path, monkeypatch):
    first = package.digest("encoding")
    (tmp_path / "file").write_text("not a folder")
    unwritable = digesting._Known(tmp_path / "file" / "known.json")
    monkeypatch.setattr(digesting, "_KNOWN", unwritable)
    assert package.digest("encoding") == first
