"""The parts of a checkpoint are loaded bit for bit, alone, and from no more than their own tensors."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import to_safetensors
import torch
from conftest import ROOT
from hub_server import Hub, running
from tiny_checkpoints import FAMILIES, random_weights, tiny_config, write_checkpoint, write_weights

from steplens.errors import CheckpointError
from steplens.models import files
from steplens.models.components import component_table
from steplens.models.files import read_header
from steplens.models.neurons import MODULES
from steplens.models.seamless.loading import (
    family_class,
    load_config,
    load_decoder,
    load_speech_encoder,
    load_text_encoder,
    load_tokenizer,
)
from steplens.models.seamless.tensors import EMBEDDING, EMBEDDING_NAMES, check_config, tensor_shapes
from steplens.models.source import ModelSource

LOADERS = {
    "speech_encoder": load_speech_encoder,
    "text_encoder": load_text_encoder,
    "decoder": load_decoder,
}


@pytest.fixture(scope="module", params=FAMILIES)
def whole(request, tmp_path_factory, checkpoint):
    """Folder, weights, and the whole models as a user of transformers loads them."""
    folder = tmp_path_factory.mktemp(request.param)
    weights = write_checkpoint(folder, checkpoint, request.param)
    config = load_config(_source(folder))
    models = {
        name: family_class(config, name).from_pretrained(folder, dtype=torch.float32).eval()
        for name in ("ForSpeechToText", "ForTextToText")
    }
    return folder, weights, models


def _source(folder, dtype="float32", revision=None):
    return ModelSource(str(folder), revision, dtype, "cpu")


def _counterpart(models, module):
    """The same part of the whole model."""
    return {
        "speech_encoder": models["ForSpeechToText"].speech_encoder,
        "text_encoder": models["ForTextToText"].text_encoder,
        "decoder": models["ForTextToText"].text_decoder,
    }[module]


def _own(model, module):
    return model.text_decoder if module == "decoder" else model


def _tensors(module):
    """Parameters and buffers by name, those that no checkpoint holds included."""
    return dict(module.named_parameters()) | dict(module.named_buffers())


@pytest.mark.parametrize("size", ["tiny", "published"])
@pytest.mark.parametrize("model_type", FAMILIES)
def test_every_tensor_of_the_transformers_classes_is_known_by_name_and_shape(model_type, size):
    """The list that needs no torch is the state dict, the embedding counted once."""
    config = tiny_config(model_type, 300)
    if size == "published":
        config = type(config)()
    check_config(config)
    with torch.device("meta"):
        text, speech = (
            family_class(config, name)(config).state_dict()
            for name in ("ForTextToText", "ForSpeechToText")
        )
    expected = {
        name: tuple(tensor.shape)
        for name, tensor in (text | speech).items()
        if name not in EMBEDDING_NAMES[1:] and not name.endswith("num_batches_tracked")
    }
    known = {}
    for module in MODULES:
        known |= tensor_shapes(config, module)
    assert known == expected
    assert tensor_shapes(config.to_dict(), "decoder") == tensor_shapes(config, "decoder")


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("module", MODULES)
def test_a_part_equals_that_part_of_the_whole_model_bit_for_bit(whole, module, sharded, tmp_path):
    """From one file or from shards; positions and the like, which no file holds, included."""
    folder, weights, models = whole
    if sharded:
        folder = _copy(folder, tmp_path)
        write_weights(folder, weights, sharded=True)
    alone = _tensors(_own(LOADERS[module](_source(folder)), module))
    expected = _tensors(_counterpart(models, module))
    assert alone.keys() == expected.keys()
    for name, tensor in alone.items():
        assert tensor.device.type == "cpu"
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("name", EMBEDDING_NAMES)
def test_the_embedding_is_found_under_each_of_its_names(whole, name, tmp_path):
    """Decoder, head and text encoder share it, whichever name the file keeps."""
    folder, weights, _ = whole
    folder = _copy(folder, tmp_path)
    renamed = {name if key == EMBEDDING else key: value for key, value in weights.items()}
    write_weights(folder, renamed, sharded=False)
    decoder = load_decoder(_source(folder))
    assert torch.equal(decoder.text_decoder.embed_tokens.weight, weights[EMBEDDING])
    assert decoder.lm_head.weight.data_ptr() == decoder.text_decoder.embed_tokens.weight.data_ptr()
    encoder = load_text_encoder(_source(folder))
    assert torch.equal(encoder.embed_tokens.weight, weights[EMBEDDING])


@pytest.mark.parametrize("module", MODULES)
def test_a_part_reads_no_byte_of_the_others(whole, module, tmp_path):
    """All other tensors of the file are overwritten with NaN, and nothing changes."""
    folder, _, models = whole
    folder = _copy(folder, tmp_path)
    path = folder / "model.safetensors"
    needed = tensor_shapes(load_config(_source(folder)), module)
    with path.open("r+b") as file:
        for name, tensor in read_header(path).items():
            if name not in needed:
                file.seek(tensor.begin)
                file.write(b"\xff" * (tensor.end - tensor.begin))
    alone = _tensors(_own(LOADERS[module](_source(folder)), module))
    expected = _tensors(_counterpart(models, module))
    for name, tensor in alone.items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize(
    ("module", "needed"),
    [
        ("speech_encoder", {"speech_encoder"}),
        ("text_encoder", {"shared", "text_encoder"}),
        ("decoder", {"shared", "text_decoder"}),
    ],
)
def test_only_the_shards_of_the_part_are_fetched_from_the_hub(
    whole, module, needed, tmp_path, monkeypatch
):
    """By name and revision; the files come one by one through the hub's client."""
    from huggingface_hub.errors import EntryNotFoundError

    from steplens.errors import HubError

    folder, weights, _ = whole
    folder = _copy(folder, tmp_path)
    write_weights(folder, weights, sharded=True)
    fetched = set()

    def hub_file(repository, name, revision):
        assert (repository, revision) == ("facebook/a-model", "abc")
        if not (folder / name).is_file():
            raise HubError(f"no file {name}") from EntryNotFoundError(name)
        fetched.add(name)
        return folder / name

    monkeypatch.setattr(files, "hub_file", hub_file)
    LOADERS[module](_source("facebook/a-model", revision="abc"))
    shards = {name for name in fetched if name.endswith(".safetensors")}
    assert shards == {f"model-{part}.safetensors" for part in needed}


