"""A checkpoint that no job could load is refused before any job starts, and the message says why."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT
from tiny_checkpoints import FAMILIES, tiny_config, write_checkpoint, write_weights

from steplens.errors import CheckpointError, ConfigError
from steplens.models.checkpoint import check_checkpoint
from steplens.models.files import ModelFiles, read_header
from steplens.models.neurons import MODULES
from steplens.models.seamless.tensors import tensor_shapes
from steplens.models.source import ModelSource

LANGUAGES = ["deu", "jpn", "eng"]


@pytest.fixture(scope="module", params=FAMILIES)
def whole(request, tmp_path_factory, checkpoint):
    """A good checkpoint in one file, and its weights."""
    folder = tmp_path_factory.mktemp(request.param)
    return folder, write_checkpoint(folder, checkpoint, request.param)


@pytest.fixture
def single(whole, tmp_path):
    """A copy to break."""
    return Path(shutil.copytree(whole[0], tmp_path / "checkpoint"))


@pytest.fixture
def sharded(whole, single):
    """The same in shards."""
    write_weights(single, whole[1], sharded=True)
    return single


def _refusal(folder) -> str:
    with pytest.raises(ConfigError) as error:
        check_checkpoint(str(folder), LANGUAGES)
    message = str(error.value)
    assert str(folder) in message  # what is wrong is always said to be where
    return message


def _edit(path: Path, **changes) -> None:
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def test_whole_checkpoints_are_accepted(single):
    """In one file."""
    check_checkpoint(str(single), LANGUAGES)


def test_sharded_checkpoints_are_accepted(sharded):
    """With an index."""
    check_checkpoint(str(sharded), LANGUAGES)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json"])
def test_every_missing_file_is_named(single, name):
    """Unplugged one by one."""
    (single / name).unlink()
    assert f"expected a file {name}, found none" in _refusal(single)


def test_a_missing_vocabulary_is_named(single):
    """Either form will do."""
    (single / "tokenizer.json").unlink()
    assert "tokenizer.json or sentencepiece.bpe.model, found neither" in _refusal(single)
    (single / "sentencepiece.bpe.model").write_bytes(b"not looked at any further here")
    check_checkpoint(str(single), LANGUAGES)


def test_missing_weights_are_named(single):
    """One file or an index with shards."""
    (single / "model.safetensors").unlink()
    message = _refusal(single)
    assert "model.safetensors, or in shards that model.safetensors.index.json names" in message


@pytest.mark.parametrize(
    "name", [f"model-{part}.safetensors" for part in ("shared", "speech_encoder", "text_decoder")]
)
def test_every_missing_shard_is_named(sharded, name):
    """The index says which there must be."""
    (sharded / name).unlink()
    message = _refusal(sharded)
    assert f"expected the shard {name}, which model.safetensors.index.json names" in message


def test_a_shard_that_no_stage_reads_may_be_missing(sharded):
    """Vocoder and text-to-unit model need not be copied."""
    (sharded / "model-others.safetensors").unlink()
    check_checkpoint(str(sharded), LANGUAGES)


def test_shards_without_their_index_are_refused(sharded):
    """The message names the index."""
    (sharded / "model.safetensors.index.json").unlink()
    assert "model.safetensors.index.json" in _refusal(sharded)


@pytest.mark.parametrize(
    "content", ['{"weight_map": {}}', '{"metadata": {}}', "[]", '{"weight_map":']
)
def test_an_index_without_a_map_is_refused(sharded, content):
    """Empty, of another kind, or cut off."""
    (sharded / "model.safetensors.index.json").write_text(content)
    assert "model.safetensors.index.json: expected" in _refusal(sharded)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model.bin.index.json"])
def test_pickled_weights_alone_are_refused(single, name):
    """Unpickling can run code; the message names the converter."""
    (single / "model.safetensors").unlink()
    (single / name).write_bytes(b"\x80\x02")
    message = _refusal(single)
    assert f"found only the pickled {name}" in message
    assert "tools/to_safetensors.py" in message


@pytest.mark.parametrize("keep", [0, 5, 1000, -1])
def test_a_file_that_was_cut_off_is_refused(single, keep):
    """In its first bytes, in its header, or one byte before its end."""
    path = single / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:keep])
    message = _refusal(single)
    assert ("cut off" in message) == (keep in (1000, -1))
    assert "expected" in message


def test_a_file_of_another_kind_is_refused(single):
    """A zip by the name of safetensors."""
    (single / "model.safetensors").write_bytes(b"PK\x03\x04" * 1000)
    assert "expected a safetensors file" in _refusal(single)
    (single / "model.safetensors").write_bytes((9).to_bytes(8, "little") + b"not JSON!")
    assert "its header cannot be read" in _refusal(single)


@pytest.mark.parametrize(
    "name",
    [
        "shared.weight",
        "speech_encoder.encoder.layers.1.conv_module.glu.weight",
        "speech_encoder.adapter.layers.0.residual_conv.weight",
        "text_encoder.layers.0.ffn.fc1.bias",
        "text_decoder.layers.1.cross_attention.k_proj.weight",
        "text_decoder.layer_norm.weight",
    ],
)
def test_every_missing_tensor_is_named(whole, single, name):
    """By its published name; what is no tensor of the model is not missed."""
    weights = {key: value for key, value in whole[1].items() if key != name}
    write_weights(single, weights, sharded=False)
    if "glu" in name:
        check_checkpoint(str(single), LANGUAGES)
    else:
        message = _refusal(single)
        assert f"1 tensors that config.json asks for are missing: {name};" in message


def test_a_tensor_that_the_index_places_wrongly_is_named(sharded):
    """Index and shards of different checkpoints."""
    path = sharded / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["text_decoder.layer_norm.weight"] = "model-text_encoder.safetensors"
    path.write_text(json.dumps(index))
    message = _refusal(sharded)
    assert "expected a tensor text_decoder.layer_norm.weight" in message


def test_an_index_of_very_many_tensors_is_checked_in_linear_time(sharded):
    """Three hundred thousand, each in a file of its own, which no stage reads.

    It takes a second of processor time; in quadratic time it would take hours.
    """
    path = sharded / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"] |= {
        f"more.{number}": f"more-{number}.safetensors" for number in range(300_000)
    }
    path.write_text(json.dumps(index))
    start = time.process_time()
    check_checkpoint(str(sharded), LANGUAGES)
    assert time.process_time() - start < 20
    index["weight_map"]["more.299999"] = {"file": "x" * 10_000}
    path.write_text(json.dumps(index))
    assert len(_refusal(sharded).replace(str(path), "")) < 400


def test_a_tensor_of_another_shape_is_named(single):
    """A config of another size."""
    _edit(single / "config.json", decoder_ffn_dim=44)
    message = _refusal(single)
    assert "text_decoder.layers.0.ffn.fc1.weight: expected shape (44, 32)" in message
    assert "got (40, 32)" in message


def test_quantised_tensors_are_refused(whole, single):
    """Whole numbers are no weights."""
    import torch

    name = "text_decoder.layers.0.ffn.fc1.weight"
    write_weights(single, whole[1] | {name: whole[1][name].to(torch.int8)}, sharded=False)
    assert f"{name}: expected one of F64, F32, F16, BF16, got I8" in _refusal(single)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "whisper"}, "expected seamless_m4t or seamless_m4t_v2, got 'whisper'"),
        ({"model_type": None}, "expected a key 'model_type'"),
        ({"hidden_size": None}, "hidden_size: expected a whole number, got None"),
        ({"num_adapter_layers": 2}, "num_adapter_layers: expected 1"),
        ({"add_adapter": False}, "add_adapter: expected True"),
        ({"position_embeddings_type": "rotary"}, "position_embeddings_type: expected 'relative"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings: expected True"),
        ({"decoder_layers": 3}, "26 tensors that config.json asks for are missing: text_decoder"),
    ],
)
def test_a_model_of_another_kind_is_refused(single, changes, message):
    """What is supported is said."""
    _edit(single / "config.json", **changes)
    assert message in _refusal(single)


def test_a_missing_language_tag_is_named(single):
    """With the tags that there are."""
    with pytest.raises(ConfigError, match=r"no language tag for swh; it has cmn, deu, eng"):
        check_checkpoint(str(single), [*LANGUAGES, "swh"])
    _edit(single / "generation_config.json", text_decoder_lang_to_code_id=None)
    assert "text_decoder_lang_to_code_id: expected" in _refusal(single)


def test_a_stage_refuses_what_the_check_refuses(single):
    """A name on the hub is first seen by the stage: the same words."""
    from steplens.models.seamless.loading import load_config, load_decoder

    source = ModelSource(str(single), None, "float32", "cpu")
    _edit(single / "config.json", model_type="whisper")
    with pytest.raises(CheckpointError, match="got 'whisper'"):
        load_config(source)
    (single / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"expected a file config\.json"):
        load_decoder(source)


@pytest.mark.parametrize("path", ["no/such/folder", "./owner", "/nowhere/at/all"])
def test_a_path_that_is_no_folder_and_no_name_is_refused(path):
    """A name on the hub has one slash."""
    with pytest.raises(ConfigError, match="there is no such folder"):
        check_checkpoint(path, LANGUAGES)


def test_a_name_on_the_hub_waits_for_the_stage():
    """Nothing is fetched to start."""
    check_checkpoint("facebook/seamless-m4t-v2-large", LANGUAGES)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_the_check_of_a_published_size_takes_a_fraction_of_a_second(
    tmp_path, checkpoint, model_type
):
    """Nine gigabytes, sparse on the disk; ten megabytes of generation config as published.

    It takes 0.2 s of processor time; the limit leaves room for a busy machine.
    """
    write_checkpoint(tmp_path, checkpoint, model_type)
    (tmp_path / "model.safetensors").unlink()
    config = tiny_config(model_type, 300)
    config = type(config)()
    config.save_pretrained(tmp_path)
    vocabulary = {str(number): f"piece {number:020}" for number in range(250_000)}
    _edit(tmp_path / "generation_config.json", id_to_text=vocabulary)
    _sparse_weights(tmp_path, config)
    start = time.process_time()
    check_checkpoint(str(tmp_path), LANGUAGES)
    assert time.process_time() - start < 1.0


def _sparse_weights(folder: Path, config) -> None:
    """Both shards as far as their headers go; what they would hold is a hole in the file."""
    weight_map = {}
    shards = (("text_encoder", "decoder"), ("speech_encoder",))
    for number, modules in enumerate(shards, start=1):
        name = f"model-{number:05}-of-00002.safetensors"
        header, end = {}, 0
        for module in modules:
            for key, shape in tensor_shapes(config, module).items():
                if key in header:
                    continue
                size = 4
                for length in shape:
                    size *= length
                header[key] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
                end += size
        content = json.dumps(header).encode()
        with (folder / name).open("wb") as file:
            file.write(len(content).to_bytes(8, "little") + content)
            file.truncate(8 + len(content) + end)
        assert len(read_header(folder / name)) == len(header)
        weight_map |= dict.fromkeys(header, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_the_check_does_without_torch(single):
    """It runs whenever Snakemake reads the workflow."""
    code = (
        "import sys; from steplens.models.checkpoint import check_checkpoint; "
        f"check_checkpoint({str(single)!r}, {LANGUAGES!r}); "
        "assert not {'torch', 'transformers', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT / "workflow", check=True)


def test_a_shard_is_looked_for_only_when_it_holds_a_wanted_tensor(sharded):
    """The decoder alone does without the encoders' files."""
    for part in ("speech_encoder", "text_encoder"):
        (sharded / f"model-{part}.safetensors").unlink()
    config = json.loads((sharded / "config.json").read_text())
    located = ModelFiles(str(sharded)).locate(tensor_shapes(config, "decoder"))
    assert {path.name for path, _ in located.values()} == {
        "model-shared.safetensors",
        "model-text_decoder.safetensors",
    }
    assert set(MODULES) == {"speech_encoder", "text_encoder", "decoder"}
