"""What docs/running/reruns.md names, done to a finished run: configuration, files, code, libraries."""

import json
import os
import random
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from conftest import ROOT
from finished_demo import copy_of_code, own_copy, planned

from steplens.speech.takes import ask_for

FLEURS = Path("resources") / "demo" / "fleurs"
MODEL = Path("resources") / "demo" / "seamless-m4t-v2-demo"


@dataclass
class Change:
    """A place to change: a finished run's folder, and the code it is asked about."""

    run: Path
    project: Path = ROOT
    options: list[str] = field(default_factory=list)
    scratch: Path = Path()

    def jobs(self) -> dict[str, int]:
        """What would run again."""
        return planned(self.run, *self.options, project=self.project)

    def own(self) -> Path:
        """The run as a copy, whose files may be touched and deleted."""
        if self.run.parent != self.scratch:
            self.run = own_copy(self.run, self.scratch / "own")
        return self.run

    def code(self) -> Path:
        """The code as a copy."""
        if self.project is ROOT:
            self.project = copy_of_code(self.scratch / "code")
        return self.project

    def module(self, name: str) -> Path:
        """A module of that copy."""
        return self.code() / "workflow" / "steplens" / f"{name}.py"


def config(*settings: str) -> Callable[[Change], None]:
    """Other settings."""
    return lambda change: change.options.extend(["--config", *settings])


def line(*modules: str) -> Callable[[Change], None]:
    """One more line of code in some modules."""

    def edit(change: Change) -> None:
        for name in modules:
            append(change.module(name), "\nADDED = 1\n")

    return edit


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def replace(path: Path, old: str, new: str) -> None:
    content = path.read_text(encoding="utf-8")
    assert old in content, (path, old)
    path.write_text(content.replace(old, new), encoding="utf-8")


def pin(environment: str, name: str, parts: int) -> Callable[[Change], None]:
    """A higher version: of three parts, 2 counts up the minor one and 3 the last."""

    def edit(change: Change) -> None:
        path = change.code() / "envs" / f"{environment}.yaml"
        found = re.search(rf"- {name}==([\d.]+)\n", path.read_text(encoding="utf-8"))
        numbers = [int(number) for number in found[1].split(".")]
        numbers[parts - 1] += 1
        replace(path, found[0], f"- {name}=={'.'.join(map(str, numbers))}\n")

    return edit


def all_of(*changes: Callable[[Change], None]) -> Callable[[Change], None]:
    """Several changes that come to the same."""

    def edit(change: Change) -> None:
        for one in changes:
            one(change)

    return edit


def comments(change: Change) -> None:
    """Comments, docstrings and empty lines, in every module, script and rule."""
    for path in (change.code() / "workflow").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if text.startswith('"""'):
            path.write_text(f'"""More words. {text[3:]}\n\n# a comment\n', encoding="utf-8")
    for path in (change.code() / "workflow").rglob("*.smk"):
        append(path, "\n# a comment\n")


def resources_of_rules(change: Change) -> None:
    replace(change.code() / "workflow" / "rules" / "encode.smk", "mem_mb=8000", "mem_mb=9000")


def script(change: Change) -> None:
    append(change.code() / "workflow" / "scripts" / "capture.py", "\nprint()\n")


def template(change: Change) -> None:
    append(
        change.module("report").parent / "report" / "templates" / "report.html.j2", "\n<p>x</p>\n"
    )


def row_of(
    code: str, column: str, value: str, table: str = "languages"
) -> Callable[[Change], None]:
    """Another entry in a language's row of a table of languages."""

    def edit(change: Change) -> None:
        path = change.code() / "resources" / f"{table}.tsv"
        lines = [one.split("\t") for one in path.read_text(encoding="utf-8").splitlines()]
        (row,) = (one for one in lines if one[0] == code)
        row[lines[0].index(column)] = value
        path.write_text("".join("\t".join(one) + "\n" for one in lines), encoding="utf-8")

    return edit


