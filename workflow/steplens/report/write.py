"""Stage ``report``: says what was run and puts every figure and table into one HTML file."""

import contextlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steplens._version import __version__
from steplens.files.atomic import read_parquet
from steplens.files.fixed_length import cut_and_padded
from steplens.report.findings import TIE_RULES
from steplens.report.page import write_report
from steplens.store.reading import open_store

_SHOWN = (
    "snakemake", "zarr", "xarray", "numpy", "numba", "scipy", "pandas", "matplotlib",
)  # fmt: skip


def report(
    output: Path,
    settings: dict[str, Any],
    tables: Mapping[str, Path],
    figures: Mapping[int, Path],
    studies: Mapping[str, Mapping[str, Path]],
    speech: list[Path],
    store: Path,
) -> None:
    """Write the report of a run.

    Parameters
    ----------
    output : path
    settings : dict
        The merged configuration.
    tables, figures, studies
        As ``write_report`` has them.
    speech : list of path
        The table of audio of every language.
    store : path
        An encoder store, which says what the model ran with.
    """
    spoken = pd.concat(
        read_parquet(path, columns=["engine", "seconds", "n_samples"]) for path in speech
    )
    engines = " and ".join(spoken["engine"].unique())
    corpus = settings["corpus"]
    model = settings["model"]
    provenance = {
        "Model": model["path"] + revision_of(model),
        "Languages": settings["languages"],
        "Translated into": settings["output_language"],
        "Corpus": f"{corpus['path']}{revision_of(corpus)}, {', '.join(corpus['splits'])}",
        "Utterances": f"{corpus['n_utterances']} a language, spoken and written",
        "Speech": f"{engines}, {spoken['seconds'].sum() / 60:.1f} minutes in all",
        "Length of speech": length_of_speech(
            spoken["n_samples"].to_numpy(), settings["encoding"]["fixed_seconds"]
        ),
        "Decoding steps": settings["steps"],
        "Compared neurons": f"top {settings['comparison']['k']} by average precision",
        "Equal average precision": TIE_RULES[settings["ranking"]["ties"]],
        "Steered neurons": f"top {settings['steering']['k']} and bottom {settings['steering']['k']}",
        "Steered pairs": [
            f"{source} → {target}" for source, target in settings["steering"]["pairs"]
        ]
        or "all",
    }
    write_report(
        settings["run"],
        tables,
        figures,
        output,
        settings,
        versions(store),
        provenance,
        with_sources=settings["speech"]["other_engine"] is not None,
        studies={study: studies[study] for study in settings["studies"]},
        rate_tokens=settings["steering"]["rate_tokens"],
    )


def revision_of(section: dict[str, Any]) -> str:
    """`` at <commit>``, or nothing for a local folder."""
    return f" at {section['revision']}" if section["revision"] else ""


def length_of_speech(n_samples: np.ndarray, fixed_seconds: float | None) -> str:
    """What the speech encoder was given, in words.

    Parameters
    ----------
    n_samples : (n_utterances,) int array
        Natural lengths, at 16 kHz, of all languages.
    fixed_seconds : float or None
    """
    if fixed_seconds is None:
        return "as spoken; padding is masked"
    changes = cut_and_padded(n_samples, fixed_seconds)[1]
    return f"{fixed_seconds:g} s, all positions count: {changes}"


def versions(store: Path) -> dict[str, str]:
    """Versions of what results depend on.

    Parameters
    ----------
    store : path
        An encoder store: torch and transformers are those that the model ran with, which need not be
        installed where the report is written.
    """
    found = {"python": platform.python_version(), "steplens": __version__}
    for name in _SHOWN:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    attributes = open_store(store).attrs
    return found | {name: attributes[name] for name in ("torch", "transformers")}
