"""Small stores with activations that a test makes up, for the statistics that read stores."""

import numpy as np

from steplens.models.neurons import neuron_table, place_names
from steplens.store.writer import StoreWriter

SIZES = {"hidden_size": 32, "decoder_ffn_dim": 64, "decoder_layers": 4}
NEURONS = neuron_table(SIZES, "decoder")  # 1,792


def write_store(
    path,
    activation,
    valid=None,
    utterances=None,
    neurons=NEURONS,
    hidden=None,
    places=None,
    **provenance,
):
    """Write a float16 store; utterances are numbered from 0, all of them valid, unless told.

    ``hidden`` is (n_utterances, places, hidden), of the embedding and layers unless told.
    """
    n_rows = len(activation)
    hidden = np.zeros((n_rows, 2, 4)) if hidden is None else hidden
    utterances = np.arange(n_rows) if utterances is None else utterances
    attributes = {"model": "made up", "revision": "r1", "language": path.stem} | provenance
    places = place_names(hidden.shape[1] - 1) if places is None else places
    with StoreWriter(
        path, utterances, neurons, places, hidden.shape[2], "float16", attributes
    ) as writer:
        rows = np.arange(n_rows)
        writer.write(rows, activation.astype(np.float16), hidden.astype(np.float16))
        if valid is not None:
            writer.add("valid", valid)
    return path
