"""The loop of encode and capture when memory runs out, padding is bad, or the disk is full."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_checkpoints import tiny_config

from steplens.errors import ActivationError
from steplens.hooks.recorder import Recorder
from steplens.models.neurons import neuron_table
from steplens.models.seamless.loading import family_class
from steplens.recording.dump import dump
from steplens.recording.encode import text_pass
from steplens.store import writer
from steplens.store.reading import open_store
from steplens.store.writer import StoreWriter

N = 23
BAR = SimpleNamespace(update=lambda n: None)


@pytest.fixture(scope="module")
def encoder():
    config = tiny_config("seamless_m4t_v2", 50)
    config._attn_implementation = "sdpa"
    torch.manual_seed(3)
    return family_class(config, "Encoder")(config).eval()


@pytest.fixture(scope="module")
def tokens():
    rng = np.random.default_rng()
    return [torch.from_numpy(rng.integers(5, 50, int(n))) for n in rng.integers(2, 30, N)]


def _write(path, encoder, tokens, batch_size, memory=10**9, by_row=None, valid=None):
    """A store of the tokens on a device that holds ``memory`` rows; returns the batches' sizes."""
    recorder = Recorder(encoder, encoder.config, "text_encoder", "float32", by_row)
    sizes = []

    def run(rows):
        chosen = [tokens[row] for row in rows]
        padded = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True)
        lengths = torch.tensor([len(one) for one in chosen])
        mask = (torch.arange(padded.shape[1])[None] < lengths[:, None]).long()
        seen = text_pass(encoder, recorder, padded, mask)
        if valid is not None:  # as capture: no encoder states to keep
            recorder.begin(mask)
            with torch.inference_mode():
                encoder(padded, attention_mask=mask)
            seen = recorder.result()
        sizes.append(len(rows))
        if len(rows) > memory:  # with the hooks' work half done
            raise torch.OutOfMemoryError("no memory left")
        return seen

    neurons = neuron_table(encoder.config, "text_encoder")
    lengths = np.array([len(one) for one in tokens])
    try:
        with StoreWriter(
            path, range(len(tokens)), neurons, recorder.places, recorder.hidden_shape[1], "float32", {}
        ) as store:  # fmt: skip
            names = np.arange(len(tokens))
            dump(store, recorder, names, lengths, batch_size, run, "test", BAR, valid)
    finally:
        recorder.close()
    return sizes


def test_a_batch_that_does_not_fit_leaves_the_same_store(tmp_path, encoder, tokens):
    """Byte for byte that of the smaller batch, whose size it comes to."""
    _write(tmp_path / "small.zarr", encoder, tokens, 4)
    sizes = _write(tmp_path / "halved.zarr", encoder, tokens, 16, memory=4)
    assert sizes[:3] == [16, 8, 4]
    assert max(sizes[2:]) == 4
    small, halved = (open_store(tmp_path / f"{name}.zarr") for name in ("small", "halved"))
    assert halved.attrs["digest"] == small.attrs["digest"]


def test_any_batch_size_gives_the_same(tmp_path, encoder, tokens):
    """Within 1e-5, the rounding of the model itself."""
    _write(tmp_path / "alone.zarr", encoder, tokens, 1)
    alone = open_store(tmp_path / "alone.zarr")
    for by_row in (True, False):
        _write(tmp_path / "all.zarr", encoder, tokens, N, by_row=by_row)
        together = open_store(tmp_path / "all.zarr")
        for name in ("activation", "hidden_state", "state"):
            torch.testing.assert_close(
                torch.from_numpy(together[name].to_numpy()),
                torch.from_numpy(alone[name].to_numpy()),
                rtol=1e-5,
                atol=1e-5,
            )


def test_padding_that_is_not_finite_reaches_no_mean(tmp_path, encoder, tokens):
    """Where padding is not skipped, as on a GPU, such utterances are passed again alone."""
    _write(tmp_path / "good.zarr", encoder, tokens, 1)
    mask = {}
    handles = [
        encoder.register_forward_pre_hook(
            lambda _module, _args, given: mask.update(now=given["attention_mask"]), with_kwargs=True
        ),
        encoder.layers[-1].ffn.fc2.register_forward_hook(
            lambda _module, _args, output: output.masked_fill(
                ~mask["now"].bool().unsqueeze(-1), torch.inf
            )
        ),
    ]
    try:
        sizes = _write(tmp_path / "bad.zarr", encoder, tokens, 8, by_row=False)
        kept = _write(tmp_path / "rows.zarr", encoder, tokens, 8, by_row=True)
    finally:
        for handle in handles:
            handle.remove()
    assert len(kept) == 3  # batches of 8, 8 and 7
    assert sizes.count(1) >= 8
    good = open_store(tmp_path / "good.zarr")
    for name in ("bad", "rows"):
        seen = open_store(tmp_path / f"{name}.zarr")["activation"].to_numpy()
        np.testing.assert_allclose(seen, good["activation"].to_numpy(), rtol=1e-5, atol=1e-5)


def test_an_utterance_that_is_not_finite_itself_is_still_an_error(tmp_path, encoder, tokens):
    """Passed again alone, it is no better, and named."""
    weight = encoder.layers[1].ffn.fc1.bias
    before = weight.detach().clone()
    with torch.no_grad():
        weight[0] = torch.nan
    try:
        with pytest.raises(
            ActivationError, match=r"test: utterance \d+, layer 1, ffn\.fc1, unit 0"
        ):
            _write(tmp_path / "s.zarr", encoder, tokens, 8, by_row=False)
    finally:
        with torch.no_grad():
            weight.copy_(before)
    assert not (tmp_path / "s.zarr" / "zarr.json").exists()


@pytest.mark.parametrize("by_row", [True, False])
def test_rows_that_are_not_valid_cost_no_pass_and_hold_nan(tmp_path, encoder, tokens, by_row):
    valid = np.random.default_rng().random(N) < 0.4
    sizes = _write(tmp_path / "s.zarr", encoder, tokens, 8, by_row=by_row, valid=valid)
    assert sum(sizes) == valid.sum()
    store = open_store(tmp_path / "s.zarr")
    for name in ("activation", "hidden_state"):
        values = store[name].to_numpy().reshape(N, -1)
        assert np.isnan(values[~valid]).all()
        assert np.isfinite(values[valid]).all()


def test_a_full_disk_ends_the_job_without_a_commit_mark(tmp_path, encoder, tokens, monkeypatch):
    """The error of the writing thread is that of the job."""

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer.StoreWriter, "write", full)
    with pytest.raises(OSError, match="No space left on device"):
        _write(tmp_path / "s.zarr", encoder, tokens, 2)
    assert not (tmp_path / "s.zarr" / "zarr.json").exists()