def test_a_name_at_a_commit_loads_through_the_hubs_client_and_again_offline(checkpoint, tmp_path):
    """A decoding job asks for its own shards, the configs and the tokenizer, and for nothing else."""
    folder = tmp_path / "published"
    write_checkpoint(folder, checkpoint, "seamless_m4t", sharded=True)
    commit = "0123456789abcdef0123456789abcdef01234567"
    code = (
        "from steplens.generation.decode import Decoder; from steplens.models.source import ModelSource; "
        f"Decoder(ModelSource('facebook/a-model', '{commit}', 'float32', 'cpu'), 2)"
    )
    command = [sys.executable, "-c", code]
    hub = Hub({("model", "facebook/a-model"): {commit: folder}})
    with running(hub):
        environment = hub.environment(tmp_path / "home")
        subprocess.run(command, cwd=ROOT / "workflow", env=environment, check=True)
        assert set(hub.files_asked()) == {
            "config.json",
            "generation_config.json",
            "model-shared.safetensors",
            "model-text_decoder.safetensors",
            "model.safetensors.index.json",
            "tokenizer.json",
            "tokenizer_config.json",
        }
    environment = hub.environment(tmp_path / "home", offline=True)
    subprocess.run(command, cwd=ROOT / "workflow", env=environment, check=True)


def test_a_float32_file_loads_as_float16_when_asked(whole):
    """Every weight is rounded once, the buffers of positions as well."""
    folder, weights, _ = whole
    model = load_speech_encoder(_source(folder, "float16"))
    for name, tensor in model.state_dict().items():
        expected = weights[f"speech_encoder.{name}"]
        if expected.is_floating_point():
            assert tensor.dtype == torch.float16
            assert torch.equal(tensor, expected.half()), name
    assert all(one.dtype == torch.float16 for one in model.buffers() if one.is_floating_point())


