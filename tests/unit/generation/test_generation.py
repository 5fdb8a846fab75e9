"""The own greedy loop against ``generate`` of transformers, and a fixed batch against slow hooks.

Real models of both families with random weights, padded encoder states, and logits that are shifted so
that sentences end at many different steps.
"""

import contextlib

import numpy as np
import pandas as pd
import pytest
import torch
from slow_generation import MOST, one_thread, slow_intervention, transformers_generate  # noqa: F401
from tiny_checkpoints import FAMILIES, write_checkpoint

from steplens.batches import growing_cache
from steplens.errors import ActivationError, CheckpointError
from steplens.generation import greedy
from steplens.generation.decode import Decoder
from steplens.generation.greedy import generate
from steplens.hooks.intervention import Intervention, Replacement
from steplens.models.greedy_settings import require_plain_greedy
from steplens.models.neurons import neuron_table
from steplens.models.source import ModelSource


@pytest.fixture(scope="module", params=FAMILIES)
def decoder(request, tmp_path_factory, checkpoint):
    """A decoder of random weights, of which some sentences end early and some never."""
    folder = tmp_path_factory.mktemp(request.param)
    write_checkpoint(folder, checkpoint, request.param)
    made = Decoder(ModelSource(str(folder), None, "float32", "cpu"), MOST)

    def shift(_module, _args, logits):
        """One token in ten or so is the end of sentence, and one in ten the padding."""
        top = logits.max(-1).values
        choice = (10 * top).floor() % 10
        logits[..., made.end] = torch.where(choice == 1, top + 1, logits[..., made.end])
        padding = logits[..., made.model.config.pad_token_id]
        padding[...] = torch.where(choice == 2, top + 1, padding)

    made.model.lm_head.register_forward_hook(shift)
    return made


def some_states(seed: int, n: int = 12) -> list[np.ndarray]:
    """Encoder states of 1 to 15 positions."""
    generator = np.random.default_rng(seed)
    return [
        (3 * generator.normal(size=(length, 32))).astype(np.float32)
        for length in generator.integers(1, 16, n)
    ]


def some_neurons(decoder, seed: int, n: int = 40) -> Replacement:
    """Random neurons with random values."""
    generator = np.random.default_rng(seed)
    neurons = neuron_table(decoder.model.config, "decoder")
    chosen = neurons.iloc[generator.choice(len(neurons), n, replace=False)]
    table = chosen[["layer", "submodule", "unit"]].reset_index(drop=True)
    return Replacement(table.assign(value=2.0 * generator.normal(size=n).astype(np.float32)))


@contextlib.contextmanager
def batch_sizes(decoder):
    """Rows of every pass through the decoder."""
    seen = []
    handle = decoder.model.text_decoder.register_forward_hook(
        lambda _module, _args, output: seen.append(len(output.last_hidden_state))
    )
    yield seen
    handle.remove()


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("share", "every", "block"), [(0.25, 1, 64), (0.01, 4, 4), (1.0, 3, 7)])
def test_tokens_are_those_of_transformers(decoder, monkeypatch, seed, share, every, block):
    """Whenever rows leave, however often one looks and however the cache grows."""
    monkeypatch.setattr(greedy, "LEAVING_SHARE", share)
    monkeypatch.setattr(greedy, "STEPS_BETWEEN_LOOKS", {"cpu": every})
    monkeypatch.setattr(growing_cache, "CACHE_BLOCK", block)
    inputs = decoder.to_device(some_states(seed))
    with batch_sizes(decoder) as sizes:
        contents, ended = decoder.greedy(*inputs, "deu")
    assert (contents, ended) == transformers_generate(decoder, *inputs, "deu")
    lengths = {len(one) for one in contents}
    assert len(lengths) > 3  # else the test shows little
    assert any(ended)
    assert all(len(one) == MOST for one, end in zip(contents, ended, strict=True) if not end)
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[-1] < sizes[0]) == (share < 1)


