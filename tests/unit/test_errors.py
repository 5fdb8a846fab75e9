"""All errors are of one family, and a message repeats little of what was given."""

import ast
import builtins
import inspect

import pytest
from conftest import ROOT

from steplens import errors
from steplens.errors import SteplensError, shown

PACKAGE = ROOT / "workflow" / "steplens"
_BUILT_IN = {
    name
    for name, one in vars(builtins).items()
    if isinstance(one, type) and issubclass(one, Exception)
}


def test_every_error_derives_from_one():
    found = [one for _, one in inspect.getmembers(errors, inspect.isclass)]
    family = [one for one in found if one.__module__ == errors.__name__]
    assert len(family) > 10
    assert all(issubclass(one, SteplensError) for one in family)
    assert issubclass(SteplensError, ValueError)


def test_errors_are_defined_in_one_module_alone():
    """Any other is private, and caught in its own module."""
    family = {name for name, _ in inspect.getmembers(errors, inspect.isclass)} | _BUILT_IN
    elsewhere = [
        f"{path.relative_to(PACKAGE)}: {node.name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != PACKAGE / "errors.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and not node.name.startswith("_")
        and {base.id for base in node.bases if isinstance(base, ast.Name)} & family
    ]
    assert not elsewhere


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("deu", "'deu'"),
        ("it's", '"it\'s"'),
        ("a\x1b[2Jb", r"'a\x1b[2Jb'"),
        ("x" * 101, f"'{'x' * 100}' …"),
        ([1, "two"], "[1, 'two']"),
        (10**1000, "a whole number of 3322 bits"),
        (None, "None"),
    ],
)
def test_what_was_given_is_shown_in_one_line(value, expected):
    assert shown(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("deu", "deu"),
        ("a\nb", r"a\nb"),
        ("x" * 21, "x" * 20 + " …"),
        ("a b c d" * 9, "a b c da b c da b c …"),
    ],
)
def test_a_text_without_quotes(text, expected):
    assert shown(text, 20, quoted=False) == expected


@pytest.mark.parametrize("quoted", [True, False])
@pytest.mark.parametrize(
    "value", ["\u202e" * 10**6, "x" * 10**6, ["x" * 10**6] * 10**3, {"x" * 999: 1}]
)
def test_a_message_repeats_little_of_its_input(value, quoted):
    found = shown(value, quoted=quoted)
    assert len(found) <= 105
    assert found.isprintable()
