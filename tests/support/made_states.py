"""Stores of made-up states."""

import numpy as np

from steplens.models.neurons import neuron_table, place_names
from steplens.store.groups import ROW_CHUNK
from steplens.store.writer import StoreWriter

N_LAYERS, HIDDEN, N, SEED = 2, 12, 60, 5


NEURONS = neuron_table(
    {"hidden_size": 4, "decoder_ffn_dim": 4, "decoder_layers": N_LAYERS}, "decoder"
)


def write_states(path, states, ids, valid=None, **attributes):
    """A store of made-up hidden states, (n, places, hidden)."""
    told = {"model": "made up", "revision": "r1", "language": path.stem} | attributes
    places = place_names(N_LAYERS, adapter=states.shape[1] > N_LAYERS + 1)
    with StoreWriter(path, ids, NEURONS, places, states.shape[2], "float16", told) as writer:
        for start in range(0, len(ids), ROW_CHUNK):
            rows = np.arange(start, min(start + ROW_CHUNK, len(ids)))
            activation = np.zeros((len(rows), len(NEURONS)), np.float16)
            writer.write(rows, activation, states[rows].astype(np.float16))
        if valid is not None:
            writer.add("valid", valid)
    return path
