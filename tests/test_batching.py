"""Which utterances go through the model together, and what happens when too many do."""

import numpy as np
import pytest
import torch

from steplens.batching import length_sorted_batches, run_batches


@pytest.mark.parametrize("batch_size", [1, 3, 16, 1000])
def test_every_row_comes_once_longest_first_within_a_window(batch_size):
    lengths = np.random.default_rng().integers(1, 50, 300)
    batches = list(length_sorted_batches(lengths, batch_size, 128))
    assert sorted(np.concatenate(batches)) == list(range(300))
    for rows in batches:
        assert len(rows) <= batch_size
        assert len(set(rows // 128)) == 1
        assert (np.diff(lengths[rows]) <= 0).all()


@pytest.mark.parametrize("fits", [1, 2, 5, 16])
def test_a_batch_that_does_not_fit_is_halved_for_good(fits):
    """Nothing is lost, nothing is done twice, and what fits is not tried again too large."""
    tried, rng = [], np.random.default_rng()

    def run(rows):
        tried.append(len(rows))
        if len(rows) > fits:
            raise torch.OutOfMemoryError("no memory left")

    got = [rows for rows, _ in run_batches(rng.integers(1, 9, 50), 16, 32, run)]
    assert sorted(np.concatenate(got)) == list(range(50))
    failed = [size for size in tried if size > fits]
    assert failed == sorted(set(failed), reverse=True)


def test_one_row_that_does_not_fit_is_an_error_and_another_error_goes_through():
    def too_large(rows):
        raise torch.OutOfMemoryError("tried to allocate 9 GiB")

    def broken(rows):
        raise KeyError("no such thing")

    with pytest.raises(MemoryError, match=r"a batch of one \(length 7\) does not fit.*9 GiB"):
        list(run_batches([7], 8, 8, too_large))
    with pytest.raises(KeyError, match="no such thing"):
        list(run_batches([7], 8, 8, broken))
