"""The finished demo as Snakemake knows it, to ask what Snakemake would do after a change.

Dry runs only, in copies of the results whose files are hard links: nothing may be written into one.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from dry_run import dry_run

# Parts of the project that a run reads beside its results.
_CODE = ("Snakefile", "workflow", "envs", "profiles", "config")


def snakemake(folder: Path, *options: str, project: Path = ROOT) -> subprocess.CompletedProcess:
    """Run Snakemake on a project's Snakefile in ``folder``."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", *_arguments(folder, project), *options],
        capture_output=True, text=True, cwd=folder, check=False,
    )  # fmt: skip


def _arguments(folder: Path, project: Path) -> list[str]:
    return [
        "--snakefile", str(project / "Snakefile"), "--cores", "1", "--directory", str(folder),
        "--profile", str(project / "profiles" / "default"),
    ]  # fmt: skip


def planned(folder: Path, *options: str, project: Path = ROOT) -> dict[str, int]:
    """Jobs by rule that a dry run announces."""
    status, text = dry_run(folder, [*_arguments(folder, project), "--quiet", "rules", *options])
    assert status == 0, text
    if "Nothing to be done" in text:
        return {}
    counts = dict(re.findall(r"^(\w+) +(\d+)$", text, flags=re.M))
    assert counts, text
    return {rule: int(n) for rule, n in counts.items() if rule not in ("total", "all")}


def link(source: str, target: str) -> None:
    """A hard link, or a copy with its file time where the folder is on another file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def finished_demo(folder: Path) -> Path:
    """The finished demo in ``folder``: a copy, so that a dry run may be told anything."""
    if not (ROOT / "results" / "demo" / "report.html").exists():
        pytest.fail("the demo has not been run: make demo")
    for name in ("config", "resources"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "results" / "demo", folder / "results" / "demo", copy_function=link)
    shutil.copytree(
        ROOT / ".snakemake" / "metadata", folder / ".snakemake" / "metadata", dirs_exist_ok=True
    )
    return folder


def own_copy(finished: Path, folder: Path) -> Path:
    """A copy of a finished run whose files may be touched and deleted; chunks of stores are links."""

    def copy(source: str, target: str) -> None:
        (link if "/c/" in source else shutil.copy2)(source, target)

    shutil.copytree(finished, folder, symlinks=True, copy_function=copy)
    return folder


def copy_of_code(folder: Path) -> Path:
    """The project without results, to be changed: its code, environments and the table of languages."""
    folder.mkdir(parents=True)
    for name in _CODE:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, folder / name)
    (folder / "resources").mkdir()
    for path in (ROOT / "resources").iterdir():
        if path.is_dir():
            (folder / "resources" / path.name).symlink_to(path)
        else:
            shutil.copy2(path, folder / "resources" / path.name)
    return folder
