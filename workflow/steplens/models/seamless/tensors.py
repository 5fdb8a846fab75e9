"""Which tensors of a checkpoint each part of the model needs, from its config alone.

Names and shapes are those of the published files, without torch: a missing or misshapen tensor can be
named before any job starts, and a stage reads no others. A test holds them to the transformers classes.
"""

from collections.abc import Iterator
from typing import Any

from steplens.errors import shown
from steplens.models.seamless.family import config_value, family_of

Shapes = dict[str, tuple[int, ...]]

# The one embedding under the names that it is found by; published files keep the first.
EMBEDDING_NAMES = (
    "shared.weight",
    "text_decoder.embed_tokens.weight",
    "text_encoder.embed_tokens.weight",
    "lm_head.weight",
)
EMBEDDING = EMBEDDING_NAMES[0]

# Far above those of any model: by a config that says more, all memory would go into names of tensors.
_MAX_LAYERS = 1000
_MAX_SIZE = 2**31 - 1


class _Config:
    """Whole numbers of a model config by attribute; a key that is not there is named."""

    def __init__(self, config: Any):
        self._config = config

    def __getattr__(self, key: str) -> int:
        value = config_value(self._config, key)
        most = _MAX_LAYERS if key.endswith("_layers") else _MAX_SIZE
        if type(value) is not int or not 0 <= value <= most:
            limit = f" up to {most}" if type(value) is int else ""
            raise ValueError(
                f"model config: {key}: expected a whole number{limit}, got {shown(value)}; is this the "
                "config.json of a SeamlessM4T model?"
            )
        return value


def check_config(config: Any) -> None:
    """Raise ValueError for a model that no published checkpoint is like, and that is not supported."""
    expected = {
        "position_embeddings_type": family_of(config).positions,
        "add_adapter": True,
        "num_adapter_layers": 1,
        "tie_word_embeddings": True,
    }
    for key, value in expected.items():
        got = config_value(config, key, value)
        if got != value:
            raise ValueError(
                f"model config: {key}: expected {value!r}, as in the published models, got "
                f"{shown(got)}"
            )


def tensor_shapes(config: Any, module: str) -> Shapes:
    """Name in the checkpoint and shape of every tensor of a module.

    Parameters
    ----------
    config : model config (object or mapping)
    module : {"speech_encoder", "text_encoder", "decoder"}

    Returns
    -------
    dict of str to tuple of int
        The embedding goes by its published name, ``shared.weight``; it is part of the text encoder and
        of the decoder, whose head it is as well.

    Raises
    ------
    ValueError
        A config without the model's sizes, or of another kind of model.
    """
    sizes = _Config(config)
    parts = {
        "speech_encoder": _speech_encoder,
        "text_encoder": _text_encoder,
        "decoder": _text_decoder,
    }
    return dict(parts[module](config, sizes))


Tensors = Iterator[tuple[str, tuple[int, ...]]]


def _linear(name: str, n_out: int, n_in: int) -> Tensors:
    yield f"{name}.weight", (n_out, n_in)
    yield f"{name}.bias", (n_out,)


def _norm(name: str, width: int) -> Tensors:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _conformer_ffn(name: str, sizes: _Config) -> Tensors:
    hidden, inner = sizes.hidden_size, sizes.speech_encoder_intermediate_size
    yield from _linear(f"{name}.intermediate_dense", inner, hidden)
    yield from _linear(f"{name}.output_dense", hidden, inner)


def _speech_encoder(config: Any, sizes: _Config) -> Tensors:
    hidden, features = sizes.hidden_size, sizes.feature_projection_input_dim
    yield from _norm("speech_encoder.feature_projection.layer_norm", features)
    yield from _linear("speech_encoder.feature_projection.projection", hidden, features)
    for layer in range(sizes.speech_encoder_layers):
        yield from _conformer_layer(f"speech_encoder.encoder.layers.{layer}", config, sizes)
    yield from _norm("speech_encoder.encoder.layer_norm", hidden)
    yield from _conformer_ffn("speech_encoder.intermediate_ffn", sizes)
    yield from _adapter_layer("speech_encoder.adapter.layers.0", sizes)
    yield from _norm("speech_encoder.inner_layer_norm", hidden)


