"""A digest of the code that a stage really uses, so that a stage runs again when it changed.

Snakemake notices a changed script by its file time and an imported module not at all. This digest,
passed to a rule as a parameter, follows the imports of a module within steplens, and sees neither
comments nor docstrings nor file times: a checkout redoes nothing, a changed line of code does. Nor does
it depend on the version of Python.
"""

import ast
import hashlib
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parent
_SCRIPTS = _PACKAGE.parent / "scripts"
# These tell people what goes on, or are seen in other parameters; no result depends on them.
_WITHOUT_EFFECT = frozenset(
    {
        "progress",
        "job",
        "code_digest",
        "lean_imports",
        "warm_start",
        "hub",
        "content_digest",
        "digest_cache",
        "project",
        "errors",
        "devices",
        "run_lock",
        "table_metadata",
        "workers",
    }
)


def _is_for_types(node: ast.stmt) -> bool:
    """Whether only a type checker reads it."""
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
        and not node.orelse
    )


@cache
def _parsed(module: str) -> tuple[str, frozenset[str]]:
    """Digest of the code without comments and docstrings, and the steplens modules that it imports."""
    path = _PACKAGE.joinpath(*module.split("."))
    package = module.split(".") if path.is_dir() else module.split(".")[:-1]
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    digest, imported = _KNOWN.get(path.read_bytes(), _parse)
    modules = set()
    for level, parent, name in imported:
        # One dot is the module's own package: steplens itself, or a folder in it.
        base = package[: len(package) + 1 - level]
        parents = [*base, parent] if parent else base
        for parts in (parents, [*parents, name]):
            if parts and _exists(".".join(parts)):
                modules.add(".".join(parts))
    return digest, frozenset(modules - _WITHOUT_EFFECT)


def _parse(source: bytes) -> tuple[str, list[tuple[int, str, str]]]:
    """Digest of the code alone, and its relative imports: (dots, module, name) each."""
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if not _is_for_types(node)]
    imported = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            imported += [(node.level, node.module or "", alias.name) for alias in node.names]
        if (
            isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
            and isinstance(node.body[0].value, ast.Constant)
        ):
            node.body = node.body[1:]
    return hashlib.sha256(_plain(tree).encode()).hexdigest(), imported


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
            waiting.extend(_parsed(module)[1])
    return sorted(found)


@cache
def code_digest(*modules: str, script: str | None = None) -> str:
    """Sixteen hex digits over the code of ``used_modules(*modules)``.

    Parameters
    ----------
    *modules : str
        Names within steplens, for example ``"encoding"`` or ``"figures.overlap"``.
    script : str, optional
        Of ``workflow/scripts``, for example ``"encode"``: what hands a rule's settings to the stage.
    """
    digest = hashlib.sha256()
    if script is not None:
        source = (_SCRIPTS / f"{script}.py").read_bytes()
        digest.update(f"{script}.py\n{_KNOWN.get(source, _parse)[0]}\n".encode())
    for module in used_modules(*modules):
        digest.update(f"{module}\n{_parsed(module)[0]}\n".encode())
    return digest.hexdigest()[:16]
