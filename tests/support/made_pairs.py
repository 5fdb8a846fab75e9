"""Made-up tables of pairs of views."""

import itertools

import numpy as np
import pandas as pd

LANGUAGES = ["deu", "nld", "cmn", "jpn"]


def made_pairs(languages, seed=0, missing=()):
    """A table of one layer and measure with random values."""
    generator = np.random.default_rng(seed)
    views = list(itertools.product(("speech", "text"), languages))
    rows = []
    for number, (one, other) in enumerate(itertools.combinations(views, 2)):
        value, baseline = generator.uniform(0.2, 0.9), generator.uniform(0, 0.1)
        rows.append(
            {
                "module": "encoder", "task": "", "step": None, "by": "all", "bin": 0, "layer": "0",
                "measure": "cka_debiased", "modality_1": one[0], "language_1": one[1],
                "modality_2": other[0], "language_2": other[1], "n": 50 + number,
                "value": np.nan if number in missing else value, "baseline": baseline,
                "corrected": np.nan if number in missing else (value - baseline) / (1 - baseline),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)
