"""Files of anybody's, read with care: only regular ones, of no more bytes and depth than can be meant.

A named pipe in place of a file would make its reader wait for ever, a device has no end, and a huge or
deeply nested JSON takes all memory or the interpreter's stack. Or a file has a name and not the content:
what a clone without git-lfs or a browser leaves.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from steplens.errors import shown

MAX_JSON_BYTES = 128 * 2**20  # ten times the largest that is published, a generation_config.json
MAX_JSON_DEPTH = 50

_POINTER = b"version https://git-lfs.github.com/spec/"
_WEB_PAGE = (b"<!doctype", b"<html", b"<head", b"<?xml")

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def other_kind(path: Path) -> str:
    """What a path leads to in place of a file, in words; empty for a file, and where there is nothing."""
    try:
        return _other_kind(path.stat().st_mode)
    except OSError:
        return ""


def open_regular(path: Path) -> BinaryIO:
    """A file, opened to be read as bytes.

    Raises
    ------
    ValueError
        It is a folder, a named pipe, a socket or a device.
    OSError
        It cannot be opened.
    """
    kind = other_kind(path)  # first: to open some devices does something
    if not kind:
        # What took its place since then is not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        kind = _other_kind(os.fstat(descriptor).st_mode)
        if not kind:
            return os.fdopen(descriptor, "rb")
        os.close(descriptor)
    raise ValueError(f"{path}: expected a file, got {kind}; put the file itself there")


def _other_kind(mode: int) -> str:
    return "" if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "something else")


def instead_of_content(path: Path) -> str:
    """What a file is in place of what its name says, and how to get that; empty if nothing shows."""
    kind = other_kind(path)
    if kind:
        return f"{kind}: put the file itself there"
    with open_regular(path) as file:
        head = file.read(512)
    if not head:
        return "an empty file: fetch it again"
    if head.startswith(_POINTER):
        return (
            f"a pointer of git-lfs to the file: in the clone that it stands in, run git lfs pull "
            f"--include='**/{path.name}'"
        )
    if head.lstrip().lower().startswith(_WEB_PAGE):
        return "a web page: download the file itself, for example with `snakemake fetch`"
    return ""


def read_json_object(path: Path, at_most: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """The content of a JSON file that is an object.

    Raises
    ------
    ValueError
        It is no regular file, larger than ``at_most`` bytes (then it is not read), no JSON in UTF-8,
        nested more than fifty deep, or no object.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > at_most:
            raise ValueError(
                f"{path}: expected JSON of at most {at_most} bytes, got {size} bytes; copy or fetch the "
                "file again"
            )
        data = file.read(at_most)
    try:
        content = json.loads(data.decode("utf-8"))
        too_deep = _deeper_than(content, MAX_JSON_DEPTH)
    except RecursionError:
        too_deep = True
    except ValueError as error:
        instead = instead_of_content(path)
        raise ValueError(
            f"{path}: expected JSON"
            + (f", got {instead}" if instead else f": {error}; copy or fetch the file again")
        ) from error
    if too_deep:
        raise ValueError(
            f"{path}: expected JSON of at most {MAX_JSON_DEPTH} levels, got more; copy or fetch the file "
            "again"
        )
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}: expected a JSON object, got {shown(content)}; copy or fetch the file again"
        )
    return content


def _deeper_than(content: Any, most: int) -> bool:
    level = [content]
    for _ in range(most + 1):
        level = [
            child
            for one in level
            if isinstance(one, dict | list)
            for child in (one.values() if isinstance(one, dict) else one)
        ]
    return bool(level)
