"""What of a model a plan needs, from its config, or by its published name before anything is fetched."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from steplens.models.neurons import n_layers, places, site_widths
from steplens.models.seamless.family import config_value
from steplens.models.seamless.tensors import tensor_shapes

_LARGE = {
    "hidden_size": 1024,
    "vocab_size": 256_102,
    "speech_encoder_layers": 24,
    "speech_encoder_attention_heads": 16,
    "speech_encoder_intermediate_size": 4096,
    "feature_projection_input_dim": 160,
    "conv_depthwise_kernel_size": 31,
    "adaptor_kernel_size": 8,
    "adaptor_stride": 8,
    "encoder_layers": 24,
    "encoder_ffn_dim": 8192,
    "decoder_layers": 24,
    "decoder_ffn_dim": 8192,
    "left_max_position_embeddings": 64,
    "right_max_position_embeddings": 8,
}
_MEDIUM = dict.fromkeys(("speech_encoder_layers", "encoder_layers", "decoder_layers"), 12)
_MEDIUM |= dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 4096) | {"vocab_size": 256_206}
# Sizes of the published models, for a plan before anything is fetched.
PUBLISHED = {
    "seamless-m4t-v2-large": _LARGE | {"model_type": "seamless_m4t_v2"},
    "hf-seamless-m4t-large": _LARGE | {"model_type": "seamless_m4t"},
    "hf-seamless-m4t-medium": _LARGE | _MEDIUM | {"model_type": "seamless_m4t"},
}
# Bytes that `snakemake fetch` gets of them (float32 weights, with the parts for speech output, which are
# not used); of others it is unknown.
PUBLISHED_BYTES = {
    "seamless-m4t-v2-large": 9_240_000_000,
    "hf-seamless-m4t-large": 9_400_000_000,
    "hf-seamless-m4t-medium": 4_850_000_000,
}
REFERENCE = "seamless-m4t-v2-large"
_SIZE_KEYS = tuple(_LARGE)


@dataclass(frozen=True)
class Model:
    """What of a model config a plan needs."""

    name: str  # as in the column ``model`` of the rates
    config: Mapping[str, Any]
    origin: str  # where the sizes come from, in words
    assumed: bool = False  # from ``PUBLISHED``, not from a config.json

    def n_neurons(self, module: str) -> int:
        """Neurons of a module (D1)."""
        width = sum(width for _, width in site_widths(self.config, module))
        return width * n_layers(self.config, module)

    def n_hidden(self, module: str) -> int:
        """Places of ``hidden_state``."""
        return len(places(self.config, module))

    @property
    def hidden_size(self) -> int:
        """Width of the residual stream."""
        return int(config_value(self.config, "hidden_size"))

    def n_parameters(self, module: str) -> int:
        """Parameters of a module, the shared embedding counted in both that use it."""
        return sum(math.prod(shape) for shape in tensor_shapes(self.config, module).values())

    @property
    def speech_positions_per_second(self) -> float:
        """Final encoder states a second of audio: 50 stacked frames, strided by the adapter."""
        return 50.0 / int(config_value(self.config, "adaptor_stride"))


def published_model(name: str, config: Mapping[str, Any] | None = None) -> Model | None:
    """A published size by the last part of a checkpoint's name, or by an equal config.

    Parameters
    ----------
    name : str
        ``model.path``.
    config : mapping, optional
        Its config.json, where it is at hand; sizes are then not assumed.

    Returns
    -------
    Model or None
        None without a config and with a name that is not published.
    """
    last = name.rstrip("/").rpartition("/")[2]
    if config is None:
        if last not in PUBLISHED:
            return None
        return Model(last, PUBLISHED[last], f"the published sizes of {last}", assumed=True)
    for known, sizes in PUBLISHED.items():
        keys = ("model_type", *_SIZE_KEYS)
        if all(config_value(config, key) == sizes[key] for key in keys if key != "vocab_size"):
            return Model(known, config, "its config.json")
    return Model(last, config, "its config.json")
