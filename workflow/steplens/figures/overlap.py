"""Figure 4: how many top-k neurons each speech language shares with each text language, by step."""

import pandas as pd
from matplotlib.figure import Figure

from steplens.figures.style import COUNTS, annotated_matrix, language_matrix, matrix_panels, styled
from steplens.wording import in_order, percent


@styled
def draw(overlap: pd.DataFrame, summary: pd.DataFrame, names: dict[str, str]) -> Figure:
    """Draw one matrix a step (D7), all on one colour scale.

    Parameters
    ----------
    overlap, summary : DataFrame
        ``comparison/overlap.csv`` and ``overlap_summary.csv``, of one k.
    names : dict
        Name of each language code.

    Raises
    ------
    ValueError
        The tables hold several k.
    """
    sizes = in_order([*overlap["k"], *summary["k"]])
    if len(sizes) != 1:
        raise ValueError(f"overlap.csv and overlap_summary.csv: k: expected one value, got {sizes}")
    languages = in_order(overlap["speech_language"])
    figure, grid = matrix_panels(len(summary), len(languages))
    highest = overlap["overlap"].max()
    for axes, row in zip(grid, summary.sort_values("step").itertuples(), strict=True):
        matrix = language_matrix(overlap[overlap["step"] == row.step], "overlap", languages)
        image = annotated_matrix(
            axes, matrix, languages, names, lambda count: f"{count:.0f}",
            cmap=COUNTS, vmin=0, vmax=highest,
        )  # fmt: skip
        axes.set_title(_title(row))
        axes.set_xlabel(f"text (t2t) top-{sizes[0]}")
        axes.set_ylabel(f"speech (s2t) top-{sizes[0]}")
        axes.label_outer()
        axes.tick_params(labelbottom=True)
    figure.colorbar(image, ax=grid, label="neurons shared", shrink=0.8, aspect=25, pad=0.01)
    return figure


def _title(row) -> str:
    interval = f"[{percent(row.ci_low, '')}, {percent(row.ci_high, '')}]"
    p = "p < 0.001" if row.p < 0.001 else f"p = {row.p:.3f}"
    return f"t = {row.step}: diagonal ratio {percent(row.diagonal_ratio)}\n{interval}, {p}"
