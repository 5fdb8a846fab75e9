"""A digest of the code that a stage really uses, so that a stage runs again when it changed.

Snakemake notices a changed script by its file time and an imported module not at all. This digest,
passed to a rule as a parameter, follows the imports of a module within steplens. It sees neither
comments, docstrings and file times nor where a module lies: a checkout redoes nothing, moving a module
to another room redoes nothing, and a changed line of code redoes what uses it. Nor does it depend on
the version of Python.
"""

import ast
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parents[1]
_PACKAGE_NAME = "steplens"
_SCRIPTS = _PACKAGE.parent / "scripts"
# These tell people what goes on, or are seen in other parameters; no result depends on them, nor on any
# module of the room ``jobs``.
_WITHOUT_EFFECT = frozenset(
    {
        "_version",
        "errors",
        "project",
        "files.hub",
        "files.table_metadata",
        "run.arguments",
    }
)


def _has_no_effect(module: str) -> bool:
    return module in _WITHOUT_EFFECT or module.split(".")[0] == "jobs"


def _is_for_types(node: ast.stmt) -> bool:
    """Whether only a type checker reads it."""
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
        and not node.orelse
    )


@cache
def _parsed(module: str) -> tuple[str, tuple[tuple[str, str, str], ...]]:
    """Digest of a module's own code, and what it imports of steplens: (module, name, name here) each.

    The code is without comments, docstrings and imports of steplens. Where a module is imported, and
    not something in it, the name is empty.
    """
    path = _PACKAGE.joinpath(*module.split("."))
    package = module.split(".") if path.is_dir() else module.split(".")[:-1]
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    digest, imported = _KNOWN.get(path.read_bytes(), _parse)
    found = []
    for level, parent, name, here in imported:
        # One dot is the module's own package: steplens itself, or a folder in it. No dot is steplens.
        base = package[: len(package) + 1 - level] if level else []
        parents = [*base, parent] if parent else base
        whole = ".".join([*parents, name])
        if _exists(whole):
            found.append((whole, "", here))
        elif parents:
            found.append((".".join(parents), name, here))
    return digest, tuple(one for one in found if not _has_no_effect(one[0]))


_Imported = list[tuple[int, str, str, str]]  # dots, module, name, name here


def _parse(source: bytes) -> tuple[str, _Imported]:
    """Digest of the code alone, and its imports of steplens."""
    return _parse_tree(ast.parse(source))


def _parse_script(source: bytes) -> tuple[str, _Imported]:
    """As ``_parse``, of a script: neither where the package lies counts nor the module of its stage."""
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if not ast.unparse(node).startswith("sys.path.insert")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and re.fullmatch(r"[\w.]+:\w+", str(node.value)):
            node.value = str(node.value).partition(":")[2]
    return _parse_tree(tree)


def _parse_tree(tree: ast.Module) -> tuple[str, _Imported]:
    tree.body = [node for node in tree.body if not _is_for_types(node)]
    imported = []
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            if isinstance(statements := getattr(node, field, None), list):
                imported += [one for statement in statements for one in _imports(statement)]
                setattr(node, field, [one for one in statements if not _imports(one)])
        if (
            isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
            and isinstance(node.body[0].value, ast.Constant)
        ):
            node.body = node.body[1:]
    return hashlib.sha256(_plain(tree).encode()).hexdigest(), imported


def _imports(node: ast.stmt) -> _Imported:
    """What a statement imports of steplens; nothing where it is another statement."""
    if isinstance(node, ast.Import) and any(
        alias.name.split(".")[0] == _PACKAGE_NAME for alias in node.names
    ):
        raise ValueError(
            f"line {node.lineno}: expected from {_PACKAGE_NAME}.… import …, got import {_PACKAGE_NAME}: "
            "the digest of a stage's code cannot follow it"
        )
    if not isinstance(node, ast.ImportFrom):
        return []
    parts = node.module.split(".") if node.module else []
    if not node.level and parts.pop(0) != _PACKAGE_NAME:
        return []
    return [
        (node.level, ".".join(parts), alias.name, alias.asname or alias.name)
        for alias in node.names
    ]


def _plain(node: Any) -> str:
    """As ``ast.dump``, which writes what is empty in some versions of Python and not in others."""
    if isinstance(node, list):
        return f"[{', '.join(map(_plain, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = (
        f"{name}={_plain(value)}"
        for name, value in ast.iter_fields(node)
        if value is not None and value != []
    )
    return f"{type(node).__name__}({', '.join(fields)})"


class _Known:
    """What parsing gave, kept from run to run by content: half a second of every start of Snakemake.

    Like bytecode it lies in ``__pycache__``, and is made anew where it cannot be read or written.
    """

    def __init__(self, path: Path):
        self._path = path
        self._entries: dict[str, Any] | None = None

    def get(self, source: bytes, parse: Callable[[bytes], Any]) -> Any:
        """``parse(source)``, from the file if it was there before."""
        if self._entries is None:
            self._entries = self._read()
        # What ast.dump says of the same code differs between versions of Python, and of this module.
        key = hashlib.sha256(f"{sys.version} {_PARSER}".encode() + source).hexdigest()
        if key not in self._entries:
            self._entries[key] = parse(source)
            self._write()
        return self._entries[key]

    def _read(self) -> dict[str, Any]:
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return entries if isinstance(entries, dict) else {}

    def _write(self) -> None:
        partial = self._path.with_suffix(f".{os.getpid()}.partial")
        try:
            self._path.parent.mkdir(exist_ok=True)
            partial.write_text(json.dumps(self._entries), encoding="utf-8")
            partial.replace(self._path)
        except OSError:
            with suppress(OSError):
                partial.unlink()


_PARSER = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
_KNOWN = _Known(_PACKAGE / "__pycache__" / "code_digests.json")


def _exists(module: str) -> bool:
    path = _PACKAGE.joinpath(*module.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def used_modules(*modules: str) -> list[str]:
    """The given steplens modules and all that they import within steplens, sorted."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting.extend(imported for imported, _, _ in _parsed(module)[1])
    return sorted(found)


@cache
def _deep_digest(module: str) -> str:
    """Digest of a module's code and, by their own digests and no path, of all that it imports."""
    code, imported = _parsed(module)
    if module in _OPEN:
        circle = " -> ".join([*_OPEN[_OPEN.index(module) :], module])
        raise ValueError(f"expected modules that import no circle, got {circle}")
    _OPEN.append(module)
    try:
        lines = sorted(f"{_deep_digest(one)} {name} {here}" for one, name, here in imported)
    finally:
        _OPEN.pop()
    return hashlib.sha256("\n".join([code, *lines]).encode()).hexdigest()


_OPEN: list[str] = []  # modules whose digest is being made


@cache
def code_digest(*modules: str, script: str | None = None) -> str:
    """Sixteen hex digits over the code of modules and of all that they import within steplens.

    Parameters
    ----------
    *modules : str
        Names within steplens, for example ``"recording.encode"`` or ``"figures.overlap"``.
    script : str, optional
        Of ``workflow/scripts``, for example ``"encode"`` or ``"studies/probe"``: what hands a rule's
        settings to the stage.
    """
    digest = hashlib.sha256()
    if script is not None:
        source = (_SCRIPTS / f"{script}.py").read_bytes()
        digest.update(f"{_KNOWN.get(source, _parse_script)[0]}\n".encode())
    for one in sorted(map(_deep_digest, modules)):
        digest.update(f"{one}\n".encode())
    return digest.hexdigest()[:16]
