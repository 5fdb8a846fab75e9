"""The measurements as tables for docs/results/performance.md."""

from pathlib import Path

import pandas as pd


def write(table: pd.DataFrame, path: Path) -> None:
    """Write one Markdown table a stage."""
    parts = [f"### {stage}\n\n{_rows(rows)}" for stage, rows in table.groupby("stage", sort=False)]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _rows(rows: pd.DataFrame) -> str:
    lines = ["| what | seconds | against | limit | aim |", "|---|---:|---|---|---|"]
    for row in rows.itertuples():
        cells = (
            row.case,
            f"{row.seconds:.3g}",
            _ratio(row, "times_faster", "times as fast as", row.baseline),
            _ratio(row, "times_limit", "times", row.limit),
            f"{row.aim}: {'met' if row.met in (True, 'True') else 'missed'}"
            if isinstance(row.aim, str)
            else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _ratio(row, name: str, words: str, other: object) -> str:
    value = getattr(row, name)
    if pd.isna(value):
        return ""
    low, high = getattr(row, f"{name}_low"), getattr(row, f"{name}_high")
    return f"**{value:.3g}** {words} {other} ({low:.3g} to {high:.3g})"