def test_a_tokenizer_comes_with_every_family(whole):
    """Language tag, pieces, end of sentence."""
    tokenizer = load_tokenizer(_source(whole[0]))
    tokenizer.src_lang = "deu"
    tokens = tokenizer("der koch").input_ids
    assert tokens[0] == tokenizer.convert_tokens_to_ids("__deu__")
    assert tokens[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(tokens, skip_special_tokens=True).strip() == "der koch"


def test_the_published_vocabulary_is_read_from_sentencepiece(whole, tmp_path):
    """The published folders have no tokenizer.json; piece n of the file has id n + 1."""
    pytest.importorskip("sentencepiece")
    from sentencepiece import sentencepiece_model_pb2 as proto

    folder = _copy(whole[0], tmp_path)
    (folder / "tokenizer.json").unlink()
    model = proto.ModelProto()
    pieces = ["<unk>", "<s>", "</s>", "▁de", "▁", "d", "e", "r", "▁der"]
    for number, piece in enumerate(pieces):
        model.pieces.add(
            piece=piece, score=-number, type=2 if number == 0 else 3 if number < 3 else 1
        )
    model.trainer_spec.model_type = 2
    (folder / "sentencepiece.bpe.model").write_bytes(model.SerializeToString())
    path = folder / "generation_config.json"
    content = json.loads(path.read_text())
    special = json.loads((folder / "tokenizer_config.json").read_text())
    tags = special.get("extra_special_tokens") or special["additional_special_tokens"]
    # The tags follow the pieces, as in the published vocabulary.
    content["text_decoder_lang_to_code_id"] = {
        tag.strip("_"): len(pieces) + 1 + number for number, tag in enumerate(tags)
    }
    path.write_text(json.dumps(content))
    tokenizer = load_tokenizer(_source(folder))
    assert tokenizer.convert_tokens_to_ids("▁der") == len(pieces)
    assert tokenizer.unk_token_id == 1


def test_a_sentencepiece_vocabulary_without_the_packages_is_refused(whole, tmp_path, monkeypatch):
    """The message says what to install."""
    folder = _copy(whole[0], tmp_path)
    (folder / "tokenizer.json").rename(folder / "sentencepiece.bpe.model")
    monkeypatch.setitem(__import__("sys").modules, "sentencepiece", None)
    with pytest.raises(CheckpointError, match="pip install sentencepiece protobuf"):
        load_tokenizer(_source(folder))


def test_weights_that_transformers_would_invent_are_refused(whole, tmp_path, monkeypatch):
    """A tensor that steplens does not ask for but the class needs is no random number."""
    from steplens.models.seamless import loading

    known = loading.tensor_shapes

    def without_one(config, module):
        shapes = known(config, module)
        del shapes["text_encoder.layers.1.ffn.fc1.weight"]
        return shapes

    monkeypatch.setattr(loading, "tensor_shapes", without_one)
    with pytest.raises(CheckpointError, match=r"layers\.1\.ffn\.fc1\.weight.*disagree"):
        load_text_encoder(_source(whole[0]))


def test_a_tokenizer_of_another_model_is_refused(whole, tmp_path):
    """Its language tags would be other words to the decoder."""
    folder = _copy(whole[0], tmp_path)
    path = folder / "generation_config.json"
    content = json.loads(path.read_text())
    content["text_decoder_lang_to_code_id"]["jpn"] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="language tag of jpn: expected token"):
        load_tokenizer(_source(folder))


@pytest.mark.parametrize("model_type", FAMILIES)
def test_parameters_of_the_component_table_are_those_of_the_weights(model_type):
    """Table 5 for either family, against a count over the tensors."""
    config = tiny_config(model_type, 300)
    table = component_table(config).set_index("component")["parameters"]
    weights = random_weights(config)
    for component, prefix in (
        ("speech_encoder", "speech_encoder."),
        ("text_encoder", "text_encoder."),
        ("decoder", "text_decoder."),
        ("shared_embedding", EMBEDDING),
    ):
        counted = sum(
            tensor.numel()
            for name, tensor in weights.items()
            if name.startswith(prefix) and "running" not in name and "num_batches" not in name
        )
        assert table[component] == counted, component


def test_a_pickled_checkpoint_is_converted_to_what_the_stages_read(whole, tmp_path):
    """The published files of the first family are pickles; the folder made from one is accepted."""
    from steplens.models.checkpoint import check_checkpoint

    folder, weights, models = whole
    folder = _copy(folder, tmp_path)
    (folder / "model.safetensors").unlink()
    tied = dict.fromkeys(EMBEDDING_NAMES, weights[EMBEDDING])
    torch.save(weights | tied, folder / "pytorch_model.bin")
    to_safetensors.main([str(folder), str(tmp_path / "converted")])
    check_checkpoint(str(tmp_path / "converted"), ["deu", "eng"])
    source = _source(tmp_path / "converted")
    for module in MODULES:
        alone = _own(LOADERS[module](source), module).state_dict()
        expected = _counterpart(models, module).state_dict()
        for name, tensor in alone.items():
            if not name.endswith("num_batches_tracked"):
                assert torch.equal(tensor, expected[name]), name


def test_a_pickle_that_would_run_code_is_not_converted(whole, tmp_path):
    """And leaves no weights behind."""
    folder = _copy(whole[0], tmp_path)
    torch.save({"shared.weight": os.getcwd}, folder / "pytorch_model.bin")
    with pytest.raises(pickle.UnpicklingError):
        to_safetensors.main([str(folder), str(tmp_path / "converted")])
    assert not (tmp_path / "converted" / "model.safetensors").exists()


def _copy(folder, target) -> Path:
    copy = target / "checkpoint"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
        os.chmod(copy / path.name, 0o644)
    return copy
