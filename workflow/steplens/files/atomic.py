"""Files that are whole or not there: the one way in which steplens writes a file.

What is written in another way is named in ``tests/unit/files/test_atomic.py``, with the reason: above all
chunks of stores, which Zarr writes, and which are no result before ``zarr.json``, the commit mark, stands
beside them.
"""

import contextlib
import glob
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steplens.errors import TableError
from steplens.files.table_metadata import metadata_of, metadata_path, read_metadata

_DIGEST = "content_digest"
_AGAIN = "delete the file and run the workflow again"
# What a spreadsheet may take for a formula (OWASP, "CSV Injection"); full-width forms too.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its name when the block ends without an error.

    What was written is on the disk (``fsync``) before it takes the name: after a power cut the file is the
    old one or the new one, whole.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # What writers left that were killed: nobody else writes this file.
    for rest in path.parent.glob(f".partial-*-{glob.escape(path.name)}"):
        rest.unlink(missing_ok=True)
    # The suffix stays last: some writers choose the format by it.
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # of a full disk, for one
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file atomically."""
    with atomic_path(path) as partial:
        partial.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    """Write a text as UTF-8, its line ends as they are, atomically."""
    write_bytes(path, content.encode())


def write_json(path: str | Path, content: Any, indent: int | None = 1) -> None:
    """Write JSON with a line end, atomically."""
    write_text(path, json.dumps(content, indent=indent) + "\n")


def write_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a table as CSV, floats to nine significant digits, and its metadata beside it, atomically.

    Carriage returns in texts become spaces: they end a row, and are not quoted. Texts that a spreadsheet
    would take for a formula get an apostrophe in front, which ``read_csv`` takes away again; numbers
    stay as they are, negative ones too.
    """
    frame = frame.replace("\r", " ", regex=True)
    columns = [_described(str(name), column) for name, column in frame.items()]
    texts = {
        name: column.map(_disarmed) for name, column in frame.items() if _may_hold_text(column)
    }
    buffer = io.StringIO()
    frame.assign(**texts).to_csv(buffer, index=False, float_format="%.9g", lineterminator="\n")
    content = buffer.getvalue().encode()
    sha256 = hashlib.sha256(content).hexdigest()
    write_json(metadata_path(path), metadata_of(path, sha256, columns))
    write_bytes(path, content)


def read_csv(path: str | Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Read a table as ``write_csv`` wrote it.

    Columns that held texts hold texts again, whatever these look like ("NA", "nan", "007"), and those of
    floats hold floats, also where all of them are whole; other columns are whole numbers or truth values.
    A number is missing where a field is empty. An empty text of a column that had missing values is a
    missing value.

    Parameters
    ----------
    path : path
    columns : list of str, optional
        Those to give, in this order; all unless given.

    Raises
    ------
    TableError
        It, or its metadata, is damaged, lost or another table's.
    """
    content = Path(path).read_bytes()
    metadata = read_metadata(path, hashlib.sha256(content).hexdigest())
    schema = metadata["tableSchema"]["columns"]
    if not schema:  # a table without rows may have no columns
        return pd.DataFrame()
    frame = pd.read_csv(
        io.BytesIO(content),
        dtype={one["name"]: _TYPES[one["datatype"]] for one in schema if "datatype" in one},
        keep_default_na=False,
        skip_blank_lines=False,  # a row of one space is one
        na_values={one["name"]: [""] for one in schema if one.get("null") != []},
    )
    texts = {name: column.map(_armed) for name, column in frame.items() if _may_hold_text(column)}
    frame = frame.assign(**texts)
    return frame if columns is None else frame[columns]


_TYPES = {"string": str, "number": float}


def _described(name: str, column: pd.Series) -> dict[str, Any]:
    """A column in the words of CSV on the Web; ``null`` is the text of a missing value, unless none is."""
    if pd.api.types.is_float_dtype(column.dtype):
        return {"name": name, "datatype": "number"}
    present = column.dropna()
    if not (_may_hold_text(column) and len(present) and present.map(type).eq(str).all()):
        return {"name": name}
    null = {} if len(present) < len(column) else {"null": []}
    return {"name": name, "datatype": "string"} | null


def _may_hold_text(column: pd.Series) -> bool:
    return not isinstance(column.dtype, np.dtype) or column.dtype == object


def _disarmed(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _armed(value: Any) -> Any:
    """Undoes ``_disarmed``."""
    if isinstance(value, str) and value.startswith("'") and _FORMULA.match(value):
        return value[1:]
    return value


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
