"""One figure of all ratios: how much faster than the other way, how far from the limit."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt


def draw(table: pd.DataFrame, folder: Path) -> None:
    """Write ``bench.png`` and ``bench.svg``."""
    kinds = (
        ("times_faster", "times as fast as the other way (right is better)", "tab:blue"),
        ("times_limit", "times what the limit takes (1 is the limit)", "tab:orange"),
    )
    parts = [table[table[name].notna()] for name, _, _ in kinds]
    heights = [max(1, len(part)) for part in parts]
    figure, axes = plt.subplots(
        2, 1, figsize=(11, 1.6 + 0.3 * sum(heights)), height_ratios=heights, layout="constrained"
    )
    for axis, part, (name, label, colour) in zip(axes, parts, kinds, strict=True):
        at = np.arange(len(part))[::-1]
        other = part["baseline" if name == "times_faster" else "limit"]
        axis.hlines(at, part[f"{name}_low"], part[f"{name}_high"], color=colour, alpha=0.5)
        axis.plot(part[name], at, "o", color=colour)
        for y, value in zip(at, part[name], strict=True):
            axis.annotate(f"{value:.3g}", (value, y), (6, 3), textcoords="offset points", size=8)
        axis.axvline(1, color="0.4", linewidth=0.8)
        axis.set_yticks(at, [f"{c}\nvs {o}" for c, o in zip(part["case"], other, strict=True)])
        axis.tick_params(axis="y", labelsize=7)
        axis.set_xscale("log")
        axis.set_xlabel(label)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.margins(x=0.1)
        axis.set_ylim(-0.6, len(part) - 0.4)
    for kind in ("png", "svg"):
        figure.savefig(folder / f"bench.{kind}", dpi=150)
    plt.close(figure)
