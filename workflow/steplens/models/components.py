"""Table 5: neurons and parameters of each component, from the model config alone (no weights)."""

from pathlib import Path

import pandas as pd
import torch

from steplens.files.atomic import write_csv
from steplens.models.neurons import MODULES, n_layers, neuron_table
from steplens.models.seamless.loading import family_class, load_config
from steplens.models.source import ModelSource

_CLASSES = {"speech_encoder": "SpeechEncoder", "text_encoder": "Encoder", "decoder": "Decoder"}


def component_table(config) -> pd.DataFrame:
    """Layers, neurons and parameters of each module.

    Parameters
    ----------
    config : SeamlessM4Tv2Config or SeamlessM4TConfig

    Returns
    -------
    DataFrame
        component, layers, neurons_per_layer, neurons, step_invariant_neurons, parameters. The token
        embedding, which the text encoder, the decoder and the output share, is a row of its own.
    """
    rows = []
    for module in MODULES:
        neurons = neuron_table(config, module)
        with torch.device("meta"):
            model = family_class(config, _CLASSES[module])(config)
        parameters = dict(model.named_parameters())
        layers = n_layers(config, module)
        rows.append(
            {
                "component": module,
                "layers": layers,
                "neurons_per_layer": len(neurons) // layers,
                "neurons": len(neurons),
                "step_invariant_neurons": int(neurons["step_invariant"].sum()),
                "parameters": sum(
                    one.numel() for name, one in parameters.items() if "embed_tokens" not in name
                ),
            }
        )
    embedding = {
        "component": "shared_embedding",
        "parameters": config.vocab_size * config.hidden_size,
    }
    counts = ["layers", "neurons_per_layer", "neurons", "step_invariant_neurons"]
    return pd.DataFrame([*rows, embedding | dict.fromkeys(counts, 0)])


def write_components(source: ModelSource, output: Path) -> None:
    """Write ``tables/table5.csv``."""
    write_csv(component_table(load_config(source)), output)
