"""One CSV out of the CSVs of several steps."""

from pathlib import Path

import pandas as pd

from steplens.files.atomic import read_csv, write_csv


def gather(parts: list[Path], output: Path) -> None:
    """Concatenate tables with the same columns, in the order given."""
    write_csv(pd.concat([read_csv(part) for part in parts]), output)
