"""The two published families of SeamlessM4T, and where they differ.

The first (``facebook/hf-seamless-m4t-large`` and ``-medium``) attends to relative positions through a
projection and normalises the conformer's convolution over the batch; the second
(``facebook/seamless-m4t-v2-large``) has a table of distances and a layer norm in these places.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from steplens.errors import shown


@dataclass(frozen=True)
class Family:
    """One generation of the model, by the ``model_type`` of its config."""

    model_type: str
    classes: str  # what the names of its transformers classes begin with
    convolution_norm: str  # the normalisation in the conformer's convolution module
    norm_is_over_channels: bool  # its output is (batch, channel, time)
    positions: str  # ``position_embeddings_type`` of the published models


FAMILIES = {
    family.model_type: family
    for family in (
        Family("seamless_m4t", "SeamlessM4T", "batch_norm", True, "relative"),
        Family("seamless_m4t_v2", "SeamlessM4Tv2", "depthwise_layer_norm", False, "relative_key"),
    )
}


def config_value(config: Any, key: str, default: Any = None) -> Any:
    """A key of a model config, which may be an object of transformers or a mapping."""
    return (
        config.get(key, default) if isinstance(config, Mapping) else getattr(config, key, default)
    )


def family_of(config: Any) -> Family:
    """The family of a model config (object or mapping); without ``model_type`` it is the second.

    Raises
    ------
    ValueError
        Another kind of model.
    """
    model_type = config_value(config, "model_type") or "seamless_m4t_v2"
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        raise ValueError(
            f"model config: model_type: expected {' or '.join(FAMILIES)}, got {shown(model_type)}"
        )
    return FAMILIES[model_type]