def test_a_row_costs_nothing_after_its_end(decoder, monkeypatch):
    """With every finished row leaving, as many passes as tokens and ends."""
    monkeypatch.setattr(greedy, "LEAVING_SHARE", 1e-9)
    with batch_sizes(decoder) as sizes:
        contents, ended = decoder.greedy(*decoder.to_device(some_states(4)), "jpn")
    assert sum(sizes) == sum(map(len, contents)) + sum(ended)


@pytest.mark.parametrize("most", [1, 2, 5])
def test_the_limit_counts_the_end_of_sentence(decoder, most):
    """As in transformers."""
    states, mask = decoder.to_device(some_states(5))
    start = [decoder.model.config.decoder_start_token_id, decoder.tags["fra"]]
    written = generate(decoder.model, states, mask, start, most)
    expected = transformers_generate(decoder, states, mask, "fra", most)
    assert (written.contents, written.ended) == expected


def test_states_without_padding(decoder):
    """Attention then needs no mask."""
    states = [one[:1].repeat(6, 0) for one in some_states(6)]
    inputs = decoder.to_device(states)
    assert decoder.greedy(*inputs, "spa") == transformers_generate(decoder, *inputs, "spa")


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("share", "every"), [(0.25, 1), (0.01, 4)])
def test_fixed_rows_are_those_of_slow_hooks(decoder, monkeypatch, seed, share, every):
    """Rows with neurons of their own, rows with none, and all of them leaving at different steps."""
    monkeypatch.setattr(greedy, "LEAVING_SHARE", share)
    monkeypatch.setattr(greedy, "STEPS_BETWEEN_LOOKS", {"cpu": every})
    one, other, third = (some_neurons(decoder, 10 * seed + n) for n in range(3))
    fixed = [
        (slice(0, 3), one), (slice(3, 4), other), (slice(5, 6), one), (slice(6, 11), third),
    ]  # fmt: skip
    inputs = decoder.to_device(some_states(seed))
    with slow_intervention(decoder, fixed):
        expected = transformers_generate(decoder, *inputs, "cmn")
    intervention = Intervention(decoder.model.text_decoder, fixed)
    with batch_sizes(decoder) as sizes:
        assert decoder.greedy(*inputs, "cmn", intervention=intervention) == expected
    assert sizes[-1] < sizes[0]
    free = decoder.greedy(*inputs, "cmn")
    assert expected != free
    assert expected[0][4] == free[0][4]
    # The same object once more: it begins with all rows again.
    assert decoder.greedy(*inputs, "cmn", intervention=intervention) == expected


def test_one_write_a_module_for_the_whole_batch(decoder):
    """However many conditions share it."""
    fixed = [(slice(row, row + 1), some_neurons(decoder, row, 200)) for row in range(12)]
    with Intervention(decoder.model.text_decoder, fixed):
        hooks = [len(module._forward_hooks) for module in decoder.model.text_decoder.modules()]
    assert max(hooks) == 1
    assert sum(hooks) == 2 * 13


def test_a_batch_that_shrinks_without_its_intervention_is_refused(decoder):
    """Else the wrong rows would be fixed."""
    states, mask = decoder.to_device(some_states(7))
    fixed = [(slice(0, 2), some_neurons(decoder, 1))]
    with (
        pytest.raises(RuntimeError, match=r"expected a batch of 12 rows, got \d; what generates"),
        Intervention(decoder.model.text_decoder, fixed),
    ):
        decoder.greedy(states, mask, "deu")
    with pytest.raises(ValueError, match="expected rows below 12, the batch's, got 12"):
        decoder.greedy(
            states, mask, "deu",
            intervention=Intervention(decoder.model.text_decoder, [(slice(11, 13), fixed[0][1])]),
        )  # fmt: skip


