"""What is kept beside a result: which file it is, its digest, and how and of what it was made.

``overlap.csv`` has it in ``overlap.csv-metadata.json``, where the W3C's "Metadata Vocabulary for Tabular
Data" (CSV on the Web, 2015) lets any reader look for the metadata of a table; Parquet tables and stores
(``zarr.json-metadata.json``) have it too. ``@context``, ``url`` and ``tableSchema`` are that vocabulary's,
``dc:title`` and ``dc:source`` Dublin Core's, ``schema:sha256`` is schema.org's, and what begins with
``steplens:`` our own::

    dc:title            path within the run; a file at another place is another table
    schema:sha256       of the file's bytes
    tableSchema         columns of a CSV, those of text with ``datatype: string``, of floats ``number``
    steplens:rule       which rule made it
    steplens:settings   that rule's parameters; its code and libraries apart, in steplens:code
    dc:source           path within the run to sha256 of what it was made of
    steplens:digest     of all of the above

The metadata is written first and the table second: where a job was killed between the two, the digest does
not fit the table, or there is no table.

It is no output of its rule. A table and its metadata are one result in two files: whatever deletes, moves or
copies the folder treats both alike, ``--touch`` changes the content of neither, and rules and targets go on
to name tables alone. A table that has lost its metadata is refused by name, with what to do.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steplens.errors import TableError
from steplens.files.input_files import open_regular

END = "-metadata.json"
AGAIN = "delete the file and run the workflow again"
_CONTEXT = "http://www.w3.org/ns/csvw"
_OWN_DIGEST = "steplens:digest"
# Of a rule's parameters, those that say which code runs; told_apart repeats what stands beside it.
_CODE = ("code", "libraries")
_REPEATED = "told_apart"
_KEPT = (".csv", ".parquet", "zarr.json", ".svg", ".png", ".html")
_MOST_SHOWN = 100


@dataclass(frozen=True)
class Origin:
    """How and of what the results of a job are made.

    Parameters
    ----------
    results : path
        ``results/<run>``.
    rule : str
    settings, code : dict
        As ``settings_of`` and ``code_of`` give them.
    sources : dict
        Path within the run to sha256.
    """

    results: Path
    rule: str
    settings: dict[str, Any] = field(default_factory=dict)
    code: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)


_origin: Origin | None = None


def begin(origin: Origin) -> None:
    """What this process writes from now on is made in this way."""
    global _origin
    _origin = origin


def settings_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among a rule's parameters, as JSON has them: all but code and libraries."""
    left_out = (*_CODE, _REPEATED)
    return _plain({name: value for name, value in params.items() if name not in left_out})


def code_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """What among a rule's parameters says which code and libraries run."""
    return _plain({name: value for name, value in params.items() if name in _CODE})


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(values, default=str))


def sources_of(files: Iterable[str | Path], results: Path) -> dict[str, str]:
    """Path within the run to sha256 of the tables and stores among the inputs of a job."""
    return {
        path.relative_to(results).as_posix(): file_sha256(path)
        for path in map(Path, files)
        if is_kept(path) and path.is_relative_to(results)
    }


def is_kept(path: str | Path) -> bool:
    """Whether results of this kind have metadata: tables and stores."""
    return str(path).endswith(_KEPT)


def metadata_path(path: str | Path) -> Path:
    """Where the metadata of a file lies."""
    path = Path(path)
    return path.with_name(path.name + END)


