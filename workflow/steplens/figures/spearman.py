"""Figure 5: rank correlation of all neurons' AP between speech and text languages, by step."""

import pandas as pd
from matplotlib.figure import Figure

from steplens.figures.style import (
    DIVERGING,
    VERMILION,
    annotated_matrix,
    language_matrix,
    matrix_panels,
    styled,
)
from steplens.wording import in_order, percent


@styled
def draw(spearman: pd.DataFrame, summary: pd.DataFrame, names: dict[str, str]) -> Figure:
    """Draw one matrix a step (D7), all on one colour scale with 0 in its middle.

    Parameters
    ----------
    spearman, summary : DataFrame
        ``comparison/spearman.csv`` and ``spearman_summary.csv``.
    names : dict
        Name of each language code.
    """
    languages = in_order(spearman["speech_language"])
    figure, grid = matrix_panels(len(summary), len(languages), title_lines=4)  # one for the note
    limit = spearman["rho"].abs().max()
    summary = summary.sort_values("step")
    for axes, row in zip(grid, summary.itertuples(), strict=True):
        matrix = language_matrix(spearman[spearman["step"] == row.step], "rho", languages)
        image = annotated_matrix(
            axes, matrix, languages, names, _two_decimals,
            cmap=DIVERGING, vmin=-limit, vmax=limit,
        )  # fmt: skip
        axes.set_title(
            f"t = {row.step}: diagonal concentration\n{percent(row.diagonal_concentration)} "
            f"[{percent(row.ci_low, '')}, {percent(row.ci_high, '')}]\n"
            f"(chance {percent(row.chance)})"
        )
        axes.set_xlabel("text (t2t)")
        axes.set_ylabel("speech (s2t)")
        axes.label_outer()
        axes.tick_params(labelbottom=True)
    figure.colorbar(image, ax=grid, label="Spearman's ρ", shrink=0.8, aspect=25, pad=0.01)
    negative = summary.loc[summary["any_negative"].astype(bool), "step"]
    if len(negative):
        steps = ", ".join(map(str, negative))
        figure.supxlabel(
            f"Some ρ are negative at t = {steps}: the concentration there is hard to read.",
            fontsize=9, color=VERMILION, fontweight="bold",
        )  # fmt: skip
    return figure


def _two_decimals(rho: float) -> str:
    return f"{round(rho, 2) + 0.0:.2f}".replace("-", "−")  # + 0.0: no minus zero
