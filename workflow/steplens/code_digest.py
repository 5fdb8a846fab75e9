"""A digest of the code that a stage really uses, so that a stage runs again when it changed.

Snakemake notices a changed script by its file time and an imported module not at all. This digest,
passed to a rule as a parameter, follows the imports of a module within steplens, and sees neither
comments nor docstrings nor file times: a checkout redoes nothing, a changed line of code does.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parent
# These tell people what goes on; no result depends on them.
_WITHOUT_EFFECT = frozenset(
    {"progress", "job", "code_digest", "lean_imports", "warm_start", "hub", "devices"}
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
    """Code without comments and docstrings, and the steplens modules that it imports."""
    path = _PACKAGE.joinpath(*module.split("."))
    package = module.split(".") if path.is_dir() else module.split(".")[:-1]
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if not _is_for_types(node)]
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            # One dot is the module's own package: steplens itself, or a folder in it.
            base = package[: len(package) + 1 - node.level]
            parents = [*base, node.module] if node.module else base
            for alias in node.names:
                for parts in (parents, [*parents, alias.name]):
                    if parts and _exists(".".join(parts)):
                        imported.add(".".join(parts))
        if (
            isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
            and isinstance(node.body[0].value, ast.Constant)
        ):
            node.body = node.body[1:]
    return ast.dump(tree), frozenset(imported - _WITHOUT_EFFECT)


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
def code_digest(*modules: str) -> str:
    """Sixteen hex digits over the code of ``used_modules(*modules)``.

    Parameters
    ----------
    *modules : str
        Names within steplens, for example ``"encoding"`` or ``"figures.overlap"``.
    """
    digest = hashlib.sha256()
    for module in used_modules(*modules):
        digest.update(f"{module}\n{_parsed(module)[0]}\n".encode())
    return digest.hexdigest()[:16]
