"""Encoders with neurons fixed, against slow hooks and against the plain encoders, on random weights."""

import contextlib

import numpy as np
import pandas as pd
import pytest
import torch
from causal_inputs import UTTERANCES, write_inputs
from conftest import relative_difference
from slow_fixed_encoder import slowly_fixed, some
from slow_generation import one_thread  # noqa: F401
from tiny_checkpoints import FAMILIES, write_checkpoint

from steplens.errors import ActivationError
from steplens.hooks.intervention import Replacement
from steplens.models.neurons import neuron_table, slots
from steplens.models.source import ModelSource
from steplens.store.reading import open_store, read_states
from steplens.studies.causal.fixed_encoder import EncoderIntervention, FixedEncoder

ROWS = [3, 1, 0, 2]  # by samples, the longest first: the batch that encode makes


@pytest.fixture(scope="module", params=FAMILIES)
def inputs(request, checkpoint, tmp_path_factory):
    """Folder of a small run, and its model."""
    folder = tmp_path_factory.mktemp(request.param)
    write_checkpoint(folder / "model", checkpoint, request.param)
    source = ModelSource(str(folder / "model"), None, "float32", "cpu")
    return write_inputs(folder, source), source


@pytest.fixture(scope="module", params=["speech", "text"])
def encoder(request, inputs):
    """An encoder with four utterances."""
    folder, source = inputs
    sentences = pd.read_parquet(folder / "corpus.parquet")
    made = FixedEncoder(source, request.param, "deu", sentences, folder / "speech" / "deu.parquet")
    made.modality, made.folder = request.param, folder
    return made


def test_with_nothing_fixed_it_is_the_plain_encoder(encoder):
    """Bit for bit the states that encode stores, of the same batch."""
    stored = read_states(open_store(encoder.folder / f"{encoder.modality}.zarr"))
    rows = (
        ROWS if encoder.modality == "speech" else list(np.argsort(-encoder.lengths, kind="stable"))
    )
    for row, state in zip(rows, encoder.states(rows, [None] * 4), strict=True):
        np.testing.assert_array_equal(state, stored[row])


def test_every_row_is_that_of_its_utterance_alone_with_slow_hooks(encoder):
    """Padded, each row with other neurons fixed, one with none, an utterance under two of them."""
    rows = [3, 1, 0, 2, 2]
    fixed = [some(encoder, 1), some(encoder, 2), None, some(encoder, 3), some(encoder, 4)]
    together = encoder.states(rows, fixed)
    plain = encoder.states(rows, [None] * 5)
    for row, own, state, free in zip(rows, fixed, together, plain, strict=True):
        with slowly_fixed(encoder, own) if own else contextlib.nullcontext():
            (alone,) = encoder.states([row], [None])
        assert relative_difference(state, alone) < 1e-5
        assert (relative_difference(state, free) > 1e-3) == (own is not None)


@pytest.mark.parametrize("submodule", ["pointwise_conv1", "glu", "depthwise_conv"])
def test_padding_keeps_its_zeros_before_the_convolution(inputs, submodule):
    """Large values in what a convolution reads: behind the end of a row they must not be seen."""
    folder, source = inputs
    sentences = pd.read_parquet(folder / "corpus.parquet")
    encoder = FixedEncoder(source, "speech", "deu", sentences, folder / "speech" / "deu.parquet")
    fixed = some(encoder, 5, n=20, submodule=f"conv_module.{submodule}", scale=30.0)
    together = encoder.states(ROWS, [fixed] * 4)
    for row, state in zip(ROWS, together, strict=True):
        with slowly_fixed(encoder, fixed):
            (alone,) = encoder.states([row], [None])
        assert relative_difference(state, alone) < 1e-5


def test_fixed_neurons_hold_their_value_and_padding_and_all_others_are_free(encoder):
    """Watched from outside at every submodule of every layer, at every position of every row."""
    table = neuron_table(encoder.encoder.config, encoder.module)
    table = table.groupby(["layer", "submodule"], observed=True).sample(2, random_state=0)
    table = table[["layer", "submodule", "unit"]].reset_index(drop=True)
    fixed = Replacement(table.assign(value=np.arange(len(table), dtype=np.float32) / 8))
    features, mask = encoder._inputs.pad([encoder._inputs.load(row) for row in ROWS])
    own = slots(encoder.encoder.config, encoder.module)
    computed, after, handles = {}, {}, []

    def watch(store, slot):
        def hook(_module, _args, output):
            values = output.transpose(1, 2) if slot.site.channels_first else output
            store[slot.path] = values.detach().clone()

        return hook

    for slot in own:  # as computed: before the intervention's hooks
        handles.append(
            encoder.encoder.get_submodule(slot.path).register_forward_hook(watch(computed, slot))
        )
    rows = [(slice(1, 2), fixed), (slice(3, 4), fixed)]
    with EncoderIntervention(encoder.encoder, encoder.module, rows, mask), torch.inference_mode():
        for slot in own:
            handles.append(
                encoder.encoder.get_submodule(slot.path).register_forward_hook(watch(after, slot))
            )
        encoder.encoder(features, attention_mask=mask)
    for handle in handles:
        handle.remove()
    assert not mask.all()
    for slot in own:
        part = table[(table["layer"] == slot.layer) & (table["submodule"] == slot.site.submodule)]
        expected = computed[slot.path].clone()  # else a tensor of inference alone
        for number, unit in part["unit"].items():
            for row in (1, 3):
                expected[row, mask[row].bool(), unit] = number / 8
        assert torch.equal(after[slot.path], expected), slot.path
    assert len(computed) == len(own)


def test_nothing_of_an_intervention_remains(encoder):
    """Even when the pass failed."""
    before = encoder.states([0], [None])
    encoder.states([0], [some(encoder, 7)])
    endless = Replacement(some(encoder, 8, n=3).table.assign(value=np.float32(np.inf)))
    with pytest.raises(ActivationError):
        encoder.states([0], [endless])
    strange = Replacement(some(encoder, 8, n=1).table.assign(layer=99))
    with pytest.raises(AttributeError):
        encoder.states([0], [strange])
    np.testing.assert_array_equal(encoder.states([0], [None])[0], before[0])


def test_a_mask_of_another_batch_is_refused(encoder):
    """Rows would be fixed at the wrong positions."""
    features, mask = encoder._inputs.pad([encoder._inputs.load(row) for row in ROWS])
    rows = [(slice(0, 1), some(encoder, 9))]
    with (
        pytest.raises(RuntimeError, match=r"expected an output of .* as the mask has, got"),
        EncoderIntervention(encoder.encoder, encoder.module, rows, mask[:, 1:]),
        torch.inference_mode(),
    ):
        encoder.encoder(features, attention_mask=mask)


def test_a_state_that_is_not_finite_names_its_utterance(encoder):
    """And not only that something failed somewhere."""
    fixed = some(encoder, 10, n=1)
    endless = Replacement(fixed.table.assign(value=np.float32(np.inf)))
    with pytest.raises(
        ActivationError, match=f"utterance {UTTERANCES[2]}, final states of the encoder"
    ):
        encoder.states([1, 2], [None, endless])
