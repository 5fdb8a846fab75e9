"""Steering against a slow intervention with one plain hook a neuron, on random weights."""

import numpy as np
import pytest
import torch

from steplens.generation.decode import Decoder
from steplens.hooks.intervention import Intervention, Replacement
from steplens.models.neurons import neuron_table, slots

STATES = [np.random.default_rng(n).normal(size=(n, 32)).astype(np.float32) for n in (4, 9, 6, 7)]


@pytest.fixture(scope="module")
def decoder(source):
    return Decoder(source, max_new_tokens=10)


@pytest.fixture(scope="module")
def neurons(decoder):
    return neuron_table(decoder.model.config, "decoder")


def some(neurons, seed, n=60, scale=2.0):
    generator = np.random.default_rng(seed)
    chosen = neurons.iloc[generator.choice(len(neurons), n, replace=False)]
    table = chosen[["layer", "submodule", "unit"]].reset_index(drop=True)
    return Replacement(table.assign(value=scale * generator.normal(size=n).astype(np.float32)))


def slow_generation(decoder, states, fixed, language, steps=10):
    """Greedy decoding of one sentence without a cache, each neuron set by a hook of its own."""
    model = decoder.model
    handles = []
    for row in fixed.table.itertuples():

        def hook(_module, _args, output, unit=row.unit, value=row.value):
            changed = output.clone()
            changed[..., unit] = value
            return changed

        path = f"layers.{row.layer}.{row.submodule}"
        handles.append(model.text_decoder.get_submodule(path).register_forward_hook(hook))
    tokens = [model.config.decoder_start_token_id, decoder.tags[language]]
    with torch.no_grad():
        for _ in range(steps):
            out = model.text_decoder(
                input_ids=torch.tensor([tokens]),
                encoder_hidden_states=torch.from_numpy(states)[None],
                use_cache=False,
            )
            tokens.append(int(model.lm_head(out.last_hidden_state)[0, -1].argmax()))
            if tokens[-1] == decoder.end:
                tokens.pop()
                break
    for handle in handles:
        handle.remove()
    return tokens[2:]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_steered_generation_equals_the_slow_one(decoder, neurons, seed):
    """Cached, batched and padded, it writes what recomputing every position writes (D8)."""
    fixed = some(neurons, seed)
    inputs = decoder.to_device(STATES)
    plain, _ = decoder.greedy(*inputs, "jpn")
    with Intervention(decoder.model.text_decoder, [(slice(0, 4), fixed)]):
        fast, _ = decoder.greedy(*inputs, "jpn")
    assert fast == [slow_generation(decoder, states, fixed, "jpn") for states in STATES]
    assert fast != plain  # else the test shows nothing


def test_rows_of_one_batch_are_steered_each_in_its_own_way(decoder, neurons):
    """Two interventions and an untouched row in one batch equal three separate runs."""
    one, other = some(neurons, 11), some(neurons, 12)
    inputs = decoder.to_device(STATES)
    plain, _ = decoder.greedy(*inputs, "deu")
    with Intervention(decoder.model.text_decoder, [(slice(0, 2), one), (slice(2, 3), other)]):
        mixed, _ = decoder.greedy(*inputs, "deu")
    expected = [slow_generation(decoder, STATES[row], one, "deu") for row in (0, 1)]
    expected.append(slow_generation(decoder, STATES[2], other, "deu"))
    assert mixed == [*expected, plain[3]]


def test_nothing_of_an_intervention_remains(decoder, neurons):
    """After the block the model decodes as before, even when the block failed."""
    inputs = decoder.to_device(STATES)
    before, _ = decoder.greedy(*inputs, "fra")
    with (
        pytest.raises(RuntimeError),
        Intervention(decoder.model.text_decoder, [(slice(0, 4), some(neurons, 4))]),
    ):
        raise RuntimeError
    assert decoder.greedy(*inputs, "fra")[0] == before


def test_every_position_and_every_site_is_replaced(decoder, neurons):
    """Watched from outside, each touched unit holds its value at each position, prefix included."""
    generator = np.random.default_rng(0)
    table = neurons.groupby(["layer", "submodule"], observed=True).sample(2, random_state=0)
    fixed = Replacement(
        table[["layer", "submodule", "unit"]]
        .reset_index(drop=True)
        .assign(value=generator.normal(size=len(table)).astype(np.float32))
    )
    cells = set(map(tuple, fixed.table[["layer", "submodule"]].to_numpy()))
    assert len(cells) == len(slots(decoder.model.config, "decoder"))
    seen = []
    with Intervention(decoder.model.text_decoder, [(slice(0, 4), fixed)]):
        handles = []
        for (layer, submodule), part in fixed.table.groupby(["layer", "submodule"], observed=True):

            def watch(_module, _args, output, part=part):
                for row in part.itertuples():
                    seen.append(bool((output[..., row.unit] == np.float32(row.value)).all()))

            module = decoder.model.text_decoder.get_submodule(f"layers.{layer}.{submodule}")
            handles.append(module.register_forward_hook(watch))
        decoder.greedy(*decoder.to_device(STATES), "deu")
    for handle in handles:
        handle.remove()
    assert seen
    assert all(seen)
