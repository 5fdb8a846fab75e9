"""Files that are whole or not there."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its name when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: some writers choose the format by it.
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a table as CSV, floats to nine significant digits, atomically.

    Carriage returns in texts become spaces: they end a row, and are not quoted.
    """
    frame = frame.replace("\r", " ", regex=True)
    with atomic_path(path) as partial:
        frame.to_csv(partial, index=False, float_format="%.9g", lineterminator="\n")


def write_parquet(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a table as Parquet, atomically."""
    with atomic_path(path) as partial:
        frame.to_parquet(partial, index=False)
