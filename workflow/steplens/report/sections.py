"""Sections of the report on the neighbouring studies: ``studies/<study>/section.py`` and its template.

Such a module has

``TITLE``
    Heading of the section.
``TABLES``
    Tables of the study that it reads, by name, and the rule that makes each.
``FIGURES``
    Numbers of its figures, and their titles.
``content(tables, form)``
    What its template shows, as a dict: ``findings`` (sentences, which also stand at the head of the report)
    and whatever else the template names. ``tables`` are data frames by file name without ending; ``form``
    is a ``formatting.Formatter``.
"""

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType

_PACKAGE = Path(__file__).resolve().parents[1]
# Where templates are sought: the report's own by name, a study's as <study>/section.html.j2.
TEMPLATE_FOLDERS = (_PACKAGE / "report" / "templates", _PACKAGE / "studies")


def section(study: str) -> ModuleType:
    """The section of a study."""
    return import_module(f"steplens.studies.{study}.section")


def templates(studies: Iterable[str]) -> list[Path]:
    """Files of all templates of a report with sections on some studies."""
    own, studies_folder = TEMPLATE_FOLDERS
    return [
        *sorted(own.glob("*.j2")),
        *(studies_folder / study / "section.html.j2" for study in studies),
    ]
