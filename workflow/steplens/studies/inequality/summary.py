"""Stage ``summarize``: the tables of the inequality study, out of what was measured of every store."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steplens.files.atomic import read_parquet, write_csv
from steplens.statistics.bootstrap import sentences_in
from steplens.store.left_out import read_left_out
from steplens.studies.inequality.gini import POINTS
from steplens.studies.inequality.groups import (
    Measured,
    Resampler,
    by_condition,
    condition_columns,
    intervals,
    mean_of_known,
    over_languages,
    script_rows,
)
from steplens.studies.inequality.paired import paired_table
from steplens.tasks import ALL

log = logging.getLogger(__name__)

TOP_SHARES = (0.01, 0.05, 0.1)  # of the module's neurons
_MODEL = ("model", "revision", "config_digest", "compute_dtype")
_NEURONS = ("n_neurons", "include_step_invariant", "of")
_AGAIN = "delete it, and the store behind it, and run the workflow again"


def summarize(
    measured: Sequence[Path],
    scripts: Mapping[str, str],
    n_resamples: int,
    seed: int,
    tables: Mapping[str, Path],
    left_out: Path | None = None,
) -> None:
    """Write ``inequality/gini.csv``, ``shares.csv``, ``lorenz.csv``, ``scripts.csv`` and ``paired.csv``.

    Parameters
    ----------
    measured : sequence of paths
        Tables of ``inequality.measure``, all from one model.
    scripts : mapping
        Script of each language of the run.
    n_resamples, seed : int
    tables : mapping
        Outputs, by name. ``gini``: a row a module, task (the modality, of an encoder), step (0, of an
        encoder), language, layer and submodule (or ``all``), with ``n`` utterances, ``n_zero`` of others
        of which all magnitudes are 0, and the mean ``gini`` with ``ci_low`` and ``ci_high``; language
        ``all``, of layers and modules, is the mean over languages; layer ``step-dependent`` is the module
        without step-invariant submodules. ``shares``: which ``share`` of the
        total the ``top`` of the module's neurons hold. ``lorenz``: ``share_of_neurons`` and
        ``share_of_magnitude``. ``scripts``, ``paired``: as in ``script_rows``, ``paired_table``.
    left_out : path, optional
        ``tables/speech_quality.csv``: what it leaves out takes no part.

    Raises
    ------
    TableError
        A table is damaged.
    ValueError
        Tables of several models or of other languages, one condition twice, or as in ``paired_table``.
    """
    skipped = read_left_out(left_out)
    resampler = Resampler(sentences_in(measured), n_resamples, seed)
    held: list[Measured] = []
    rows: dict[str, list[dict[str, Any]]] = {"gini": [], "shares": [], "lorenz": []}
    first: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in measured:
        table = read_parquet(path)
        _require_alike(path, table, first)
        if table.attrs["language"] not in scripts:
            raise ValueError(
                f"{path}: language: expected one of {', '.join(scripts)}, got "
                f"{table.attrs['language']!r}; {_AGAIN}"
            )
        one, coefficients, curves = _take_part(path, table, skipped)
        if one.condition in {other.condition for other in held if other.language == one.language}:
            raise ValueError(
                f"{path}: expected each condition once, got {one.condition} of {one.language} twice; "
                f"{_AGAIN}"
            )
        held.append(one)
        told = condition_columns(one.condition) | {"language": one.language}
        found = {
            "gini": _gini_rows(table.attrs["of"], coefficients, one.sentences, resampler),
            "shares": _share_rows(curves, one.sentences, resampler),
            "lorenz": _lorenz_rows(curves),
        }
        for name, of_store in found.items():
            rows[name] += [told | row for row in of_store]
    rows["gini"] += _rows_of_all(held, resampler)
    for name, of_table in rows.items():
        write_csv(pd.DataFrame(of_table), tables[name])
    write_csv(pd.DataFrame(script_rows(held, scripts, resampler)), tables["scripts"])
    paired = paired_table(held, list(scripts), resampler, seed)
    write_csv(paired, tables["paired"])
    zero = sum(row["n_zero"] for row in rows["gini"] if row["language"] != ALL)
    log.info("summarised %d stores; %d coefficients have no value, since all magnitudes are 0",
             len(held), zero)  # fmt: skip


def _require_alike(
    path: Path, table: pd.DataFrame, first: dict[str, tuple[Path, dict[str, Any]]]
) -> None:
    """One model, and in each module the same neurons."""
    told = table.attrs
    facts = {
        "": {key: told.get(key) for key in _MODEL},
        told["module"]: {key: told.get(key) for key in _NEURONS},
    }
    for of, found in facts.items():
        other, expected = first.setdefault(of, (path, found))
        for key, value in found.items():
            if value != expected[key]:
                raise ValueError(
                    f"{path}: {key}: expected {expected[key]!r} as in {other}, got {value!r}; {_AGAIN}"
                )


def _take_part(
    path: Path, table: pd.DataFrame, skipped: Mapping[str, np.ndarray]
) -> tuple[Measured, np.ndarray, np.ndarray]:
    """Of the utterances that take part: layers and module, all coefficients, and the curves."""
    told = table.attrs
    left = table["utterance"].isin(skipped.get(told["language"], []))
    kept = table[table["valid"] & ~left]
    coefficients = np.array(kept["gini"].tolist()).reshape(len(kept), len(told["of"]))
    curves = np.array(kept["lorenz"].tolist()).reshape(len(kept), POINTS)
    whole = [place for place, (_, submodule) in enumerate(told["of"]) if submodule == ALL]
    one = Measured(
        path,
        told["module"],
        told.get("task", told.get("modality", "")),
        int(told.get("step", 0)),
        told["language"],
        [told["of"][place][0] for place in whole],
        np.sort(table["utterance"].to_numpy()),
        kept["utterance"].to_numpy(),
        coefficients[:, whole],
    )
    return one, coefficients, curves


def _gini_rows(
    of: list[list[str]], values: np.ndarray, sentences: np.ndarray, resampler: Resampler
) -> Iterator[dict[str, Any]]:
    """Rows of ``gini.csv`` for one store."""
    n = np.isfinite(values).sum(axis=0)
    ends = intervals(resampler.means(values, sentences), n)
    estimates = mean_of_known(values)
    for place, (layer, submodule) in enumerate(of):
        yield {
            "layer": layer, "submodule": submodule, "n": n[place], "n_zero": len(values) - n[place],
            "gini": estimates[place], "ci_low": ends[place, 0], "ci_high": ends[place, 1],
        }  # fmt: skip


def _share_rows(
    curves: np.ndarray, sentences: np.ndarray, resampler: Resampler
) -> Iterator[dict[str, Any]]:
    """Rows of ``shares.csv`` for one store: what is left above a point of the curve."""
    above = 1 - curves[:, [round((1 - top) * (POINTS - 1)) for top in TOP_SHARES]]
    n = np.isfinite(above).sum(axis=0)
    ends = intervals(resampler.means(above, sentences), n)
    for place, share in enumerate(mean_of_known(above)):
        yield {
            "top": TOP_SHARES[place], "n": n[place], "share": share,
            "ci_low": ends[place, 0], "ci_high": ends[place, 1],
        }  # fmt: skip


def _lorenz_rows(curves: np.ndarray) -> Iterator[dict[str, Any]]:
    """Rows of ``lorenz.csv`` for one store: the mean curve."""
    for place, share in enumerate(mean_of_known(curves)):
        yield {"share_of_neurons": place / (POINTS - 1), "share_of_magnitude": share}


def _rows_of_all(measured: Sequence[Measured], resampler: Resampler) -> Iterator[dict[str, Any]]:
    """Rows of ``gini.csv`` for the mean over languages, of layers and modules."""
    for condition, members in by_condition(measured).items():
        estimate, draws, n = over_languages(
            [(one.gini, one.sentences) for one in members], resampler
        )
        ends = intervals(draws, n)
        total = sum(len(one.sentences) for one in members)
        for column, layer in enumerate(members[0].layers):
            yield condition_columns(condition) | {
                "language": ALL, "layer": layer, "submodule": ALL, "n": n[column],
                "n_zero": total - n[column], "gini": estimate[column],
                "ci_low": ends[column, 0], "ci_high": ends[column, 1],
            }  # fmt: skip
