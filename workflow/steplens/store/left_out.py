"""Which utterances no statistic counts: the column ``left_out`` of ``tables/speech_quality.csv``."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from steplens.files.atomic import read_csv


def read_left_out(path: Path | Sequence[Path] | None) -> dict[str, np.ndarray]:
    """Sentence ids that statistics skip, by language; of several tables all, without a table none."""
    if path is None:
        return {}
    paths = [path] if isinstance(path, Path) else path
    table = pd.concat([read_csv(one, ["language", "utterance", "left_out"]) for one in paths])
    table = table[table["left_out"].astype(bool)]
    return {
        str(language): part["utterance"].unique() for language, part in table.groupby("language")
    }