def moved_sentences(change: Change) -> None:
    shutil.copytree(change.run / FLEURS, change.scratch / "fleurs")
    config(f"corpus={{path: {change.scratch / 'fleurs'}}}")(change)


def changed_sentences(change: Change) -> None:
    moved_sentences(change)
    tsv = next((change.scratch / "fleurs" / "data").glob("de_*/test.tsv"))
    tsv.write_bytes(tsv.read_bytes() + b"\n")


def moved_checkpoint(change: Change) -> None:
    shutil.copytree(change.run / MODEL, change.scratch / "model")
    config(f"model={{path: {change.scratch / 'model'}}}")(change)


def retrained_checkpoint(change: Change) -> None:
    moved_checkpoint(change)
    with next((change.scratch / "model").glob("*.safetensors")).open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"abcd")


def touched(change: Change) -> None:
    """Every result, in random order."""
    files = [path for path in change.own().glob("results/**/*") if path.is_file()]
    random.Random(1).shuffle(files)
    for place, path in enumerate(files):
        os.utime(path, (2e9 + place, 2e9 + place))


def dated_ahead(change: Change) -> None:
    """Every other result, by three hours."""
    files = [path for path in change.own().glob("results/**/*") if path.is_file()]
    for path in sorted(files)[::2]:
        os.utime(path, (time.time() + 10_800,) * 2)


def damaged_records(change: Change) -> None:
    """Every record, cut off."""
    for path in change.own().glob(".snakemake/metadata/**/*"):
        if path.is_file():
            os.truncate(path, path.stat().st_size // 2)


def checked_out(change: Change) -> None:
    """All that git writes anew has the time of the checkout."""
    change.own()
    (change.run / "resources").unlink()
    shutil.copytree(ROOT / "resources", change.run / "resources", copy_function=shutil.copyfile)
    for path in [*change.code().rglob("*"), *change.run.glob("resources/**/*")]:
        if path.is_file() and not path.is_symlink():
            os.utime(path, (2e9, 2e9))


def moved_project(change: Change) -> None:
    change.own()
    change.run = change.run.rename(change.scratch / "elsewhere")


def without_bookkeeping(change: Change) -> None:
    shutil.rmtree(change.own() / ".snakemake")


def deleted(*patterns: str) -> Callable[[Change], None]:
    def edit(change: Change) -> None:
        for pattern in patterns:
            found = list(change.own().glob(f"results/demo/{pattern}"))
            assert found
            for path in found:
                path.unlink()

    return edit


# --- a run with XTTS and a model from the hub -----------------------------------------------------

COMMITS = {"A": "a" * 40, "B": "b" * 40}


def hub(revision: str) -> str:
    return f"model={{path: facebook/model, revision: {COMMITS[revision]}}}"


def xtts(path: Path, **settings: object) -> str:
    """``speech`` with settings of XTTS, laid over those that the run was made with."""
    section = {"path": str(path), "revision": None, "speaker": "Ana Florence", "accept_cpml": True,
               "device": "cpu"} | settings  # fmt: skip
    return f"speech={{engine: xtts, xtts: {json.dumps(section)}}}"


def moved_xtts(change: Change) -> None:
    shutil.copytree(change.run / "xtts", change.scratch / "xtts")
    change.options[1] = xtts(change.scratch / "xtts")


def other_xtts(change: Change) -> None:
    moved_xtts(change)
    (change.scratch / "xtts" / "model.pth").write_text("others")


def set_to(number: int, setting: str) -> Callable[[Change], None]:
    """In place of what the run was made with: 1 is speech, 2 the model."""

    def edit(change: Change) -> None:
        change.options[number] = setting

    return edit


def asked_of(engine: str) -> Callable[[Change], None]:
    """Takes that ``snakemake resynthesise`` asked for."""

    def edit(change: Change) -> None:
        ask_for(change.own() / "results/demo/speech/deu/first_attempts.json", engine, {7: 1})

    return edit


def checks(change: Change) -> None:
    change.options[1] = change.options[1][:-1] + ", checks: {max_silent_share: 0.5}}"
