"""Stage ``rank``: AP and medians of every neuron for every language, from one condition's stores.

A ranking is a small Zarr group like a store: ``ap`` and ``median`` (language, neuron), ``n_valid``
(language), and the neuron coordinates. Top-k sets are taken from it where they are needed, so that
another k ranks nothing again.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from .ahead import Ahead
from .left_out import read_left_out
from .ranking import rank, use_threads
from .sorting import NEURONS_AT_A_TIME
from .store import NEURON_CHUNK, add_array, add_neurons, commit, fresh_folder, open_store

log = logging.getLogger(__name__)

AP_DECIMALS = 12
_BLOCK_BYTES = 1000**3


@dataclass(frozen=True)
class Ranking:
    """One condition's AP and medians.

    Attributes
    ----------
    languages : list of str
    ap : (n_languages, n_neurons) float64, to 12 decimals
    median : (n_languages, n_neurons) float32
    n_valid : (n_languages,) int; utterances behind each row
    neurons : DataFrame of layer, submodule, unit, step_invariant, a row a column of ``ap``
    """

    languages: list[str]
    ap: np.ndarray
    median: np.ndarray
    n_valid: np.ndarray
    neurons: pd.DataFrame

    def row(self, language: str) -> int:
        """The row of a language."""
        return self.languages.index(language)


def neurons_of(data: xr.Dataset) -> pd.DataFrame:
    """The neuron table of an opened store or ranking."""
    names = data["submodule"].to_numpy()
    return pd.DataFrame(
        {
            "layer": data["layer"].to_numpy(),
            "submodule": pd.Categorical(names, categories=list(dict.fromkeys(names))),
            "unit": data["unit"].to_numpy(),
            "step_invariant": data["step_invariant"].to_numpy(),
        }
    )


@dataclass(frozen=True)
class Condition:
    """The stores of one condition, one a language, opened lazily."""

    languages: list[str]
    data: list[xr.Dataset]
    valid: list[np.ndarray]  # (n_utterances,) bool a language
    columns: np.ndarray  # the neurons that take part

    @property
    def labels(self) -> np.ndarray:
        """The language, as an index, of each valid utterance: (n_examples,) int."""
        return np.repeat(np.arange(len(self.valid)), [mask.sum() for mask in self.valid])

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Column positions and (n_examples, <= 16,384) activations, block by block.

        The next block is read while the caller works on one: two are in memory, of a gigabyte at most
        each. With so many examples that whole chunks would be more, chunks are read several times.
        """
        n_columns = len(self.columns)
        n_examples = sum(mask.sum() for mask in self.valid)
        chunk_bytes = n_examples * NEURON_CHUNK * self._dtype.itemsize
        width = max(NEURONS_AT_A_TIME, NEURON_CHUNK // -(-chunk_bytes // _BLOCK_BYTES))
        blocks = [
            slice(start, min(start + width, n_columns)) for start in range(0, n_columns, width)
        ]
        with Ahead(lambda number: self._read(blocks[number]), range(len(blocks)), ahead=1) as ahead:
            for number, where in enumerate(blocks):
                yield where, ahead.take([number])[0]

    @property
    def _dtype(self) -> np.dtype:
        return np.result_type(*(data["activation"].dtype for data in self.data))

    def _read(self, where: slice) -> np.ndarray:
        columns = self.columns[where]
        span = slice(columns[0], columns[-1] + 1)
        inside = columns - columns[0]
        whole = len(columns) == span.stop - span.start
        ends = np.cumsum([mask.sum() for mask in self.valid])
        block = np.empty((ends[-1], len(columns)), dtype=self._dtype)
        for end, data, mask in zip(ends, self.data, self.valid, strict=True):
            part = data["activation"][:, span].to_numpy()
            part = part if mask.all() else part[mask]
            block[end - len(part) : end] = part if whole else part[:, inside]
        return block


def open_condition(
    stores: dict[str, Path],
    include_step_invariant: bool,
    left_out: Path | Sequence[Path] | None = None,
    min_valid: int = 2,
) -> Condition:
    """Open one condition's stores.

    Parameters
    ----------
    stores : dict
        Language to store.
    include_step_invariant : bool
        Whether cross-attention keys and values take part (D4).
    left_out : path, optional
        ``tables/speech_quality.csv``: utterances that it leaves out count as not valid.
    min_valid : int
        Valid utterances that every language needs.

    Raises
    ------
    ValueError
        Stores of different neurons or models, or a language with too few valid utterances.
    """
    data = [open_store(path) for path in stores.values()]
    first = data[0]
    for path, other in zip(stores.values(), data, strict=True):
        for key in ("model", "revision"):
            if other.attrs[key] != first.attrs[key]:
                raise ValueError(
                    f"{path}: {key}: expected {first.attrs[key]!r}, got {other.attrs[key]!r}; "
                    "languages of one condition come from one model"
                )
        if other.sizes["neuron"] != first.sizes["neuron"]:
            raise ValueError(
                f"{path}: expected {first.sizes['neuron']} neurons, got {other.sizes['neuron']}"
            )
    valid = [
        one["valid"].to_numpy() if "valid" in one else np.ones(one.sizes["utterance"], dtype=bool)
        for one in data
    ]
    skipped = read_left_out(left_out)
    valid = [
        mask & ~np.isin(one["utterance"].to_numpy(), skipped.get(language, []))
        for language, one, mask in zip(stores, data, valid, strict=True)
    ]
    for language, path, mask in zip(stores, stores.values(), valid, strict=True):
        if mask.sum() < min_valid:
            raise ValueError(
                f"{path}: {language} has {mask.sum()} valid utterances, expected at least "
                f"{min_valid}: its sentences end before this step, or {len(skipped.get(language, []))} "
                "badly spoken ones are left out (tables/speech_quality.csv); drop the step or the "
                "language, or mend its speech"
            )
    keep = np.ones(first.sizes["neuron"], dtype=bool)
    if not include_step_invariant:
        keep = ~first["step_invariant"].to_numpy()
    return Condition(list(stores), data, valid, np.flatnonzero(keep))


def rank_condition(
    stores: dict[str, Path],
    output: Path,
    include_step_invariant: bool,
    threads: int,
    left_out: Path | None = None,
) -> None:
    """Write one ranking.

    Parameters
    ----------
    stores : dict
        Language to store, in the order of the ranking's rows.
    output : path
        The ranking's ``zarr.json``.
    include_step_invariant : bool
    threads : int
    left_out : path, optional
        As in ``open_condition``.
    """
    use_threads(threads)
    condition = open_condition(stores, include_step_invariant, left_out)
    shape = (len(stores), len(condition.columns))
    ap, median = np.empty(shape), np.empty(shape, dtype=np.float32)
    labels = condition.labels
    for where, activations in condition.blocks():
        ap[:, where], median[:, where] = rank(activations, labels, len(stores))
    # Equal AP must be equal to the last bit, to share a rank and to be ordered by column (D6). Sums of
    # the same terms in another order are not; what is rounded away is far below 1 / n_examples².
    ap = np.round(ap, AP_DECIMALS)
    n_valid = np.array([mask.sum() for mask in condition.valid])
    path = fresh_folder(output)
    add_array(path, "ap", ap, ["language", "neuron"])
    add_array(path, "median", median, ["language", "neuron"])
    add_array(path, "n_valid", n_valid, ["language"])
    add_neurons(path, neurons_of(condition.data[0]).iloc[condition.columns])
    sources = {lang: one.attrs["digest"] for lang, one in zip(stores, condition.data, strict=True)}
    commit(path, {"languages": list(stores), "store_digests": sources})
    for language, perfect in zip(stores, (ap == 1).sum(1), strict=True):
        log.info("%s: %d neurons with AP = 1, ordered by column", language, perfect)
    log.info(
        "ranked %d neurons for %d languages over %d utterances", shape[1], shape[0], len(labels)
    )


def open_ranking(path: str | Path) -> Ranking:
    """Read a ranking."""
    data = open_store(path)
    return Ranking(
        data.attrs["languages"],
        data["ap"].to_numpy(),
        data["median"].to_numpy(),
        data["n_valid"].to_numpy(),
        neurons_of(data),
    )
