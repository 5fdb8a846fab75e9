"""Files that are whole or not there."""

import contextlib
import glob
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

_DIGEST = "content_digest"
_AGAIN = "delete the file and run the workflow again"


class TableError(ValueError):
    """A table that cannot be read as it was written."""


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its name when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # What writers left that were killed: nobody else writes this file.
    for rest in path.parent.glob(f".partial-*-{glob.escape(path.name)}"):
        rest.unlink(missing_ok=True)
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
    """Write a table as Parquet, with its ``attrs`` (of what JSON can hold) and a digest, atomically."""
    frame = frame.copy(deep=False)
    frame.attrs = {key: value for key, value in frame.attrs.items() if key != _DIGEST}
    frame.attrs[_DIGEST] = _content_digest(frame)
    with atomic_path(path) as partial:
        frame.to_parquet(partial, index=False)


def read_parquet(path: str | Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a table as ``write_parquet`` wrote it.

    Raises
    ------
    TableError
        It is damaged.
    """
    try:
        frame = pd.read_parquet(path)
        told = frame.attrs.pop(_DIGEST, None)
        found = _content_digest(frame)
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file may fail anywhere
        raise TableError(
            f"{path}: damaged: expected a Parquet table, got {type(error).__name__}: "
            f"{' '.join(str(error).split())}; {_AGAIN}"
        ) from error
    if found != told:
        raise TableError(
            f"{path}: damaged: expected a table with digest {told}, got {found}; {_AGAIN}"
        )
    return frame if columns is None else frame[columns]


def table_digest(path: str | Path) -> str:
    """Thirty-two hex digits of the content of a table's file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:32]


def _content_digest(frame: pd.DataFrame) -> str:
    """Thirty-two hex digits over names, values and ``attrs``: Parquet's checksums leave names out."""
    digest = hashlib.sha256(json.dumps(frame.attrs, sort_keys=True).encode())
    for name, column in frame.items():
        dtype = column.dtype
        number = isinstance(dtype, np.dtype) and dtype.kind in "iufb"
        values = column.astype(object).where(column.notna(), None).tolist()
        content = [str(name), dtype.str if number else "", values]
        digest.update(
            json.dumps(content, ensure_ascii=False, default=_plain).encode("utf-8", "surrogatepass")
        )
    return digest.hexdigest()[:32]


def _plain(value: np.ndarray | np.generic) -> Any:
    return value.tolist()
