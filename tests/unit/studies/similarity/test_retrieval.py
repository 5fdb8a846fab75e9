"""Retrieval accuracy against brute force."""

import numpy as np
import pytest

from steplens.studies.similarity.retrieval import retrieval_accuracy, unit_rows


@pytest.mark.parametrize("seed", range(3))
def test_retrieval_is_that_of_brute_force(seed):
    generator = np.random.default_rng(seed)
    shared = generator.normal(size=(20, 5))
    one, other = (shared + generator.normal(size=(20, 5)) + 30 for _ in range(2))
    valid = [generator.random(20) < 0.9 for _ in range(2)]
    common = np.flatnonzero(valid[0] & valid[1])
    units = [unit_rows(view, mask) for view, mask in zip((one, other), valid, strict=True)]
    centred = [view - view[mask].mean(0) for view, mask in zip((one, other), valid, strict=True)]
    for rows, found in zip(
        (common, common[:7]), retrieval_accuracy(*units, [common, common[:7]]), strict=True
    ):
        for (query, pool), share in zip((centred, centred[::-1]), found, strict=True):
            right = 0
            for row in rows:
                cosines = {
                    place: query[row]
                    @ pool[place]
                    / np.linalg.norm(query[row])
                    / np.linalg.norm(pool[place])
                    for place in rows
                }
                right += max(cosines, key=cosines.get) == row
            assert share == pytest.approx(right / len(rows))


def test_a_tie_for_the_first_place_is_no_find():
    view = np.array([[1, 0], [1, 0], [-1, 1], [-1, -1]], dtype=float)
    units = unit_rows(view, np.ones(4, dtype=bool))
    assert retrieval_accuracy(units, units, [np.arange(4), np.array([], int)])[0] == (0.5, 0.5)
    np.testing.assert_array_equal(unit_rows(np.eye(3) * 0 + 2, np.ones(3, bool)), 0)
