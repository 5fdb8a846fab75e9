"""Small stores of made-up activations."""

from pathlib import Path

import numpy as np

from steplens.models.neurons import neuron_table, place_names
from steplens.store.writer import StoreWriter

CONFIG = {"hidden_size": 8, "decoder_ffn_dim": 16, "decoder_layers": 2}


NEURONS = neuron_table(CONFIG, "decoder")


def write_store(path, activation, valid=None, neurons=NEURONS, model="demo"):
    n_rows = len(activation)
    hidden = np.zeros((n_rows, 3, 8), np.float16)
    provenance = {"model": model, "revision": "r1", "language": Path(path).stem}
    with StoreWriter(
        path, range(n_rows), neurons, place_names(2), 8, "float16", provenance
    ) as writer:
        writer.write(np.arange(n_rows), activation, hidden)
        if valid is not None:
            writer.add("valid", valid)
    return path
