"""Loads what the model will need next while it is still busy."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Ahead(Generic[Item]):
    """Items by row number, loaded in other threads in the order in which they will be asked for.

    Parameters
    ----------
    load : callable
        Gives the item of a row; an error comes out where the row is asked for.
    order : sequence of int
        All rows, each once.
    ahead : int
        How many items may be loaded before anybody asks for them: they are held in memory.
    threads : int

    Notes
    -----
    A row may be asked for again, as after a batch that did not fit into memory. An item is kept until
    rows behind it in the order are asked for without it; one that is gone is loaded again.
    """

    def __init__(
        self, load: Callable[[int], Item], order: Sequence[int], ahead: int, threads: int = 1
    ):
        self._load, self._ahead = load, ahead
        self._order = [int(row) for row in order]
        self._place = {row: place for place, row in enumerate(self._order)}
        self._items: dict[int, Future] = {}
        self._kept_from = self._asked_until = 0  # places in the order
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="ahead")

    def take(self, rows: Iterable[int]) -> list[Item]:
        """The items of rows that follow each other in the order."""
        rows = [int(row) for row in rows]
        first, last = self._place[rows[0]], self._place[rows[-1]]
        for row in self._order[self._kept_from : first]:
            self._items.pop(row, None)
        self._kept_from = max(self._kept_from, first)
        until = min(last + 1 + self._ahead, len(self._order))
        for row in self._order[self._asked_until : until]:
            self._items[row] = self._threads.submit(self._load, row)
        self._asked_until = max(self._asked_until, until)
        return [
            self._items[row].result() if row in self._items else self._load(row) for row in rows
        ]

    def __enter__(self) -> "Ahead[Item]":
        return self

    def __exit__(self, *_error) -> None:
        self._threads.shutdown(cancel_futures=True)
