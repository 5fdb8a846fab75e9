"""An encoder with fixed neurons by plain hooks, one sentence at a time."""

import contextlib

import numpy as np
from slow_generation import one_thread  # noqa: F401

from steplens.hooks.intervention import Replacement
from steplens.models.neurons import neuron_table, slots


def some(encoder, seed, n=40, submodule=None, scale=2.0):
    """Random neurons, of one submodule if asked, with random values."""
    neurons = neuron_table(encoder.encoder.config, encoder.module)
    if submodule is not None:
        neurons = neurons[neurons["submodule"] == submodule]
    chosen = neurons.sample(n, random_state=seed)[["layer", "submodule", "unit"]]
    values = scale * np.random.default_rng(seed).normal(size=n).astype(np.float32)
    return Replacement(chosen.reset_index(drop=True).assign(value=values))


def root(encoder):
    return encoder.encoder.encoder if encoder.module == "speech_encoder" else encoder.encoder


@contextlib.contextmanager
def slowly_fixed(encoder, fixed):
    """One plain hook a neuron, for a batch of one row without padding."""
    first = {
        slot.site.submodule
        for slot in slots(encoder.encoder.config, encoder.module)
        if slot.site.channels_first
    }
    handles = []
    for row in fixed.table.itertuples():

        def hook(_module, _args, output, row=row):
            changed = output.clone()
            if row.submodule in first:
                changed[:, row.unit, :] = row.value
            else:
                changed[:, :, row.unit] = row.value
            return changed

        module = root(encoder).get_submodule(f"layers.{row.layer}.{row.submodule}")
        handles.append(module.register_forward_hook(hook))
    yield
    for handle in handles:
        handle.remove()
