"""What is wrong with one result: checks of ``snakemake verify``, each of one kind of file."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from steplens.errors import RecordError, StoreError
from steplens.files.atomic import read_parquet, table_digest
from steplens.files.input_files import other_kind
from steplens.files.records import from_line
from steplens.files.table_metadata import metadata_path
from steplens.ranking.table import open_ranking
from steplens.run.layout import walk
from steplens.speech.takes import file_digest
from steplens.steering.kept_outputs import read_part
from steplens.store.check import check_store
from steplens.store.groups import COMMIT_MARK, damaged_files, group_path, read_root
from steplens.store.journal import NAME as DUMP_JOURNAL


class OfAnotherInput(str):
    """A problem that is none of its own where the input is damaged: mended, it will fit again."""

    def __new__(cls, text: str, source: Path):
        problem = super().__new__(cls, text)
        problem.source = group_path(source)
        return problem


class Note(str):
    """What lies there and is no damage: it counts for nothing, or is made again where it is needed."""


def check_audio(path: Path) -> Iterator[str]:
    """What is wrong with the audio that ``speech/<language>.parquet`` lists."""
    table = read_parquet(path)
    for name, digest in zip(table["path"], table["sha256"], strict=True):
        file = path.parent / name
        if not file.is_file():
            yield f"{file}: the audio is lost"
        elif file_digest(file) != digest:
            yield f"{file}: not what was spoken"
    listed = {path.parent / name for name in table["path"]}
    for file in sorted(path.with_suffix("").glob("*.wav")):
        if file not in listed and file.stem.isdecimal():  # another name is no audio of ours
            yield Note(f"{file}: audio of a sentence that {path} does not list")


def check_group(path: Path) -> Iterator[str]:
    """Chunks and metadata that are damaged, and files that no array of the store or ranking has."""
    for file, wrong in damaged_files(path):
        raise StoreError(f"{path}: {file}: {wrong}; delete the folder and run the workflow again")
    known = {path / COMMIT_MARK, metadata_path(path / COMMIT_MARK), path / DUMP_JOURNAL}
    known |= {path / name for name in files_of(path)}
    for file in sorted(one for one in path.rglob("*") if not one.is_dir()):
        if file.name.startswith(".partial-") or file.suffix == ".partial":
            yield Note(f"{file}: the rest of an interrupted write")
        elif file not in known:
            yield f"{file}: no array of {path} has this file"
    journal = path / DUMP_JOURNAL
    if journal.exists():
        yield from check_record(journal)


def require_files(path: Path) -> None:
    """Whether all that lies in a store are files: whoever reads a named pipe waits for ever.

    Raises
    ------
    StoreError
    """
    for file in walk(path):
        if kind := other_kind(file):
            raise StoreError(
                f"{file}: expected a file of {path}, got {kind}; delete the folder of the store and run "
                "the workflow again"
            )


def files_of(path: Path) -> Iterator[str]:
    """Metadata and chunks of every array of a committed group, as paths within it."""
    for name in read_root(path)["consolidated_metadata"]["metadata"]:
        yield f"{name}/{COMMIT_MARK}"
        array = zarr.open_array(LocalStore(path / name, read_only=True), mode="r")
        sizes = zip(array.shape, array.shards or array.chunks, strict=True)
        for place in np.ndindex(*(math.ceil(n / size) for n, size in sizes)):
            yield "/".join([name, ".".join(["c", *map(str, place)])])


def check_whole_store(path: Path) -> Iterator[str]:
    """What is wrong with a store of activations, read whole."""
    require_files(path)
    check_store(path)
    yield from check_group(path)


def ranking_check(
    stores: Mapping[str, Path], condition: Mapping[str, Any], rows: Sequence[str] | None = None
) -> Callable[[Path], Iterator[str]]:
    """A check of a ranking: it is whole, and of these stores as they are now; its rows are as told."""
    rows = list(stores) if rows is None else list(rows)

    def check(path: Path) -> Iterator[str]:
        require_files(path)
        ranking = open_ranking(path, **condition)
        if ranking.languages != rows:
            yield f"languages: expected {rows}, got {ranking.languages}"
        yield from of_other_inputs(ranking.store_digests, stores)
        yield from check_group(path)

    return check


def check_record(path: Path) -> Iterator[str]:
    """Whether a journal of one record is as it was written."""
    try:
        from_line(path.read_bytes())
    except RecordError as error:
        yield Note(f"{path}: counts as not there, and what it told of is done again: {error}")


def check_takes(path: Path) -> Iterator[str]:
    """Whether all lines of ``takes.jsonl`` are as they were written."""
    wrong = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        try:
            if line:
                from_line(line)
        except RecordError:
            wrong.append(number)
    if wrong:
        yield Note(
            f"{path}: {len(wrong)} lines are not as they were written, the first line {wrong[0]}: their "
            "takes are made again when the language is spoken again"
        )


def check_part(path: Path) -> Iterator[str]:
    """Whether kept outputs, or the number of them, are as they were written."""
    if path.suffix == ".json":
        yield from check_record(path)
        return
    try:
        read_part(path)
    except ValueError as error:
        yield Note(f"{error}: outputs of it that are needed are generated again")


def of_other_inputs(told: Mapping[str, Any], inputs: Mapping[str, Path]) -> Iterator[str]:
    """Inputs that are on disk and are not those whose digests something keeps."""
    for name, source in inputs.items():
        if not is_there(source):
            continue
        try:
            is_store = source.suffix == ".zarr"
            now = read_root(source)["attributes"]["digest"] if is_store else table_digest(source)
        except StoreError:  # which is said where that store is checked
            continue
        if told.get(name) != now:
            text = f"made from another {name}: expected {source} with digest {now}, got {told.get(name)}"
            yield OfAnotherInput(text, source)


def differences(told: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[str]:
    """What something says of itself that is not expected; of mappings only the keys that are expected."""
    for key, value in expected.items():
        found = told.get(key)
        if isinstance(value, Mapping) and isinstance(found, Mapping):
            found = {name: found.get(name) for name in value}
        if found != value:
            yield f"{key}: expected {value}, got {found}"


def is_there(path: Path) -> bool:
    """Whether a result is finished: of a store, whether it has its commit mark."""
    return (path / COMMIT_MARK).is_file() if path.suffix == ".zarr" else path.is_file()
