"""Which utterances go through the model together, and what happens when too many do."""

import numpy as np
import pytest
import torch

from steplens.batches.batching import length_sorted_batches, run_batches


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


def _on_the_device(rows):
    raise torch.OutOfMemoryError("tried to allocate 9 GiB")


def _by_torch_on_the_host(rows):
    torch.empty(10**15)


def _by_numpy(rows):
    np.empty(10**15)


@pytest.mark.parametrize("too_large", [_on_the_device, _by_torch_on_the_host, _by_numpy])
def test_memory_that_does_not_suffice_is_known_wherever_it_is(too_large):
    """A batch is halved, and one row that does not fit is named; each error is a real one."""
    tried = []

    def run(rows):
        tried.append(rows.tolist())
        return too_large(rows) if len(rows) > 1 or 3 in rows else rows.tolist()

    batches = run_batches([9, 8, 7, 6], 4, 4, run, names=["a", "b", "c", "d"])
    assert [next(batches)[1] for _ in range(3)] == [[0], [1], [2]]
    assert tried[:3] == [[0, 1, 2, 3], [0, 1], [0]]
    message = r"utterance d: .* got length 6, .*; give the job more memory, shorten"
    with pytest.raises(MemoryError, match=message) as refused:
        next(batches)
    assert "\n" not in str(refused.value)


def test_another_error_goes_through():
    """Also one of torch's that only mentions memory."""

    def broken(rows):
        raise KeyError("no such thing")

    def confused(rows):
        raise RuntimeError("memory format: expected channels last")

    with pytest.raises(KeyError, match="no such thing"):
        list(run_batches([7], 8, 8, broken))
    with pytest.raises(RuntimeError, match="memory format"):
        list(run_batches([7, 7], 8, 8, confused))
    with pytest.raises(MemoryError, match=r"row 0: .* got length 7, .* 9 GiB"):
        list(run_batches([7], 8, 8, _on_the_device))
