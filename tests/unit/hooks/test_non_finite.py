"""NaN or infinity stops a job, and the message names utterance, layer and submodule.

NaN is planted in the weights of real models; the place that is named is where it arises first.
"""

import numpy as np
import pandas as pd
import pytest
import torch
import zarr
from conftest import made_by
from tiny_checkpoints import FAMILIES, tiny_config, write_checkpoint, write_weights

from steplens.errors import ActivationError
from steplens.files.atomic import write_parquet
from steplens.files.audio import write_wav
from steplens.generation.decode import Decoder, decode
from steplens.hooks.recorder import require_finite, require_finite_states
from steplens.models.neurons import slots
from steplens.models.source import ModelSource
from steplens.recording.capture import capture
from steplens.recording.encode import encode
from steplens.speech.takes import file_digest

TEXTS = ["der koch", "jeden tag", "im sommer"]


@pytest.fixture(scope="module", params=FAMILIES)
def study(request, tmp_path_factory, checkpoint):
    """A good checkpoint, its weights, and three utterances encoded and decoded with it."""
    folder = tmp_path_factory.mktemp(request.param)
    weights = write_checkpoint(folder / "good", checkpoint, request.param)
    corpus = pd.DataFrame(
        {"utterance": [41, 42, 43], "raw_transcription": TEXTS, "text": TEXTS, "split": "test"}
    )
    write_parquet(corpus, folder / "corpus.parquet")
    generator = np.random.default_rng(1)
    for number in corpus["utterance"]:
        write_wav(folder / f"{number}.wav", generator.normal(0, 0.1, 9_000).astype(np.float32))
    names = [f"{number}.wav" for number in corpus["utterance"]]
    spoken = corpus[["utterance"]].assign(
        path=names, n_samples=9_000, sha256=[file_digest(folder / name) for name in names]
    )
    write_parquet(spoken, folder / "speech.parquet")
    _encode(folder, folder / "good", "text", folder / "text.zarr")
    _decode(folder, folder / "good", folder / "decoded.parquet")
    return folder, weights


def _source(folder):
    return ModelSource(str(folder), None, "float32", "cpu")


def _encode(folder, model, modality, output):
    encode(
        _source(model), modality, "deu", folder / "corpus.parquet", folder / "speech.parquet",
        output, "float32", batch_size=2, made_by=made_by(_source(model)),
    )  # fmt: skip
    return output


def _decode(folder, model, output, store=None):
    decode(
        _source(model), "tr", "deu", "eng", store or folder / "text.zarr", output,
        max_new_tokens=4, batch_size=2, made_by=made_by(_source(model)),
    )  # fmt: skip


@pytest.fixture
def broken(study, tmp_path):
    """Makes a checkpoint with one weight of a tensor replaced."""
    folder, weights = study

    def make(name, value=torch.nan):
        model = tmp_path / "broken"
        model.mkdir()
        for path in (folder / "good").glob("*.json"):
            (model / path.name).write_bytes(path.read_bytes())
        tensor = weights[name].clone()
        tensor.view(-1)[0] = value
        write_weights(model, weights | {name: tensor}, sharded=False)
        return model

    return make


@pytest.mark.parametrize(
    ("modality", "name", "place"),
    [
        ("text", "text_encoder.layers.1.ffn.fc1.weight", r"layer 1, ffn\.fc1, unit 0"),
        ("text", "text_encoder.layers.0.self_attn.v_proj.bias", r"layer 0, self_attn\.v_proj, unit 0"),
        ("text", "text_encoder.layer_norm.weight", r"final states of the encoder, position 0, unit 0"),
        ("speech", "speech_encoder.feature_projection.projection.bias",
         "residual stream before layer 0, unit 0"),
        ("speech", "speech_encoder.encoder.layers.0.conv_module.depthwise_conv.weight",
         r"layer 0, conv_module\.depthwise_conv, unit 0"),
        ("speech", "speech_encoder.encoder.layers.1.final_layer_norm.bias",
         "residual stream after layer 1, unit 0"),
        ("speech", "speech_encoder.adapter.layers.0.ffn.output_dense.bias",
         "residual stream after the speech adapter, unit 0"),
        ("speech", "speech_encoder.inner_layer_norm.bias",
         "final states of the encoder, position 0, unit 0"),
    ],
)  # fmt: skip
def test_encode_names_where_it_arises(study, broken, tmp_path, modality, name, place):
    """Neurons, the residual stream, the adapter and the states that decoding starts from."""
    match = rf"encode {modality} deu: utterance 4[123], {place}: expected a finite .*, got nan"
    with pytest.raises(ActivationError, match=match):
        _encode(study[0], broken(name), modality, tmp_path / "store.zarr")
    assert not (tmp_path / "store.zarr" / "zarr.json").exists()  # no commit mark


