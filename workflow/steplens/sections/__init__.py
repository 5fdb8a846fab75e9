"""Sections of the report on the neighbouring studies: a module a study, and its template of the same name.

A module has

``TITLE``
    Heading of the section.
``TABLES``
    Tables that it reads, by their path in the run, and the rule that makes each.
``FIGURES``
    Numbers of its figures, and their titles.
``content(tables, form)``
    What its template shows, as a dict: ``findings`` (sentences, which also stand at the head of the report)
    and whatever else the template names. ``tables`` are data frames by file name without ending; ``form``
    is a ``report_format.Formatter``.
"""

from importlib import import_module
from types import ModuleType


def section(study: str) -> ModuleType:
    """The section of a study."""
    return import_module(f".{study}", __name__)
