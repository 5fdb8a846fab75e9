"""Files are whole or not there, and nothing in the package writes one in another way."""

import ast
import os
import resource
import signal

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from steplens.files.atomic import atomic_path, write_bytes, write_json, write_parquet, write_text
from steplens.files.audio import write_wav

WORKFLOW = ROOT / "workflow"
# What writes a file, by the name that is called: as a method, or as a function of a module …
WRITERS = {
    "write_text", "write_bytes", "to_csv", "to_parquet", "to_json", "to_netcdf", "savefig", "save", "savez",
    "savetxt", "tofile", "dump", "touch", "symlink_to", "hardlink_to", "write_table",
}  # fmt: skip
# … and of these modules only, since others' functions of these names write none.
MOVERS = {
    "shutil": {"copy", "copy2", "copyfile", "copytree", "move"},
    "os": {"rename", "replace", "link", "symlink"},
    "soundfile": {"write"},
}
# Who writes in another way, by the path in the package, what is called, and why.
EXCEPTIONS = {
    ("files/atomic", "to_csv"): "into memory",
    ("files/audio", "write"): "into memory",
    ("speech/takes", "open"): "a journal grows by whole lines; a torn one is cut off and forgotten",
    ("jobs/locks", "open"): "locks hold nothing that is read as a result",
    ("jobs/run_stage", "open"): "a line in the log of a process that died",
    ("jobs/code_digest", "write_text"): "a cache, written by several processes at once",
    ("planning/inputs", "write_text"): "in a temporary folder, for a process started later",
}
# Zarr writes the chunks and metadata of arrays: a store is none before its zarr.json stands in its folder,
# and that file is written like all others. Logs are written through logging: they are for jobs that died.


def _mode_of(call: ast.Call, place: int) -> str:
    """The mode that a call of open says, ``r`` where it says none."""
    given = [one.value for one in call.keywords if one.arg == "mode"] or call.args[place:]
    return given[0].value if given and isinstance(given[0], ast.Constant) else "r"


def _writes_in(tree: ast.AST):
    """Calls that write a file, but into the partial file of an ``atomic_path``."""
    partial = {
        item.optional_vars.id
        for node in ast.walk(tree) if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.context_expr, ast.Call)
        and getattr(item.context_expr.func, "id", "") == "atomic_path"
        and isinstance(item.optional_vars, ast.Name)
    }  # fmt: skip
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        receiver = call.func.value if isinstance(call.func, ast.Attribute) else None
        involved = [receiver, *call.args]
        if any(isinstance(one, ast.Name) and one.id in partial for one in involved):
            continue
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        if name == "open":
            writes = set("wax+") & set(_mode_of(call, 0 if receiver else 1))
        else:
            mover = name in MOVERS.get(getattr(receiver, "id", ""), set())
            writes = receiver is not None and (name in WRITERS or mover)
        if writes:
            yield name


def test_nothing_else_writes_a_file():
    """The package and its scripts; each exception is used."""
    found = {
        (str(path.relative_to(WORKFLOW).with_suffix("")).removeprefix("steplens/"), name)
        for path in WORKFLOW.rglob("*.py")
        for name in _writes_in(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == set(EXCEPTIONS)


def test_a_writer_is_seen():
    """The walk sees what it has to, and lets a partial file pass."""
    code = """
def one(figure, path, frame, file):
    open(path, "w"); path.open("a"); open(path); path.open("rb"); path.open(mode="wb")
    shutil.copyfile(path, "b"); os.replace("a", path); frame.copy(); "a".replace("b", "c")
    frame.to_csv(path); figure.savefig(path); json.dump({}, file); path.write_text("")
    with atomic_path(path) as partial:
        figure.savefig(partial); partial.write_text(""); partial.open("w")
"""
    found = list(_writes_in(ast.parse(code)))
    assert sorted(found) == [
        "copyfile", "dump", "open", "open", "open", "replace", "savefig", "to_csv", "write_text",
    ]  # fmt: skip


def test_what_was_written_is_there(tmp_path):
    write_text(tmp_path / "a" / "one.txt", "ä\r\n")
    write_bytes(tmp_path / "two", b"\0")
    write_json(tmp_path / "three.json", {"a": [1]}, indent=None)
    assert (tmp_path / "a" / "one.txt").read_bytes() == b"\xc3\xa4\r\n"
    assert (tmp_path / "two").read_bytes() == b"\0"
    assert (tmp_path / "three.json").read_text() == '{"a": [1]}\n'
    assert not list(tmp_path.rglob(".partial*"))


def test_a_failure_leaves_the_old_file(tmp_path):
    write_text(tmp_path / "one", "old")

    def fail():
        with atomic_path(tmp_path / "one") as partial:
            partial.write_text("half of the n")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (tmp_path / "one").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_bytes(path, bytes(9000)),
        lambda path: write_wav(path, np.zeros(9000)),
        lambda path: write_parquet(
            pd.DataFrame({"a": np.random.default_rng(1).random(9000)}), path
        ),
    ],
    ids=["bytes", "audio", "table"],
)
def test_a_file_that_cannot_be_written_is_named_with_the_reason(tmp_path, write):
    """As on a full disk: here at a limit of the size of files."""
    path = tmp_path / "name"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match=r"File too large.*/name'") as raised:
            write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert raised.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_a_kill_leaves_the_old_file_and_the_next_writer_cleans_up(tmp_path):
    write_text(tmp_path / "one", "old")
    pid = os.fork()
    if pid == 0:
        with atomic_path(tmp_path / "one") as partial:
            partial.write_text("half of the n")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert (tmp_path / "one").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    write_text(tmp_path / "one", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    assert (tmp_path / "one").read_text() == "new"


def test_content_is_on_the_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    flushed = []

    def watched(descriptor, fsync=os.fsync):
        flushed.append((os.fstat(descriptor).st_size, (tmp_path / "one").exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    write_text(tmp_path / "one", "new")
    assert flushed == [(3, False)]