def _conformer_layer(name: str, config: Any, sizes: _Config) -> Tensors:
    hidden, family = sizes.hidden_size, family_of(config)
    heads = sizes.speech_encoder_attention_heads
    head = hidden // heads
    for norm in ("ffn1_layer_norm", "self_attn_layer_norm", "ffn2_layer_norm", "final_layer_norm"):
        yield from _norm(f"{name}.{norm}", hidden)
    for ffn in ("ffn1", "ffn2"):
        yield from _conformer_ffn(f"{name}.{ffn}", sizes)
    for projection in ("linear_q", "linear_k", "linear_v", "linear_out"):
        yield from _linear(f"{name}.self_attn.{projection}", hidden, hidden)
    if family.positions == "relative":
        yield f"{name}.self_attn.linear_pos.weight", (hidden, hidden)
        yield f"{name}.self_attn.pos_bias_u", (heads, head)
        yield f"{name}.self_attn.pos_bias_v", (heads, head)
    else:
        distances = sizes.left_max_position_embeddings + sizes.right_max_position_embeddings + 1
        yield f"{name}.self_attn.distance_embedding.weight", (distances, head)
    convolution = f"{name}.conv_module"
    yield from _norm(f"{convolution}.layer_norm", hidden)
    yield f"{convolution}.pointwise_conv1.weight", (2 * hidden, hidden, 1)
    yield f"{convolution}.depthwise_conv.weight", (hidden, 1, sizes.conv_depthwise_kernel_size)
    yield from _norm(f"{convolution}.{family.convolution_norm}", hidden)
    if family.convolution_norm == "batch_norm":
        yield f"{convolution}.batch_norm.running_mean", (hidden,)
        yield f"{convolution}.batch_norm.running_var", (hidden,)
    yield f"{convolution}.pointwise_conv2.weight", (hidden, hidden, 1)


def _adapter_layer(name: str, sizes: _Config) -> Tensors:
    hidden, kernel = sizes.hidden_size, sizes.adaptor_kernel_size
    for norm in ("residual_layer_norm", "self_attn_layer_norm", "ffn_layer_norm"):
        yield from _norm(f"{name}.{norm}", hidden)
    for convolution in ("residual_conv", "self_attn_conv"):
        yield f"{name}.{convolution}.weight", (2 * hidden, hidden, kernel)
        yield f"{name}.{convolution}.bias", (2 * hidden,)
    for projection in ("linear_q", "linear_k", "linear_v", "linear_out"):
        yield from _linear(f"{name}.self_attn.{projection}", hidden, hidden)
    yield from _conformer_ffn(f"{name}.ffn", sizes)


def _text_encoder(_config: Any, sizes: _Config) -> Tensors:
    yield EMBEDDING, (sizes.vocab_size, sizes.hidden_size)
    attentions = ("self_attn",)
    for layer in range(sizes.encoder_layers):
        name = f"text_encoder.layers.{layer}"
        yield from _transformer_layer(name, sizes.hidden_size, sizes.encoder_ffn_dim, attentions)
    yield from _norm("text_encoder.layer_norm", sizes.hidden_size)


def _text_decoder(_config: Any, sizes: _Config) -> Tensors:
    yield EMBEDDING, (sizes.vocab_size, sizes.hidden_size)
    attentions = ("self_attn", "cross_attention")
    for layer in range(sizes.decoder_layers):
        name = f"text_decoder.layers.{layer}"
        yield from _transformer_layer(name, sizes.hidden_size, sizes.decoder_ffn_dim, attentions)
    yield from _norm("text_decoder.layer_norm", sizes.hidden_size)


def _transformer_layer(name: str, hidden: int, inner: int, attentions: tuple[str, ...]) -> Tensors:
    for attention in attentions:
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _linear(f"{name}.{attention}.{projection}", hidden, hidden)
        yield from _norm(f"{name}.{attention}_layer_norm", hidden)
    yield from _linear(f"{name}.ffn.fc1", inner, hidden)
    yield from _linear(f"{name}.ffn.fc2", hidden, inner)
    yield from _norm(f"{name}.ffn_layer_norm", hidden)
