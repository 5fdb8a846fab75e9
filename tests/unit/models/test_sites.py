"""The neurons of the published models, in column order, from a plain config (D1, D4)."""

import numpy as np
import pytest

from steplens.models.neurons import MODULES, neuron_table, places, slots

LARGE = {
    "hidden_size": 1024,
    "speech_encoder_layers": 24,
    "encoder_layers": 24,
    "decoder_layers": 24,
    "speech_encoder_intermediate_size": 4096,
    "encoder_ffn_dim": 8192,
    "decoder_ffn_dim": 8192,
}
# facebook/hf-seamless-m4t-large has the sizes of v2 large; -medium these, by which a whole model has the
# 1,209,461,122 parameters that are reported for the published one.
FIRST_LARGE = LARGE | {"model_type": "seamless_m4t"}
FIRST_MEDIUM = FIRST_LARGE | {
    "speech_encoder_layers": 12,
    "encoder_layers": 12,
    "decoder_layers": 12,
    "encoder_ffn_dim": 4096,
    "decoder_ffn_dim": 4096,
}
# The widths of D1 (docs/methods/definitions.md), in the order in which a layer runs.
ATTENTION = ["q_proj", "k_proj", "v_proj", "out_proj"]
WIDTHS = {
    "speech_encoder": {
        "ffn1_layer_norm": 1024,
        "ffn1.intermediate_dense": 4096,
        "ffn1.output_dense": 1024,
        "self_attn_layer_norm": 1024,
        **{f"self_attn.linear_{name}": 1024 for name in ("q", "k", "v", "out")},
        "conv_module.layer_norm": 1024,
        "conv_module.pointwise_conv1": 2048,
        "conv_module.glu": 1024,
        "conv_module.depthwise_conv": 1024,
        "conv_module.depthwise_layer_norm": 1024,
        "conv_module.pointwise_conv2": 1024,
        "ffn2_layer_norm": 1024,
        "ffn2.intermediate_dense": 4096,
        "ffn2.output_dense": 1024,
    },
    "text_encoder": {
        "self_attn_layer_norm": 1024,
        **{f"self_attn.{name}": 1024 for name in ATTENTION},
        "ffn_layer_norm": 1024,
        "ffn.fc1": 8192,
        "ffn.fc2": 1024,
    },
    "decoder": {
        "self_attn_layer_norm": 1024,
        **{f"self_attn.{name}": 1024 for name in ATTENTION},
        "cross_attention_layer_norm": 1024,
        **{f"cross_attention.{name}": 1024 for name in ATTENTION},
        "ffn_layer_norm": 1024,
        "ffn.fc1": 8192,
        "ffn.fc2": 1024,
    },
}
SMALL = {key: 2 if key.endswith("layers") else 8 for key in LARGE} | {"decoder_ffn_dim": 12}


@pytest.mark.parametrize(
    ("module", "per_layer", "n_neurons"),
    [
        ("speech_encoder", 24_576, 589_824),
        ("text_encoder", 15_360, 368_640),
        ("decoder", 20_480, 491_520),
    ],
)
def test_the_large_model_has_the_neurons_of_the_design(module, per_layer, n_neurons):
    table = neuron_table(LARGE, module)
    assert list(table.columns) == ["layer", "submodule", "unit", "step_invariant"]
    assert len(table) == n_neurons
    assert (table.groupby("layer").size() == per_layer).all()
    for _, layer in table.groupby("layer"):
        widths = layer.groupby("submodule", observed=True, sort=False).size()
        assert list(widths.items()) == list(WIDTHS[module].items())


@pytest.mark.parametrize(
    ("config", "module", "per_layer", "n_neurons"),
    [
        (FIRST_LARGE, "speech_encoder", 24_576, 589_824),
        (FIRST_LARGE, "text_encoder", 15_360, 368_640),
        (FIRST_LARGE, "decoder", 20_480, 491_520),
        (FIRST_MEDIUM, "speech_encoder", 24_576, 294_912),
        (FIRST_MEDIUM, "text_encoder", 11_264, 135_168),
        (FIRST_MEDIUM, "decoder", 16_384, 196_608),
    ],
)
def test_the_first_family_has_its_own_counts(config, module, per_layer, n_neurons):
    """And a batch norm where the second family has a layer norm; nothing else differs."""
    table = neuron_table(config, module)
    assert len(table) == n_neurons
    assert (table.groupby("layer").size() == per_layer).all()
    expected = [
        name.replace("depthwise_layer_norm", "batch_norm")
        for name in neuron_table(LARGE, module)["submodule"].cat.categories
    ]
    assert list(table["submodule"].cat.categories) == expected


