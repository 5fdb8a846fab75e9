"""A dry run of Snakemake in a process that a server forked for it, with its libraries loaded."""

import importlib
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path

# What Snakemake imports before it reads a Snakefile: half of the time of a dry run. Nothing of steplens,
# which every run takes from the project that it is asked about.
_PRELOADED = ["snakemake.cli", "pandas", "pydantic", "regex", "smart_open", "jinja2"]


def dry_run(folder: Path, arguments: list[str]) -> tuple[int, str]:
    """Exit status and output of ``snakemake --dry-run`` with these arguments in ``folder``."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as output:
        process = context.Process(
            target=_run, args=(folder, ["--dry-run", "--nolock", *arguments], output.name)
        )
        process.start()
        process.join()
        return process.exitcode, output.read()


def _run(folder: Path, arguments: list[str], output: str) -> None:
    with open(output, "w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(folder)
    sys.argv = ["snakemake", *arguments]
    importlib.import_module("snakemake.cli").main(arguments)
