"""Which k neurons are chosen by AP (D6): the best or the worst, what decides among equals, within what.

Where a model has the language tag at hand, hundreds of neurons tell a language without a fault, more than
k at times: which of them are chosen is then for the tie-break to say. ``settings.Selection`` names the
rule, ``top_k`` and ``bottom_k`` apply it, ``count_ties`` says how much it decided.
"""

import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from steplens.settings import Selection


def tiebreak(selection: Selection, separation: np.ndarray, rows: list[str]) -> np.ndarray | None:
    """What orders equal AP, the highest first; None for the order of columns.

    Parameters
    ----------
    selection : Selection
    separation : (n_rows, n_neurons) array
    rows : list of str
        A name per row, such as ``"decoder asr 1 deu"``: the stream of its random order.
    """
    if selection.ties == "column":
        return None
    if selection.ties == "separation":
        return separation
    streams = [np.random.default_rng([selection.seed, zlib.crc32(row.encode())]) for row in rows]
    return np.array([stream.random(separation.shape[-1]) for stream in streams])


def cells_of(selection: Selection, neurons: pd.DataFrame) -> np.ndarray | None:
    """The pair of layer and submodule of each neuron, as a number from 0; None for the whole module."""
    if selection.scope == "module":
        return None
    return neurons.groupby(["layer", "submodule"], observed=True).ngroup().to_numpy()