def test_the_counts_come_from_the_sizes_of_the_published_medium_model():
    """The sizes of transformers' own conversion give the reported number of parameters."""
    import torch
    from transformers import SeamlessM4TConfig, SeamlessM4TModel

    sizes = {name: value for name, value in FIRST_MEDIUM.items() if name != "model_type"}
    config = SeamlessM4TConfig(
        **sizes, vocab_size=256_206, max_position_embeddings=4096, t2u_encoder_layers=4,
        t2u_decoder_layers=4,
    )  # fmt: skip
    with torch.device("meta"):
        model = SeamlessM4TModel(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_209_461_122


def test_another_kind_of_model_is_refused():
    """By its model_type."""
    with pytest.raises(ValueError, match="expected seamless_m4t or seamless_m4t_v2, got 'whisper'"):
        neuron_table(LARGE | {"model_type": "whisper"}, "speech_encoder")


@pytest.mark.parametrize("module", MODULES)
def test_columns_go_layer_by_layer_site_by_site_unit_by_unit(module):
    widths = dict.fromkeys(WIDTHS[module], SMALL["hidden_size"])
    widths |= {"conv_module.pointwise_conv1": 16} if module == "speech_encoder" else {}
    widths |= {"ffn.fc1": 12} if module == "decoder" else {}
    expected = [
        (layer, name, unit) for layer in (0, 1) for name in widths for unit in range(widths[name])
    ]
    table = neuron_table(SMALL, module)[["layer", "submodule", "unit"]]
    assert list(table.itertuples(index=False, name=None)) == expected


@pytest.mark.parametrize("module", MODULES)
def test_only_cross_attention_keys_and_values_are_step_invariant(module):
    table = neuron_table(SMALL, module)
    expected = table["submodule"].isin(["cross_attention.k_proj", "cross_attention.v_proj"])
    np.testing.assert_array_equal(table["step_invariant"], expected)
    assert table["step_invariant"].any() == (module == "decoder")


@pytest.mark.parametrize("module", MODULES)
def test_slots_tile_the_columns_and_name_what_stands_there(module):
    table, start = neuron_table(SMALL, module), 0
    for slot in slots(SMALL, module):
        part = table[slot.columns]
        assert slot.columns.start == start
        assert len(part) == slot.columns.stop - start > 0
        assert (part["layer"] == slot.layer).all()
        assert (part["submodule"] == slot.site.submodule).all()
        assert slot.path.endswith(f"layers.{slot.layer}.{slot.site.submodule}")
        start = slot.columns.stop
    assert start == len(table)


def test_a_config_object_serves_as_well_as_a_mapping():
    config = type("Config", (), SMALL)
    assert neuron_table(config, "decoder").equals(neuron_table(SMALL, "decoder"))


@pytest.mark.parametrize("function", [neuron_table, slots])
def test_an_unknown_module_is_refused(function):
    with pytest.raises(ValueError, match=r"expected one of .*decoder, got 'vocoder'"):
        function(SMALL, "vocoder")


@pytest.mark.parametrize(
    ("module", "key"),
    [
        ("decoder", "hidden_size"),
        ("decoder", "decoder_layers"),
        ("decoder", "decoder_ffn_dim"),
        ("text_encoder", "encoder_ffn_dim"),
        ("speech_encoder", "speech_encoder_intermediate_size"),
    ],
)
def test_a_missing_key_is_named(module, key):
    config = {name: value for name, value in SMALL.items() if name != key}
    with pytest.raises(ValueError, match=f"expected a key '{key}'"):
        neuron_table(config, module)


def test_places_are_the_embedding_the_layers_and_the_adapter_of_speech():
    layers = ["0", "1"]
    assert places(SMALL, "text_encoder") == ["embedding", *layers]
    assert places(SMALL, "decoder") == ["embedding", *layers]
    assert places(SMALL, "speech_encoder") == ["embedding", *layers, "adapter"]
    assert places(SMALL | {"add_adapter": False}, "speech_encoder") == ["embedding", *layers]
    assert len(places(LARGE, "speech_encoder")) == 26


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("model_type", ["whisper", "nllb-moe", ["seamless_m4t"]])
def test_a_model_of_another_architecture_has_no_table(module, model_type):
    """Its layers may have the same sizes under the same names, and other submodules."""
    config = {
        "model_type": model_type, "hidden_size": 8, "encoder_layers": 2, "decoder_layers": 2,
        "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "speech_encoder_layers": 2,
        "speech_encoder_intermediate_size": 16,
    }  # fmt: skip
    with pytest.raises(
        ValueError, match=r"model_type: expected seamless_m4t or seamless_m4t_v2, got"
    ):
        neuron_table(config, module)
