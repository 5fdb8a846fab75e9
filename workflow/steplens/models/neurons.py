"""Which neurons there are (D1): the submodules of a layer that expose a hidden dimension.

A site is one submodule of every layer of a module; a neuron is one unit of a site in one layer. The
columns of every store and ranking follow one order: layer by layer, within a layer the sites as
listed here (the order in which the model runs them), within a site its units.

Left out, since their positions are not the utterance's: the embeddings and the projection of relative
distances in the speech encoder's attention (``distance_embedding``, ``linear_pos``).

A place is where the residual stream is read: before the first layer, after every layer, and after the
adapter that shortens speech. Places are named here and nowhere else.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from steplens.models.seamless.family import Family, config_value, family_of

MODULES = ("speech_encoder", "text_encoder", "decoder")
EMBEDDING, ADAPTER = "embedding", "adapter"  # the places that are no layer


@dataclass(frozen=True)
class Site:
    """One submodule, named as the model names it."""

    submodule: str
    width: str  # name of the width below
    channels_first: bool = False  # its output is (batch, channel, time)
    over_encoder: bool = False  # its positions are the encoder's (D4): the same at every step


_FEED_FORWARD_1 = (
    Site("ffn1_layer_norm", "hidden"),
    Site("ffn1.intermediate_dense", "speech_ffn"),
    Site("ffn1.output_dense", "hidden"),
)
_FEED_FORWARD_2 = (
    Site("ffn2_layer_norm", "hidden"),
    Site("ffn2.intermediate_dense", "speech_ffn"),
    Site("ffn2.output_dense", "hidden"),
)
_SELF_ATTENTION = (
    Site("self_attn_layer_norm", "hidden"),
    Site("self_attn.q_proj", "hidden"),
    Site("self_attn.k_proj", "hidden"),
    Site("self_attn.v_proj", "hidden"),
    Site("self_attn.out_proj", "hidden"),
)
_SPEECH_SELF_ATTENTION = (
    Site("self_attn_layer_norm", "hidden"),
    Site("self_attn.linear_q", "hidden"),
    Site("self_attn.linear_k", "hidden"),
    Site("self_attn.linear_v", "hidden"),
    Site("self_attn.linear_out", "hidden"),
)
_CROSS_ATTENTION = (
    Site("cross_attention_layer_norm", "hidden"),
    Site("cross_attention.q_proj", "hidden"),
    Site("cross_attention.k_proj", "hidden", over_encoder=True),
    Site("cross_attention.v_proj", "hidden", over_encoder=True),
    Site("cross_attention.out_proj", "hidden"),
)

_TEXT_SITES = {
    "text_encoder": (
        *_SELF_ATTENTION,
        Site("ffn_layer_norm", "hidden"), Site("ffn.fc1", "encoder_ffn"), Site("ffn.fc2", "hidden"),
    ),
    "decoder": (
        *_SELF_ATTENTION, *_CROSS_ATTENTION,
        Site("ffn_layer_norm", "hidden"), Site("ffn.fc1", "decoder_ffn"), Site("ffn.fc2", "hidden"),
    ),
}  # fmt: skip


def _convolution(family: Family) -> tuple[Site, ...]:
    norm = f"conv_module.{family.convolution_norm}"
    return (
        Site("conv_module.layer_norm", "hidden"),
        Site("conv_module.pointwise_conv1", "twice_hidden", channels_first=True),
        Site("conv_module.glu", "hidden", channels_first=True),
        Site("conv_module.depthwise_conv", "hidden", channels_first=True),
        Site(norm, "hidden", channels_first=family.norm_is_over_channels),
        Site("conv_module.pointwise_conv2", "hidden", channels_first=True),
    )


def sites(config: Any, module: str) -> tuple[Site, ...]:
    """The sites of one layer, in the order in which the model runs them."""
    check_module(module)
    family = family_of(
        config
    )  # refuses a model of another architecture, whose submodules are others
    if module != "speech_encoder":
        return _TEXT_SITES[module]
    convolution = _convolution(family)
    return (*_FEED_FORWARD_1, *_SPEECH_SELF_ATTENTION, *convolution, *_FEED_FORWARD_2)


_N_LAYERS = {
    "speech_encoder": "speech_encoder_layers",
    "text_encoder": "encoder_layers",
    "decoder": "decoder_layers",
}


def _get(config: Any, key: str) -> int:
    value = config_value(config, key)
    if value is None:
        raise ValueError(f"model config: expected a key {key!r}; is this a SeamlessM4T config?")
    return int(value)


def check_module(module: str) -> None:
    """Raise ValueError unless ``module`` is one of ``MODULES``."""
    if module not in MODULES:
        raise ValueError(f"module: expected one of {', '.join(MODULES)}, got {module!r}")


def n_layers(config: Any, module: str) -> int:
    """Number of layers of a module, from a model config (object or mapping)."""
    check_module(module)
    return _get(config, _N_LAYERS[module])


def place_names(n_layers: int, adapter: bool = False) -> list[str]:
    """Names of the places of the residual stream, in running order.

    Parameters
    ----------
    n_layers : int
    adapter : bool
        Whether an adapter follows the last layer.

    Examples
    --------
    >>> place_names(2, adapter=True)
    ['embedding', '0', '1', 'adapter']
    """
    return [EMBEDDING, *map(str, range(n_layers)), *([ADAPTER] if adapter else [])]


def places(config: Any, module: str) -> list[str]:
    """Places of a module's residual stream, from a model config (object or mapping)."""
    adapter = module == "speech_encoder" and config_value(config, "add_adapter", True)
    return place_names(n_layers(config, module), adapter)


