"""Which utterances no statistic counts: the column ``left_out`` of ``tables/speech_quality.csv``."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd


def read_left_out(path: Path | Sequence[Path] | None) -> dict[str, np.ndarray]:
    """Sentence ids that statistics skip, by language; of several tables all, without a table none."""
    if path is None:
        return {}
    paths = [path] if isinstance(path, Path) else path
    types = {"language": str, "utterance": "int64", "left_out": bool}
    tables = [
        # The language "nan" is no missing value.
        pd.read_csv(one, usecols=list(types), dtype=types, keep_default_na=False)
        for one in paths
    ]
    table = pd.concat(tables)
    table = table[table["left_out"]]
    return {
        str(language): part["utterance"].unique() for language, part in table.groupby("language")
    }
