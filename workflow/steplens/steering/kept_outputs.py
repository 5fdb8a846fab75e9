"""Steered outputs that are kept as they are made, so that none is ever generated twice.

An output is known by its sentence and by the neurons and values that were fixed, not by the step or the
settings that led to them: another step, more random controls or more sentences generate only what is
new, and an interrupted job goes on where it was. Layout of the folder::

    <key>/part-<n>.parquet     outputs of one batch; all in one once the job has ended
    generated.json             how many outputs the last job generated, for ``snakemake plan``

The key is a digest of all else that determines an output, and every table names it. Folders of other keys
are removed.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from steplens.errors import TableError
from steplens.files.atomic import read_parquet, write_parquet
from steplens.files.records import read_record, write_record

log = logging.getLogger(__name__)

GENERATED = "generated.json"
# What tells the rows of a table of steer apart.
TRIAL = ["target", "control", "seed", "utterance"]
COLUMNS = ["fixed", "utterance", "n_tokens", "ended", "longest_repeat", "text"]


class SteeredOutputs:
    """The kept outputs of one source language and task.

    Parameters
    ----------
    folder : path
        Made where it is missing.
    determined_by : mapping
        All that determines an output beside its sentence and what is fixed; of what JSON can hold.
    """

    def __init__(self, folder: Path, determined_by: Mapping[str, Any]):
        content = json.dumps(determined_by, sort_keys=True)
        self._root = folder
        self._key = hashlib.sha256(content.encode()).hexdigest()[:32]
        self._folder = folder / self._key
        self._folder.mkdir(parents=True, exist_ok=True)
        for other in folder.iterdir():
            if other.is_dir() and other != self._folder:
                shutil.rmtree(other)
        self._parts: list[Path] = []
        self._known: dict[tuple[str, int], dict[str, Any]] = {}
        self._n_found = 0
        self._read()

    def _read(self) -> None:
        for path in sorted(self._folder.iterdir()):
            try:
                if not path.name.startswith("part-"):
                    raise ValueError("the rest of an interrupted write")
                self._take(read_part(path)[COLUMNS].to_dict("records"))
            except (OSError, ValueError, KeyError) as error:
                log.warning("%s: not used, its outputs are generated again: %s", path, error)
                path.unlink()
            else:
                self._parts.append(path)
        self._n_found = len(self._known)

    def _take(self, rows: list[dict[str, Any]]) -> None:
        self._known |= {(row["fixed"], row["utterance"]): row for row in rows}

    def __contains__(self, which: tuple[str, int]) -> bool:
        return which in self._known

    def __getitem__(self, which: tuple[str, int]) -> dict[str, Any]:
        """The output of (digest of what is fixed, utterance), as a dict of ``COLUMNS``."""
        return self._known[which]

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Keep new outputs, each a dict of ``COLUMNS``."""
        self._take(rows)
        self._write(rows)

    def _write(self, rows: list[dict[str, Any]]) -> None:
        number = 1 + max((int(path.stem.removeprefix("part-")) for path in self._parts), default=0)
        self._parts.append(self._folder / f"part-{number:06d}.parquet")
        table = pd.DataFrame(rows, columns=COLUMNS)
        table.attrs = {"key": self._key}
        write_parquet(table, self._parts[-1])

    def close(self) -> None:
        """Put all parts into one, and note how many outputs are new."""
        if len(self._parts) > 1:
            old = list(self._parts)
            self._write(list(self._known.values()))
            for path in old:
                path.unlink()
            self._parts = self._parts[-1:]
        write_record({"outputs": len(self._known) - self._n_found}, self._root / GENERATED)


def read_part(path: Path) -> pd.DataFrame:
    """A table of outputs, under the key that its folder names.

    Raises
    ------
    TableError
        It is damaged, or lies in the folder of another key.
    """
    table = read_parquet(path)
    if table.attrs.get("key") != path.parent.name:
        raise TableError(
            f"{path}: expected outputs under the key of the folder, got some under "
            f"{table.attrs.get('key')}; delete the file, and they are generated again"
        )
    return table


def n_generated(folder: Path) -> int | None:
    """How many outputs the last job generated there; None where nothing tells."""
    found = read_record(folder / GENERATED)
    return None if found is None else found["outputs"]
