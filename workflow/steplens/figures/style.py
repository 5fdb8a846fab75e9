"""One look for all figures: type sizes, colours, matrices, and files equal in every run.

Figures are made without pyplot: no window, no global state, and nothing to close, because no
registry holds them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from steplens.files.atomic import atomic_path
from steplens.wording import full_name

# Okabe and Ito: told apart with any common colour vision. Yellow is left out: too pale on white.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
VERMILION, SKY, BLACK = "#D55E00", "#56B4E9", "#000000"
LINES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#6b6b6b"
COUNTS = "cividis"
SEQUENCE = "viridis"
DIVERGING = "RdBu_r"

P = ParamSpec("P")
R = TypeVar("R")

_DPI = 160
_MOST_WRITTEN = 12  # languages of a matrix whose values are written in its cells
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "figure.facecolor": "white",
    "svg.hashsalt": "steplens",  # element ids are random without it
    "svg.fonttype": "path",  # looks alike where the font is missing
}


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a reader's own matplotlibrc must not change the files
        matplotlib.rcParams.update(_STYLE)
        yield


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Decorate a drawing function: it runs under the style and leaves the settings as they were."""

    @wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with _style():
            return draw(*args, **kwargs)

    return wrapped


def new_figure(width: float, height: float) -> Figure:
    """An empty figure on the Agg canvas; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, stem: Path) -> None:
    """Write ``<stem>.svg`` and ``<stem>.png`` (160 dpi), byte for byte the same in every run."""
    stem = Path(stem)
    with _style():
        # The layout comes nearer with every drawing, and takes most of the time of each: after these it
        # is near enough, and stays as it is for both files.
        for _ in range(2):
            figure.draw_without_rendering()
        figure.set_layout_engine("none")
        _settle(figure)
        for kind, nothing_of_the_day in (("svg", {"Date": None}), ("png", {"Software": None})):
            # "figure2.v1" is a stem too: with_suffix would cut it.
            with atomic_path(stem.parent / f"{stem.name}.{kind}") as partial:
                figure.savefig(partial, metadata=nothing_of_the_day, dpi=_DPI)


def _settle(figure: Figure) -> None:
    """Round where panels stand: the layout's solver differs in the last bits from process to process.

    SVG's names of clipping rectangles are hashes of all bits. A millionth of the figure is not seen.
    """
    for part in figure.subfigs:
        part.bbox_relative.set_points(np.round(part.bbox_relative.get_points(), 6))
    for axes in figure.axes:
        axes.set_position(np.round(axes.get_position(original=True).bounds, 6))


def no_data(figure: Figure, message: str) -> Figure:
    """Say in the figure that there is nothing to draw."""
    figure.text(0.5, 0.5, message, ha="center", va="center", color=GREY)
    return figure


def light_grid(axes: Axes, axis: str = "y") -> None:
    """Pale lines at the ticks of one axis, behind all that is drawn."""
    axes.grid(axis=axis, color="#e5e5e5", linewidth=0.6)
    axes.set_axisbelow(True)


def step_colours(n_steps: int) -> list:
    """A colour a step: told apart while they last, else from dark, early, to light, late."""
    if n_steps <= len(LINES):
        return list(LINES)
    return list(matplotlib.colormaps[SEQUENCE](np.linspace(0, 0.85, n_steps)))


def legend_entries(panels: Iterable[Axes]) -> tuple[list, list[str]]:
    """Handles and labels of all panels, each label once: what ``figure.legend`` takes."""
    found: dict = {}
    for axes in panels:
        found |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    return list(found.values()), list(found)


def matrix_panels(
    n: int, n_languages: int, most_columns: int = 4, title_lines: int = 2
) -> tuple[Figure, list[Axes]]:
    """A figure with room for ``n`` annotated matrices, row by row; no empty axes are left."""
    columns = min(n, most_columns)
    rows = -(-n // columns)
    # Values need 0.4 inches; without them a cell is as high as its label.
    side = (0.4 if n_languages <= _MOST_WRITTEN else 0.16) * max(n_languages, 5)
    height = side + 0.35 + 0.2 * title_lines
    figure = new_figure(2.6 + (side + 0.15) * columns, 0.4 + height * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for extra in axes[n:]:
        extra.remove()
    return figure, axes[:n]


def language_matrix(frame: pd.DataFrame, value: str, languages: Sequence[str]) -> np.ndarray:
    """Speech language x text language, from one row a cell; NaN where there is none."""
    wide = frame.pivot(index="speech_language", columns="text_language", values=value)
    return wide.reindex(index=languages, columns=languages).to_numpy(dtype=float)


def annotated_matrix(
    axes: Axes,
    matrix: np.ndarray,
    languages: Sequence[str],
    names: dict[str, str],
    text: Callable[[float], str],
    **image: object,
) -> AxesImage:
    """Draw a language x language matrix, of up to 12 languages with every cell's value in it.

    Parameters
    ----------
    axes : Axes
    matrix : (n_languages, n_languages) array
        Rows are speech, columns are text.
    languages : sequence of str
    names : dict
        Name of each language code.
    text : callable
        How a value is written in its cell.
    image
        Passed to ``imshow``: the colour map and its limits.
    """
    drawn = axes.imshow(matrix, **image)
    ticks = range(len(languages))
    axes.set_xticks(ticks, languages)
    axes.set_yticks(ticks, [full_name(code, names) for code in languages])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if len(languages) > _MOST_WRITTEN:
        axes.tick_params(axis="x", labelrotation=90)
        return drawn
    for (row, column), value in np.ndenumerate(matrix):
        if np.isnan(value):
            continue
        axes.text(
            column, row, text(value), ha="center", va="center", fontsize=8,
            color=_ink(drawn.to_rgba(value)), fontweight="bold" if row == column else "normal",
        )  # fmt: skip
    return drawn


def _ink(background: tuple[float, ...]) -> str:
    """Black or white, whichever is read better on a background (relative luminance)."""
    red, green, blue = (channel**2.2 for channel in background[:3])
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18 else "white"