def test_a_neuron_or_a_row_fixed_twice_is_refused(decoder):
    """Which of two values would stand is left to nobody."""
    once = some_neurons(decoder, 1)
    twice = Replacement(pd.concat([once.table, once.table.iloc[:1]]))
    row = once.table.iloc[0]
    with pytest.raises(
        ValueError, match=rf"layers\.{row.layer}\.{row.submodule}: .* {row.unit} twice"
    ):
        Intervention(decoder.model.text_decoder, [(slice(0, 1), twice)])
    with pytest.raises(ValueError, match="expected each row in one slice"):
        Intervention(decoder.model.text_decoder, [(slice(0, 2), once), (slice(1, 3), once)])


def test_the_digest_tells_what_is_fixed(decoder):
    """Not the order of the table; a neuron or a value more or less."""
    fixed = some_neurons(decoder, 1)
    assert Replacement(fixed.table.iloc[::-1]).digest == fixed.digest
    others = [
        Replacement(fixed.table.iloc[1:]),
        Replacement(fixed.table.assign(value=fixed.table["value"] + 1)),
        Replacement(fixed.table.assign(layer=1 - fixed.table["layer"])),
    ]
    assert len({one.digest for one in [fixed, *others]}) == 4


@pytest.mark.parametrize("every", [1, 4])
def test_infinity_after_rows_have_left_names_the_row_that_was_given(decoder, monkeypatch, every):
    """The step, the submodule, and the sentence by its own name."""
    monkeypatch.setattr(greedy, "LEAVING_SHARE", 0.01)
    monkeypatch.setattr(greedy, "STEPS_BETWEEN_LOOKS", {"cpu": every})
    inputs = decoder.to_device(some_states(2))
    contents, _ = decoder.greedy(*inputs, "deu")
    # A row has left by then, and one is not the last of those that were given.
    step = min(map(len, contents)) + 2 + every
    row = max(row for row, content in enumerate(contents) if len(content) >= step - 1)
    passes = []

    def spoil(_module, _args, output):
        passes.append(len(output))
        if len(passes) >= step:
            output[-1, -1, 3] = torch.inf

    handle = decoder.model.text_decoder.layers[1].ffn.fc1.register_forward_hook(spoil)
    with pytest.raises(
        ActivationError, match=rf"utterance {100 + row}, step {step}, layer 1, ffn\.fc1"
    ):
        decoder.greedy(*inputs, "deu", np.arange(100, 112))
    handle.remove()
    assert passes[step - 1] < 12


def test_what_comes_after_the_end_may_be_anything(decoder, monkeypatch):
    """A finished row that is still in the batch is not looked at."""
    monkeypatch.setattr(greedy, "LEAVING_SHARE", 1.0)
    inputs = decoder.to_device(some_states(3))
    contents, ended = decoder.greedy(*inputs, "deu")
    row = int(np.argmin([len(content) for content in contents]))
    assert ended[row]
    passes = []

    def spoil(_module, _args, output):
        passes.append(len(output))
        if len(passes) > len(contents[row]) + 1:
            output[row] = torch.nan

    handle = decoder.model.text_decoder.layers[1].ffn.fc2.register_forward_hook(spoil)
    assert decoder.greedy(*inputs, "deu") == (contents, ended)
    handle.remove()


@pytest.mark.parametrize(
    ("key", "value"),
    [("repetition_penalty", 1.2), ("suppress_tokens", [5]), ("forced_bos_token_id", 7),
     ("no_repeat_ngram_size", 3), ("min_length", 4), ("eos_token_id", 9), ("eos_token_id", [3, 9])],
)  # fmt: skip
def test_a_generation_config_that_wants_more_is_refused(decoder, key, value):
    """transformers would heed it, and so the tokens would be others."""
    config = type(decoder.model.generation_config)(**{"eos_token_id": 3, key: value})
    with pytest.raises(CheckpointError, match=rf"here: .*{key}: expected .*got"):
        require_plain_greedy(config, decoder.model.config, "here")


def test_a_published_generation_config_is_taken(decoder):
    """What it holds beside language codes."""
    config = type(decoder.model.generation_config)(
        bos_token_id=2, decoder_start_token_id=3, eos_token_id=3, pad_token_id=0, max_new_tokens=256
    )
    require_plain_greedy(config, decoder.model.config, "here")
