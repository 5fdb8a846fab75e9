"""A study's section of the report, rendered by itself."""

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from steplens.report.formatting import Formatter
from steplens.report.sections import TEMPLATE_FOLDERS, section

_PAGE = """{% from "macros.html.j2" import grid, grids, figure, points with context %}
{% with section = content %}{% include study ~ "/section.html.j2" %}{% endwith %}"""


def rendered(study: str, tables: dict[str, pd.DataFrame]) -> tuple[dict, str]:
    """What a section's ``content`` gives, and the HTML that its template makes of it."""
    one = section(study)
    content = one.content(tables, Formatter())
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE_FOLDERS), autoescape=True, undefined=StrictUndefined
    )
    figures = {number: f"data:figure{number}" for number in one.FIGURES}
    html = environment.from_string(_PAGE).render(study=study, content=content, figures=figures)
    return content, html.replace("\N{NO-BREAK SPACE}", " ")
