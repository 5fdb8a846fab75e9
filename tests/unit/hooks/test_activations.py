"""Pooling against its definition, and a recorder whose batches are in flight together."""

import numpy as np
import pytest
import torch
from conftest import relative_difference
from tiny_checkpoints import tiny_config

from steplens.hooks.pooling import Pooling, last_position, masked_mean
from steplens.hooks.recorder import Recorder
from steplens.models.seamless.loading import family_class

CPU = torch.device("cpu")


def _ragged(dtype=torch.float32):
    """Random values, a mask, and random lengths, one of which fills the batch."""
    rng = np.random.default_rng()
    batch, units = int(rng.integers(1, 6)), int(rng.integers(1, 70))
    lengths = torch.from_numpy(rng.integers(1, 90, batch))
    mask = (torch.arange(int(lengths.max()))[None] < lengths[:, None]).long()
    values = torch.from_numpy(rng.normal(0.5, 2, (*mask.shape, units))).to(dtype)
    return values, mask


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("channels_first", [False, True])
@pytest.mark.parametrize("by_row", [False, True])
def test_pooling_is_the_masked_mean(by_row, channels_first, dtype):
    """Within 1e-6 of the largest, into columns of a wider tensor."""
    for _ in range(20):
        values, mask = _ragged(dtype)
        expected = masked_mean(values, mask)
        if channels_first:
            values = values.transpose(1, 2).contiguous().transpose(1, 2)
        out = torch.full((len(values), values.shape[2] + 3), torch.nan)
        Pooling(mask, CPU, by_row).into(out[:, 2:-1], values)
        assert relative_difference(out[:, 2:-1], expected) < 1e-6
        assert out[:, [0, 1, -1]].isnan().all()


def test_pooling_and_its_definition_ignore_what_padding_holds():
    """Infinity and NaN behind the end of an utterance reach no mean."""
    values = torch.randn(3, 4, 5)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    expected = torch.stack([values[0].mean(0), values[1, :2].mean(0), values[2, 0]])
    values[1, 2:], values[2, 1:] = torch.inf, torch.nan
    torch.testing.assert_close(masked_mean(values, mask), expected)
    pooling, out = Pooling(mask, CPU), torch.empty(3, 5)
    pooling.into(out, values)
    assert pooling.exact
    torch.testing.assert_close(out, expected)


def test_only_padding_makes_a_product_inexact():
    """Without any, means of a GPU need no second look either."""
    full, padded = torch.ones(2, 3), torch.tensor([[1, 1, 1], [1, 1, 0]])
    assert Pooling(full, CPU, by_row=False).exact
    assert not Pooling(padded, CPU, by_row=False).exact


def test_a_sum_past_the_end_of_float16_is_a_good_mean():
    """300 times 1000 is not a float16; the mean is."""
    values = torch.full((2, 300, 4), 1000.0, dtype=torch.float16)
    mask = torch.ones(2, 300)
    mask[1, 200:] = 0
    out = torch.empty(2, 4, dtype=torch.float16)
    Pooling(mask, CPU, by_row=False).into(out, values)
    assert (out == 1000).all()


@pytest.mark.parametrize("mask", [[[1, 1], [0, 0]], [[0, 1], [1, 1]]])
def test_a_mask_that_is_not_a_length_is_refused(mask):
    """No valid position, or padding in front."""
    with pytest.raises(ValueError, match="mask: expected the valid positions of every row first"):
        Pooling(torch.tensor(mask), CPU)


def test_the_last_position_is_read():
    values, out = torch.randn(3, 4, 5), torch.empty(3, 9)
    last_position(out[:, 2:7], values)
    assert torch.equal(out[:, 2:7], values[:, -1])


@pytest.fixture(scope="module")
def encoder():
    config = tiny_config("seamless_m4t_v2", 50)
    config._attn_implementation = "sdpa"
    torch.manual_seed(3)
    return family_class(config, "Encoder")(config).eval()


def _pass(encoder, recorder, lengths):
    mask = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()
    tokens = torch.randint(5, 50, mask.shape, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        recorder.begin(mask)
        states = encoder(tokens, attention_mask=mask).last_hidden_state
        return recorder.result(states, lengths)


def test_a_batch_is_not_touched_by_those_behind_it(encoder):
    """Three are recorded before the first is looked at, as when the disk is slow."""
    recorder = Recorder(encoder, encoder.config, "text_encoder")
    sizes = ([7, 5], [4], [9, 9, 2])
    alone = [_pass(encoder, recorder, lengths).on_host() for lengths in sizes]
    alone = [(one.activation.copy(), one.hidden_state.copy()) for one in alone]
    together = [_pass(encoder, recorder, lengths) for lengths in sizes]
    for one, (activation, hidden), lengths in zip(together, alone, sizes, strict=True):
        batch = one.on_host()
        assert np.array_equal(batch.activation, activation)
        assert np.array_equal(batch.hidden_state, hidden)
        assert [len(state) for state in batch.states] == lengths
    recorder.close()


def test_float16_is_the_rounded_float32(encoder):
    """Means are taken in float32 whatever is stored."""
    seen = {}
    for dtype in ("float16", "float32"):
        recorder = Recorder(encoder, encoder.config, "text_encoder", dtype)
        seen[dtype] = _pass(encoder, recorder, [6, 3, 5]).on_host()
        recorder.close()
    for name in ("activation", "hidden_state"):
        half, single = getattr(seen["float16"], name), getattr(seen["float32"], name)
        assert half.dtype == np.float16
        assert single.dtype == np.float32
        assert np.array_equal(half, single.astype(np.float16))
    assert seen["float16"].activation.shape == (3, recorder.n_neurons)
    assert seen["float16"].hidden_state.shape == (3, *recorder.hidden_shape)


def test_closed_hooks_are_gone(encoder):
    recorder = Recorder(encoder, encoder.config, "text_encoder")
    recorder.close()
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in encoder.modules())
