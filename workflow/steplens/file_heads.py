"""Files that have a name but not the content: what a clone without git-lfs or a browser leaves."""

from pathlib import Path

from .input_files import open_regular, other_kind

_POINTER = b"version https://git-lfs.github.com/spec/"
_WEB_PAGE = (b"<!doctype", b"<html", b"<head", b"<?xml")


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
