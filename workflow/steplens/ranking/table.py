"""Conditions, the stores that are ranked together, and rankings: how both are opened and checked.

A ranking is a small Zarr group like a store: ``ap``, ``separation`` and ``median`` (language, neuron),
``n_valid`` (language), and the coordinates of languages and neurons. Top-k sets are taken from it where
they are needed, so that another k, or another way to order what is tied, ranks nothing again.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from steplens.batches.prefetch import Ahead
from steplens.errors import StoreError
from steplens.ranking.selection import Scores, cells_of, tiebreak
from steplens.settings import Selection
from steplens.store.groups import (
    NEURON_CHUNK,
    add_array,
    add_names,
    add_neurons,
    commit,
    fresh_folder,
    group_path,
    open_group,
    reading,
)
from steplens.store.left_out import read_left_out
from steplens.store.reading import open_store

AP_DECIMALS = 12
# What the stores of a condition must say alike of themselves.
_SAME = (
    "model",
    "revision",
    "config_digest",
    "compute_dtype",
    "module",
    "modality",
    "task",
    "step",
)
# What a ranking keeps of them, so that its neurons are looked for in the model that they were found in.
_MODEL = ("model", "revision", "config_digest", "made_by")
_BLOCK_BYTES = 1000**3
_NARROWEST = 32  # columns of a block: what the kernels take at a time
# What names a condition, for the random order of its equal neurons.
_CONDITION = ("module", "task", "step", "label")


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
    store_digests : dict of language to the digest of the store that was ranked
    attributes : dict of what the stores say of the model that made them
    separation : (n_languages, n_neurons) float64, to 9 decimals
        Standardised difference of means (``separation.py``), which orders equal AP; zeros if not given.
    condition : dict of the module, task, step and label that were ranked
    """

    languages: list[str]
    ap: np.ndarray
    median: np.ndarray
    n_valid: np.ndarray
    neurons: pd.DataFrame
    store_digests: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    separation: np.ndarray | None = None
    condition: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.separation is None:
            object.__setattr__(self, "separation", np.zeros(self.ap.shape))

    def scores(self, selection: Selection) -> Scores:
        """AP of all languages, and how neurons are chosen by it."""
        order = tiebreak(selection, self.separation, _streams(self.languages, [self.condition]))
        return Scores(self.ap, order, cells_of(selection, self.neurons))

    def row(self, language: str) -> int:
        """The row of a language."""
        return self.languages.index(language)