def test_infinity_is_as_bad(study, broken, tmp_path):
    """With its sign."""
    model = broken("text_encoder.layers.1.ffn.fc1.bias", -torch.inf)
    with pytest.raises(ActivationError, match=r"layer 1, ffn\.fc1, unit 0: .* got -inf in float32"):
        _encode(study[0], model, "text", tmp_path / "store.zarr")


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (
            "text_decoder.layers.0.cross_attention.k_proj.weight",
            r"layer 0, cross_attention\.k_proj",
        ),
        ("text_decoder.layers.1.ffn.fc2.bias", r"layer 1, ffn\.fc2"),
    ],
)
def test_capture_names_where_it_arises(study, broken, tmp_path, name, place):
    """The utterance, layer and submodule of the step."""
    folder, _ = study
    model = _source(broken(name))
    store = _encode(folder, model.path, "text", tmp_path / "text.zarr")
    decoded = pd.read_parquet(folder / "decoded.parquet").assign(tokens=[[5, 6]] * 3, n_tokens=2)
    write_parquet(decoded, tmp_path / "decoded.parquet")
    with pytest.raises(ActivationError, match=rf"capture tr deu step 2: utterance 4[123], {place}"):
        capture(
            model, "tr", "deu", 2, "eng", store, tmp_path / "decoded.parquet", tmp_path / "step.zarr",
            "float32", batch_size=2, made_by=made_by(model),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("text_decoder.layers.1.ffn.fc1.weight", r"layer 1, ffn\.fc1"),
        ("text_decoder.layers.0.self_attn.out_proj.bias", r"layer 0, self_attn\.out_proj"),
        ("text_decoder.layer_norm.bias", "final layer norm"),
    ],
)
def test_decode_chooses_no_token_from_it(study, broken, tmp_path, name, place):
    """The first step is named, and no table is written."""
    model = broken(name)
    store = _encode(study[0], model, "text", tmp_path / "text.zarr")
    match = rf"utterance 4[123], step 1, {place}: expected finite activations"
    with pytest.raises(ActivationError, match=match):
        _decode(study[0], model, tmp_path / "decoded.parquet", store)
    assert not (tmp_path / "decoded.parquet").exists()


def test_steering_chooses_no_token_from_it(study, broken):
    """A batch without sentence ids names its row."""
    decoder = Decoder(_source(broken("text_decoder.layers.0.ffn.fc2.bias")), max_new_tokens=3)
    inputs = decoder.to_device([np.ones((3, 32), np.float32)] * 2)
    with pytest.raises(ActivationError, match=r"row 0 of the batch, step 1, layer 0, ffn\.fc2"):
        decoder.greedy(*inputs, "deu")


def test_stored_states_are_checked_before_they_are_decoded(study, tmp_path):
    """A store that went bad on the disk is named with its utterance."""
    import shutil

    folder, _ = study
    store = shutil.copytree(folder / "text.zarr", tmp_path / "text.zarr")
    states = zarr.open_group(store, mode="r+")["state"]
    states[-1, 3] = np.nan
    match = rf"{store}: utterance 43, final states of the encoder, position \d+, unit 3"
    with pytest.raises(ActivationError, match=match):
        _decode(folder, folder / "good", tmp_path / "decoded.parquet", store)


def test_the_first_place_in_running_order_is_named():
    """Of several, and of the first utterance that has any; float16 says where it ends."""
    table = slots(tiny_config("seamless_m4t_v2", 50), "decoder")
    activation = np.zeros((3, table[-1].columns.stop), dtype=np.float16)
    hidden = np.zeros((3, 3, 8), dtype=np.float16)
    names = np.array([7, 8, 9])
    require_finite(activation, hidden, names, table, "here")
    hidden[2, 0] = np.nan  # a later utterance
    target = next(s for s in table if s.layer == 1 and s.site.submodule == "ffn.fc1")
    activation[1, target.columns.start + 5] = np.inf
    hidden[1, 2, 3] = np.nan
    with pytest.raises(
        ActivationError,
        match=r"here: utterance 8, layer 1, ffn\.fc1, unit 5: .*inf in float16.*65504",
    ):
        require_finite(activation, hidden, names, table, "here")
    hidden[1, 1, 6] = np.nan
    with pytest.raises(ActivationError, match="utterance 8, residual stream after layer 0, unit 6"):
        require_finite(activation, hidden, names, table, "here")


def test_states_name_their_position():
    """Each utterance has as many positions as it has."""
    states = [np.zeros((2, 4), np.float32), np.zeros((3, 4), np.float32)]
    require_finite_states(states, np.array([1, 2]), "there")
    states[1][2, 1] = np.inf
    with pytest.raises(
        ActivationError, match=r"there: utterance 2, .*position 2, unit 1: .* got inf"
    ):
        require_finite_states(states, np.array([1, 2]), "there")