def site_widths(config: Any, module: str) -> list[tuple[Site, int]]:
    """The sites of one layer with the number of their units, in column order."""
    check_module(module)
    hidden = _get(config, "hidden_size")
    widths = {
        "hidden": lambda: hidden,
        "twice_hidden": lambda: 2 * hidden,
        "speech_ffn": lambda: _get(config, "speech_encoder_intermediate_size"),
        "encoder_ffn": lambda: _get(config, "encoder_ffn_dim"),
        "decoder_ffn": lambda: _get(config, "decoder_ffn_dim"),
    }
    return [(site, widths[site.width]()) for site in sites(config, module)]


def neuron_table(config: Any, module: str) -> pd.DataFrame:
    """Every neuron of a module in column order (D1).

    Parameters
    ----------
    config : SeamlessM4Tv2Config, SeamlessM4TConfig or mapping
        A model config; no weights are needed. Without ``model_type`` it is taken for the second's.
    module : {"speech_encoder", "text_encoder", "decoder"}

    Returns
    -------
    DataFrame of n_neurons rows
        ``layer`` (from 0), ``submodule`` (categorical, in column order), ``unit`` (from 0) and
        ``step_invariant``: True where the activation is the same at every decoding step (D4).

    Raises
    ------
    ValueError
        Unknown module, a config without the model's widths, or of another kind of model.

    Examples
    --------
    >>> from transformers import SeamlessM4Tv2Config
    >>> len(neuron_table(SeamlessM4Tv2Config(), "decoder"))
    491520
    """
    widths_of = site_widths(config, module)
    names = [site.submodule for site, _ in widths_of]
    widths = np.array([width for _, width in widths_of])
    layers = n_layers(config, module)
    per_layer = int(widths.sum())
    code = np.repeat(np.arange(len(widths_of), dtype=np.int8), widths)  # (per_layer,)
    unit = np.concatenate([np.arange(width, dtype=np.int32) for width in widths])
    invariant = np.repeat([site.over_encoder for site, _ in widths_of], widths)
    return pd.DataFrame(
        {
            "layer": np.repeat(np.arange(layers, dtype=np.int16), per_layer),
            "submodule": pd.Categorical.from_codes(np.tile(code, layers), categories=names),
            "unit": np.tile(unit, layers),
            "step_invariant": np.tile(invariant, layers),
        }
    )


@dataclass(frozen=True)
class Slot:
    """One site in one layer: where its module hangs and which columns are its units."""

    path: str  # relative to the module, for example "layers.3.ffn.fc1"
    site: Site
    layer: int
    columns: slice


def slots(config: Any, module: str) -> list[Slot]:
    """Every (layer, site) of a module in column order."""
    prefix = "encoder.layers" if module == "speech_encoder" else "layers"
    found, start = [], 0
    for layer in range(n_layers(config, module)):
        for site, width in site_widths(config, module):
            path = f"{prefix}.{layer}.{site.submodule}"
            found.append(Slot(path, site, layer, slice(start, start + width)))
            start += width
    return found
