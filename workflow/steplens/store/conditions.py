"""What a Parquet table says of itself: its condition, how it was made, and of what.

Beside the columns stand, among the ``attrs``: the condition (module, task, language, step …), ``made_by``
(model, code and settings), and ``inputs``, the digest of everything that was read, by name. A reader takes
the condition from the path that it was given and refuses a table of another one.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from steplens.errors import TableError
from steplens.files.atomic import read_parquet, table_digest

_AGAIN = "delete the file and run the workflow again"


def digest_of(path: str | Path) -> str:
    """Digest of an input: a store's or ranking's data, or a table's file.

    Raises
    ------
    StoreError
        A store that is not there, or damaged.
    OSError
        No such table.
    """
    path = Path(path)
    if path.name == "zarr.json" or path.suffix == ".zarr":
        from steplens.store.groups import (
            read_root,  # speech is made where neither zarr nor xarray is installed
        )

        return read_root(path)["attributes"]["digest"]
    return table_digest(path)


def of_condition(
    condition: Mapping[str, Any], made_by: Mapping[str, Any], inputs: Mapping[str, Path]
) -> dict[str, Any]:
    """``attrs`` of a table.

    Parameters
    ----------
    condition : mapping
        By the names of columns, of what JSON can hold.
    made_by : mapping
        Model and code, and what else settles the values.
    inputs : mapping
        Name to path of what was read.
    """
    read = {name: digest_of(path) for name, path in inputs.items()}
    return {**condition, "made_by": dict(made_by), "inputs": read}


def read_condition(path: Path, unique: Sequence[str] = (), **condition: Any) -> pd.DataFrame:
    """A table that says of itself what is expected, in its ``attrs`` and in every row.

    Parameters
    ----------
    path : path
    unique : sequence of str
        Columns that together tell rows apart.
    **condition
        What the table must say of itself, for example ``task="asr", source="deu", step=6``. Where a
        column has the name, every row must hold the value.

    Raises
    ------
    TableError
        It is damaged, of another condition, or has a row twice.
    """
    table = read_parquet(path)
    for problem in not_of_condition(table, unique, **condition):
        raise TableError(f"{path}: {problem}; {_AGAIN}")
    return table


def not_of_condition(
    table: pd.DataFrame, unique: Sequence[str] = (), **condition: Any
) -> Iterator[str]:
    """What a table says of itself that is not expected, as ``read_condition`` has it: texts."""
    for key, value in condition.items():
        if table.attrs.get(key) != value:
            yield f"{key}: expected {value!r}, got {table.attrs.get(key)!r}: a table of something else"
        elif key in table.columns:
            column = table[key]
            others = column[column.notna() if value is None else ~column.eq(value).fillna(False)]
            if len(others):
                yield (
                    f"{key}: expected {value!r} in every row, got {others.tolist()[0]!r} in "
                    f"{len(others)} of {len(table)}"
                )
    if unique:
        twice = table.duplicated(list(unique))
        if twice.any():
            row = table.loc[twice, list(unique)].iloc[0]
            named = ", ".join(f"{name} {value}" for name, value in row.items())
            yield f"expected each row once, got {int(twice.sum())} twice, the first {named}"
