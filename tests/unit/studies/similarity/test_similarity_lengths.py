"""Lengths of sentences, and bins of equal size."""

import numpy as np
import pandas as pd
import pytest

from steplens.studies.similarity.lengths import length_bins


def test_lengths_are_ranked_within_a_language_and_bins_are_equal():
    lengths = pd.DataFrame(
        {"deu": [50, 90, 70, 20, np.nan], "jpn": [8, 30, 9, 2, 40]}, index=[5, 6, 7, 8, 9]
    )
    bins = length_bins(lengths, np.array([5, 6, 7, 8, 9]), 2)
    # Mean ranks: 5 -> (2/4 + 2/5) / 2, 6 -> (4/4 + 4/5) / 2, 7 -> (3/4 + 3/5) / 2, 8 -> lowest, 9 -> 1.
    assert [np.flatnonzero(one).tolist() for one in bins] == [[0, 2, 3], [1, 4]]
    with pytest.raises(ValueError, match="got none for 4 and 0 others"):
        length_bins(lengths, np.array([4, 5]), 2)
