"""What passes before work begins: imports of a stage, building the DAG; and the whole demo."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import yaml

from steplens.languages.table import load_languages

from ..timing import Measurement, in_turns, measurement

ROOT = Path(__file__).resolve().parents[2]
N_LANGUAGES = 30


def measure(full: bool = False, device: str = "cpu") -> Iterator[Measurement]:
    """With ``full`` the demo too, from nothing to its report."""
    yield from _imports()
    yield from _dag()
    if full:
        yield from _demo()


def _imports() -> Iterator[Measurement]:
    seconds = in_turns(
        {
            "torch": _python("import torch"),
            "corpus": _python("import steplens.corpus.sentences"),
            "rank": _python("import steplens.ranking.rank_condition"),
            "rank's libraries": _python("import numba, numpy, pandas, xarray, zarr"),
            "encode": _python("import steplens.recording.encode, steplens.models.seamless.loading"),
            "transformers": _python("import torch, transformers; transformers.SeamlessM4Tv2Model"),
        }
    )
    yield _within(
        1.0, "a stage with tables only: imports of corpus", seconds["corpus"],
        limit="importing rank's libraries", limit_seconds=seconds["rank's libraries"],
    )  # fmt: skip
    yield _within(
        1.0, "a stage without a model: imports of rank", seconds["rank"],
        limit="importing its libraries", limit_seconds=seconds["rank's libraries"],
    )  # fmt: skip
    yield _within(
        4.5, "a stage with a model: imports of encode", seconds["encode"],
        baseline="importing torch and transformers' SeamlessM4Tv2Model",
        baseline_seconds=seconds["transformers"],
        limit="importing torch alone", limit_seconds=seconds["torch"],
    )  # fmt: skip


def _dag() -> Iterator[Measurement]:
    """A dry run of the paper's configuration with more languages; nothing of it has been run."""
    settings = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text(encoding="utf-8"))
    table = load_languages()
    spoken = sorted(table, key=lambda code: not table[code].xtts)  # those that XTTS speaks first
    settings["languages"] = [code for code in spoken if code != "eng"][:N_LANGUAGES]
    settings["speech"]["fallback"] = ["espeak", "recorded"]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        config.write_text(yaml.safe_dump(settings), encoding="utf-8")
        seconds = in_turns(
            {
                "dag": _in_project(
                    folder, "--dry-run", "--quiet", "all", "--configfile", str(config)
                ),
                "start": _snakemake("--version"),
            }
        )
    yield _within(
        5.0, f"a dry run of config/paper.yaml with {N_LANGUAGES} languages", seconds["dag"],
        limit="snakemake --version", limit_seconds=seconds["start"],
    )  # fmt: skip


def _demo() -> Iterator[Measurement]:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        _in_project(folder, "--cores", str(len(os.sched_getaffinity(0))))()
        seconds = np.array([time.perf_counter() - start])
    yield _within(240.0, "the demo, from installed to its report", seconds)


def _within(allowed: float, case: str, seconds: np.ndarray, **others) -> Measurement:
    met = bool(np.median(seconds) <= allowed)
    return measurement("startup", case, seconds, aim=f"{allowed:g} s", met=met, **others)


def _python(code: str) -> Callable[[], None]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    return lambda: subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def _snakemake(*arguments: str) -> Callable[[], None]:
    command = [sys.executable, "-m", "snakemake", *arguments]
    return lambda: subprocess.run(command, capture_output=True, check=True)


def _in_project(folder: str, *arguments: str) -> Callable[[], None]:
    """Snakemake in a folder with the project's inputs and no results."""
    for name in ("config", "resources"):
        link = Path(folder) / name
        if not link.exists():
            link.symlink_to(ROOT / name)
    profile = str(ROOT / "profiles" / "default")
    return _snakemake(
        "--snakefile", str(ROOT / "Snakefile"), "--directory", folder, "--profile", profile, *arguments
    )  # fmt: skip
