"""Stage ``report``: says what was run and puts every figure and table into one HTML file."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from .report import write_report

_SHOWN = (
    "steplens", "snakemake", "torch", "transformers", "zarr", "numpy", "numba", "scikit-learn",
    "pandas", "matplotlib",
)  # fmt: skip


def report(run_folder: Path, output: Path, settings: dict[str, Any], speech: list[Path]) -> None:
    """Write ``report.html``.

    Parameters
    ----------
    run_folder : path
        ``results/<run>``.
    output : path
    settings : dict
        The merged configuration.
    speech : list of path
        ``speech/<language>.parquet`` of every language.
    """
    seconds = sum(pd.read_parquet(path)["seconds"].sum() for path in speech)
    corpus = settings["corpus"]
    model = settings["model"]
    provenance = {
        "Model": model["path"] + (f" at {model['revision']}" if model["revision"] else ""),
        "Languages": settings["languages"],
        "Translated into": settings["output_language"],
        "Corpus": f"{corpus['folder']}, {', '.join(corpus['splits'])}",
        "Utterances": f"{corpus['n_utterances']} a language, spoken and written",
        "Speech": f"{settings['speech']['engine']}, {seconds / 60:.1f} minutes in all",
        "Decoding steps": settings["steps"],
        "Compared neurons": f"top {settings['comparison']['k']} by average precision",
        "Steered neurons": f"top {settings['steering']['k']} and bottom {settings['steering']['k']}",
    }
    write_report(run_folder, output, settings, versions(), provenance)


def versions() -> dict[str, str]:
    """Version of Python, steplens and the libraries that results depend on."""
    from . import __version__

    found = {"python": platform.python_version(), "steplens": __version__}
    return found | {name: version(name) for name in _SHOWN if name != "steplens"}