@dataclass(frozen=True)
class Scores:
    """AP of every neuron for every language, and how the best are chosen by it.

    Attributes
    ----------
    ap : (n_languages, n_neurons) array
    tiebreak : (n_languages, n_neurons) array, optional
    cells : (n_neurons,) int array, optional
        Both as in ``top_k``.
    """

    ap: np.ndarray
    tiebreak: np.ndarray | None = None
    cells: np.ndarray | None = None

    def row(self, number: int) -> "Scores":
        """Those of one language: arrays (n_neurons,)."""
        order = None if self.tiebreak is None else self.tiebreak[number]
        return Scores(self.ap[number], order, self.cells)

    def top(self, k: int) -> np.ndarray:
        """Columns of the top k, best first: (n_languages, k) int64."""
        return top_k(self.ap, k, self.tiebreak, self.cells)

    def bottom(self, k: int) -> np.ndarray:
        """Columns of the bottom k, lowest first: (n_languages, k) int64."""
        return bottom_k(self.ap, k, self.tiebreak, self.cells)

    def count_ties(self, k: int, lowest: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """As the function ``count_ties``, of the top k or the bottom k: (n_languages,) each."""
        return count_ties(self.ap, k, lowest, self.cells)


def top_k(
    ap: np.ndarray,
    k: int,
    tiebreak: np.ndarray | None = None,
    cells: np.ndarray | None = None,
) -> np.ndarray:
    """Columns of the k highest AP, best first (D6).

    Parameters
    ----------
    ap : (..., n_neurons) array
    k : int
        At most n_neurons.
    tiebreak : (..., n_neurons) array, optional
        Of equal AP, the higher one comes first; what is equal in this too, or without it, is ordered by
        column.
    cells : (n_neurons,) int array, optional
        Groups of neurons, from 0: k is shared out among them (``shares``), and the best of each are taken.

    Returns
    -------
    (..., k) int64 array

    Raises
    ------
    ValueError
        k is below 1 or above n_neurons.
    """
    ap, tiebreak = _ordered(ap), None if tiebreak is None else _ordered(tiebreak)
    return bottom_k(-ap, k, None if tiebreak is None else -tiebreak, cells)


def bottom_k(
    ap: np.ndarray,
    k: int,
    tiebreak: np.ndarray | None = None,
    cells: np.ndarray | None = None,
) -> np.ndarray:
    """Columns of the k lowest AP, lowest first; of equal AP the lower ``tiebreak`` comes first.

    Parameters, result and errors are those of ``top_k``.
    """
    ap = _ordered(ap)
    n_neurons = ap.shape[-1]
    _check_k(n_neurons, k)
    rows = ap.reshape(-1, n_neurons)
    orders = [None] * len(rows)
    if tiebreak is not None:
        orders = np.broadcast_to(_ordered(tiebreak), ap.shape).reshape(-1, n_neurons)
    if cells is None:
        chosen = [_lowest(row, k, order) for row, order in zip(rows, orders, strict=True)]
    else:
        _check_cells(cells, n_neurons)
        quota = shares(cells, k)
        chosen = [
            _lowest_of_cells(row, order, cells, quota)
            for row, order in zip(rows, orders, strict=True)
        ]
    return np.array(chosen, dtype=np.int64).reshape(*ap.shape[:-1], k)


def shares(cells: np.ndarray, k: int) -> np.ndarray:
    """How many of k neurons each group gives: in proportion to its size, by largest remainders.

    Parameters
    ----------
    cells : (n_neurons,) int array
        The group of each neuron, from 0.
    k : int

    Returns
    -------
    (n_cells,) int64 array
        Sums to k; none above the size of its group. Equal remainders go to the first groups.
    """
    sizes = np.bincount(cells)
    _check_k(len(cells), k)
    # In whole numbers: remainders of equal groups are equal.
    quota, remainder = np.divmod(k * sizes.astype(np.int64), len(cells))
    rest = k - quota.sum()
    quota[np.argsort(-remainder, kind="stable")[:rest]] += 1
    return quota


def count_ties(
    ap: np.ndarray, k: int, lowest: bool = False, cells: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """How many of the k chosen neurons a tie decided, and among how many.

    Parameters
    ----------
    ap : (..., n_neurons) array
    k : int
    lowest : bool
        Of the bottom k instead of the top k.
    cells : (n_neurons,) int array, optional
        As in ``top_k``; counts are then sums over the groups.

    Returns
    -------
    decided, tied : (...) int64 arrays
        ``decided`` of the k places went to some of the ``tied`` neurons whose AP is that of the last
        place. Both 0 where all of these have a place: then there was nothing to decide.
    """
    ap = _ordered(ap)
    n_neurons = ap.shape[-1]
    _check_k(n_neurons, k)
    rows = (ap if lowest else -ap).reshape(-1, n_neurons)
    if cells is None:
        groups = [(slice(None), k)]
    else:
        _check_cells(cells, n_neurons)
        quota = shares(cells, k)
        in_order = np.argsort(cells, kind="stable")
        members = np.split(in_order, np.cumsum(np.bincount(cells))[:-1])
        groups = [(one, n) for one, n in zip(members, quota, strict=True) if n]
    counts = np.zeros((2, len(rows)), dtype=np.int64)
    for number, row in enumerate(rows):
        for where, n in groups:
            values = row[where]
            last = np.partition(values, n - 1)[n - 1]
            places, tied = n - (values < last).sum(), (values == last).sum()
            if tied > places:
                counts[:, number] += places, tied
    decided, tied = counts.reshape(2, *ap.shape[:-1])
    return decided, tied


def _lowest(row: np.ndarray, k: int, order: np.ndarray | None) -> np.ndarray:
    """The first k by value, order and column, without sorting what is not among them."""
    last = np.partition(row, k - 1)[k - 1]
    near = np.flatnonzero(row <= last)
    if len(near) < k:  # what has no order, NaN, is among the k: last, as a sort has it
        near = np.arange(len(row))
    keys = (row[near],) if order is None else (order[near], row[near])
    return near[np.lexsort(keys)[:k]]


def best_of_cells(
    ap: np.ndarray, order: np.ndarray | None, cells: np.ndarray, quota: np.ndarray
) -> np.ndarray:
    """The first ``quota`` of every group that are there, highest AP first.

    Parameters
    ----------
    ap, order : (n,) arrays
        ``order`` breaks ties, the highest first; what is equal in both stays in its order.
    cells : (n,) int array
    quota : (n_cells,) int array

    Returns
    -------
    (m,) int64 array of places
    """
    return _lowest_of_cells(-ap, None if order is None else -order, cells, quota)


def _lowest_of_cells(
    row: np.ndarray, order: np.ndarray | None, cells: np.ndarray, quota: np.ndarray
) -> np.ndarray:
    """The first ``quota`` of every group, all of them by value, order and column."""
    keys = (row,) if order is None else (order, row)
    by_value = np.lexsort(keys)
    by_cell = by_value[np.argsort(cells[by_value], kind="stable")]
    sizes = np.bincount(cells, minlength=len(quota))
    place = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    taken = np.zeros(len(row), dtype=bool)
    taken[by_cell[place < quota[cells[by_cell]]]] = True
    return by_value[taken[by_value]]


def _ordered(values: np.ndarray) -> np.ndarray:
    """As floats, whose order the sign turns round; that of unsigned integers it does not."""
    values = np.asarray(values)
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def _check_cells(cells: np.ndarray, n_neurons: int) -> None:
    if np.shape(cells) != (n_neurons,):
        raise ValueError(f"cells: expected ({n_neurons},), one per neuron, got {np.shape(cells)}")


def _check_k(n_neurons: int, k: int) -> None:
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise ValueError(f"k: expected a whole number, got {k!r}")
    if not 1 <= k <= n_neurons:
        raise ValueError(f"k: expected 1 to {n_neurons} (the number of neurons), got {k}")