def _streams(languages: Sequence[str], conditions: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name per language in its condition: the same for a ranking and for the stores that it is of."""
    conditions = list(conditions) * (len(languages) if len(conditions) == 1 else 1)
    return [
        " ".join([*(str(of[key]) for key in _CONDITION if of.get(key) is not None), language])
        for language, of in zip(languages, conditions, strict=True)
    ]


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


def model_of(data: xr.Dataset) -> dict[str, Any]:
    """What a store or ranking says of the model that made it."""
    return {key: data.attrs[key] for key in _MODEL if key in data.attrs}


@dataclass(frozen=True)
class Condition:
    """The stores of one condition, one a language, opened lazily."""

    languages: list[str]
    paths: list[Path]
    data: list[xr.Dataset]
    valid: list[np.ndarray]  # (n_utterances,) bool a language
    columns: np.ndarray  # the neurons that take part

    @property
    def labels(self) -> np.ndarray:
        """The language, as an index, of each valid utterance: (n_examples,) int."""
        return np.repeat(np.arange(len(self.valid)), [mask.sum() for mask in self.valid])

    @property
    def sentences(self) -> np.ndarray:
        """The sentence id of each valid utterance: (n_examples,) int, in the order of ``labels``."""
        pairs = zip(self.data, self.valid, strict=True)
        return np.concatenate([data["utterance"].to_numpy()[mask] for data, mask in pairs])

    @property
    def all_sentences(self) -> np.ndarray:
        """The sentence ids of the stores, whether their utterances are valid or not, sorted."""
        return np.unique(np.concatenate([data["utterance"].to_numpy() for data in self.data]))

    def random_order(self, selection: Selection) -> np.ndarray | None:
        """What orders equal AP by lot, (n_languages, n_neurons); None where lots are not drawn."""
        if selection.ties != "random":
            return None
        shape = (len(self.languages), len(self.columns))
        streams = _streams(self.languages, [one.attrs for one in self.data])
        return tiebreak(selection, np.broadcast_to(0.0, shape), streams)

    def cells(self, selection: Selection) -> np.ndarray | None:
        """As ``selection.cells_of``, of the neurons that take part."""
        return cells_of(selection, neurons_of(self.data[0]).iloc[self.columns])

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Column positions and (n_examples, <= 16,384) activations, block by block.

        The next block is read while the caller works on one: two are in memory, of a gigabyte at most
        each. With so many examples that whole chunks would be more, chunks are read several times.
        """
        n_columns = len(self.columns)
        n_examples = sum(mask.sum() for mask in self.valid)
        chunk_bytes = n_examples * NEURON_CHUNK * self._dtype.itemsize
        width = max(_NARROWEST, NEURON_CHUNK // -(-chunk_bytes // _BLOCK_BYTES))
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
        for end, path, data, mask in zip(ends, self.paths, self.data, self.valid, strict=True):
            with reading(path):
                part = data["activation"][:, span].to_numpy()
            part = part if mask.all() else part[mask]
            block[end - len(part) : end] = part if whole else part[:, inside]
        return block


def open_condition(
    stores: dict[str, Path],
    include_step_invariant: bool,
    left_out: Path | Sequence[Path] | None = None,
    min_valid: int = 2,
    **expected: Any,
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
    **expected
        What every store must say of itself, as in ``open_store``.

    Raises
    ------
    StoreError
        A store is damaged, or of another language or condition.
    ValueError
        Stores of different neurons or models, or a language with too few valid utterances.
    """
    data = [open_store(path, language=language, **expected) for language, path in stores.items()]
    require_one_condition(list(stores.values()), data)
    first = data[0]
    valid = []
    for path, one in zip(stores.values(), data, strict=True):
        with reading(path):
            everyone = np.ones(one.sizes["utterance"], dtype=bool)
            valid.append(one["valid"].to_numpy() if "valid" in one else everyone)
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
    return Condition(list(stores), list(stores.values()), data, valid, np.flatnonzero(keep))


def require_one_condition(
    paths: Sequence[Path], data: Sequence[xr.Dataset], differ: Sequence[str] = ()
) -> None:
    """Raise ValueError unless all are of the same model, precision, task, step and neurons.

    Parameters
    ----------
    paths, data : sequences of paths, and of what they hold
    differ : sequence of str
        In what they may differ, for example ``("task",)``.
    """
    first = data[0]
    same = [key for key in _SAME if key not in differ]
    for path, other in zip(paths, data, strict=True):
        pairs = {key: (first.attrs.get(key), other.attrs.get(key)) for key in same}
        pairs["dtype"] = first["activation"].dtype, other["activation"].dtype
        pairs["neurons"] = first.sizes["neuron"], other.sizes["neuron"]
        for key, (expected, found) in pairs.items():
            if found != expected:
                raise ValueError(
                    f"{path}: {key}: expected {expected!s} as in {paths[0]}, got {found!s}; languages of "
                    "one condition come from one model, step and precision: delete the store and run the "
                    "workflow again"
                )


def write_ranking(path: str | Path, ranking: Ranking, condition: Mapping[str, Any]) -> None:
    """Write a ranking of a condition, given as in ``rank_condition.rank_condition``."""
    folder = fresh_folder(path)
    values = ranking.ap, ranking.separation, ranking.median, ranking.n_valid
    add_array(folder, "ap", ranking.ap, ["language", "neuron"])
    add_array(folder, "separation", ranking.separation, ["language", "neuron"])
    add_array(folder, "median", ranking.median, ["language", "neuron"])
    add_array(folder, "n_valid", ranking.n_valid, ["language"])
    add_neurons(folder, ranking.neurons)
    add_names(folder, "language", "language", ranking.languages)
    attributes = {
        "digest": _digest(*values),
        "languages": ranking.languages,
        "store_digests": ranking.store_digests,
        "condition": dict(condition),
    } | ranking.attributes
    commit(folder, attributes)


def open_ranking(path: str | Path, **expected: Any) -> Ranking:
    """Read a ranking.

    Parameters
    ----------
    path : path
        Its folder or ``zarr.json``.
    **expected
        What its condition must be, for example ``task="asr", step=6``.

    Raises
    ------
    StoreError
        It is not there, damaged, or of another condition.
    """
    path = group_path(path)
    data = open_group(path)
    with reading(path):
        ap, separation, median, n_valid = values = [
            data[name].to_numpy() for name in ("ap", "separation", "median", "n_valid")
        ]
        neurons = neurons_of(data)
    if _digest(*values) != data.attrs.get("digest"):
        raise StoreError(
            f"{path}: damaged: expected data with digest {data.attrs.get('digest')}, got "
            f"{_digest(*values)}; delete the folder and run the workflow again"
        )
    for key, value in expected.items():
        found = data.attrs["condition"].get(key)
        if found != value:
            raise StoreError(
                f"{path}: {key}: expected {value!r}, got {found!r}: the ranking of another condition lies "
                "there; delete the folder and run the workflow again"
            )
    return Ranking(
        data.attrs["languages"], ap, median, n_valid, neurons, data.attrs["store_digests"],
        model_of(data), separation, data.attrs["condition"],
    )  # fmt: skip


def require_ranked(ranking: Ranking, condition: Condition, path: Path) -> None:
    """Raise StoreError unless these very stores were ranked.

    Parameters
    ----------
    ranking : Ranking
    condition : Condition
        Of the same languages.
    path : path
        The ranking, for the message.
    """
    for language, store, data in zip(
        condition.languages, condition.paths, condition.data, strict=True
    ):
        ranked, found = ranking.store_digests.get(language), data.attrs["digest"]
        if ranked != found:
            raise StoreError(
                f"{store}: digest: expected {ranked}, which {group_path(path)} ranked, got {found}: the "
                "store was replaced; delete the ranking and run the workflow again"
            )


def _digest(*values: np.ndarray) -> str:
    digest = hashlib.sha256()
    for one in values:
        digest.update(np.ascontiguousarray(one))
    return digest.hexdigest()