def file_sha256(path: str | Path) -> str:
    """Digest of a file's bytes, in hex."""
    with open_regular(Path(path)) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def metadata_of(
    path: str | Path, sha256: str, columns: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """The metadata of a file that this process writes, ready for JSON.

    Parameters
    ----------
    path : path
    sha256 : str
        Of the file's bytes.
    columns : list of dict, optional
        Of a CSV: ``name`` and ``datatype`` of each.
    """
    path = Path(path)
    told = _origin
    known = told is not None and path.is_relative_to(told.results)
    title = path.relative_to(told.results).as_posix() if known else path.name
    content: dict[str, Any] = {
        "@context": _CONTEXT,
        "url": path.name,
        "dc:title": title,
        "schema:sha256": sha256,
    }
    if columns is not None:
        content["tableSchema"] = {"columns": columns}
    if told is not None:
        content |= {
            "steplens:rule": told.rule,
            "steplens:settings": told.settings,
            "steplens:code": told.code,
            "dc:source": told.sources,
        }
    return content | {_OWN_DIGEST: _digest(content)}


def _digest(content: Mapping[str, Any]) -> str:
    told = {key: value for key, value in content.items() if key != _OWN_DIGEST}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


def read_metadata(path: str | Path, sha256: str | None = None) -> dict[str, Any]:
    """The metadata of a file, checked against itself, against where the file lies and against its bytes.

    Parameters
    ----------
    path : path
        The file, not its metadata.
    sha256 : str, optional
        Of the file's bytes, where they are at hand; else the file is read.

    Raises
    ------
    TableError
        There is none, it is damaged, or it is another file's.
    FileNotFoundError
        The file itself is not there.
    """
    path = Path(path)
    sha256 = file_sha256(path) if sha256 is None else sha256
    beside = metadata_path(path)
    try:
        content = _json_of(beside)
        own = content[_OWN_DIGEST]
        title, told = content["dc:title"], content["schema:sha256"]
    except FileNotFoundError:
        raise TableError(
            f"{path}: expected {beside.name} beside it, with its digest and settings, got none: it was "
            f"lost, or an earlier version wrote the table; {AGAIN}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise TableError(
            f"{beside}: damaged: expected the metadata of a table, got {type(error).__name__}: "
            f"{_short(error)}; delete {path} and run the workflow again"
        ) from error
    if own != _digest(content):
        raise TableError(
            f"{beside}: damaged: expected content with digest {_short(own)}, got {_digest(content)}; "
            f"delete {path} and run the workflow again"
        )
    if told != sha256:
        raise TableError(
            f"{path}: damaged, or changed by hand: expected content with sha256 {told} ({beside.name}), "
            f"got {sha256}; {AGAIN}"
        )
    here = path.absolute().parts
    if here[-len(Path(title).parts) :] != Path(title).parts:
        raise TableError(
            f"{path}: expected the table of this place, got {_short(title)}: it was moved here with its "
            f"metadata; put it back, or {AGAIN}"
        )
    return content


def _json_of(path: Path) -> Any:
    with open_regular(path) as file:  # a named pipe would keep its reader waiting
        return json.loads(file.read())


def settings_problems(
    path: str | Path, expected: Mapping[str, Any], code: Mapping[str, Any] | None = None
) -> Iterator[str]:
    """In which settings a result differs from those that would make it now.

    Parameters
    ----------
    path : path
        A table, or the ``zarr.json`` of a store.
    expected : mapping
        ``settings_of`` the parameters of the rule that makes it.
    code : mapping, optional
        ``code_of`` these parameters; not looked at unless given.

    Yields
    ------
    str
        Of each: setting, expected, got. What keeps no settings yields nothing; whether it should is for
        ``read_metadata`` to say.

    Raises
    ------
    TableError
        The metadata is damaged.
    """
    beside = metadata_path(path)
    try:
        content = _json_of(beside)
        damaged = content.get(_OWN_DIGEST) != _digest(content)
    except FileNotFoundError:
        return
    except (OSError, ValueError, AttributeError, RecursionError):
        damaged = True
    if damaged:
        raise TableError(f"{beside}: damaged; delete {path} and run the workflow again")
    if "steplens:settings" not in content:
        return
    yield from _differences(expected, content["steplens:settings"])
    if code is not None:
        yield from _differences(code, content["steplens:code"])


def source_problems(path: str | Path, results: Path) -> Iterator[str]:
    """What a result was made of and is another file now; what is not there any more is no problem.

    Parameters
    ----------
    path : path
        A table, or the ``zarr.json`` of a store.
    results : path
        ``results/<run>``.

    Raises
    ------
    TableError
        As ``read_metadata``.
    """
    for name, told in read_metadata(path).get("dc:source", {}).items():
        source = Path(results) / name
        if source.is_file() and (now := file_sha256(source)) != told:
            yield f"made from another {name}: expected sha256 {now}, got {told}"


def _differences(expected: Mapping[str, Any], told: Mapping[str, Any]) -> Iterator[str]:
    """Named down to the innermost key."""
    for name in dict.fromkeys((*expected, *told)):
        wanted, got = expected.get(name), told.get(name)
        if isinstance(wanted, Mapping) and isinstance(got, Mapping):
            yield from (f"{name}.{one}" for one in _differences(wanted, got))
        elif wanted != got:
            yield f"{name}: expected {_short(wanted)}, got {_short(got)}"


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"
