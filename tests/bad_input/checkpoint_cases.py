"""Checkpoints: parts missing, cut off or of another model. Refused at the start where files tell."""

import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tiny_checkpoints import write_weights

from bad_input.case import Case, World
from steplens.errors import CheckpointError, ConfigError, HubError
from steplens.files.hub import hub_file
from steplens.models.checkpoint import (
    check_checkpoint,
    check_vocabulary,
    checkpoint_digest,
    require_unchanged,
    search_notes,
)
from steplens.models.seamless.loading import load_decoder, load_tokenizer
from steplens.models.source import ModelSource
from steplens.planning.model import published_model
from steplens.planning.start_checks import require_neurons
from steplens.recording.encode import TextInput

LANGUAGES = ["deu", "jpn", "eng"]
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
FC1 = "text_decoder.layers.0.ffn.fc1.weight"


def folder_with(*changes):
    """Prepares a copy of the checkpoint and makes these changes; gives its path."""

    def prepare(world: World) -> str:
        folder = Path(shutil.copytree(world.checkpoint, world.folder / "model"))
        for change in changes:
            change(folder)
        return str(folder)

    return prepare


def without(name: str):
    return lambda folder: (folder / name).unlink()


def content(name: str, data: bytes):
    return lambda folder: (folder / name).write_bytes(data)


def key(name: str, **values):
    """Sets keys of a JSON file; None takes one out."""

    def change(folder: Path) -> None:
        found = json.loads((folder / name).read_text()) | values
        (folder / name).write_text(json.dumps({k: v for k, v in found.items() if v is not None}))

    return change


def tensors(**values):
    """Replaces tensors; None takes one out. Points in names are written as two underscores."""

    def change(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        for name, make in values.items():
            name = name.replace("__", ".")
            found = make and make(weights.pop(name))
            weights = {k: v for k, v in weights.items() if k != name}
            if found is not None:
                weights[name] = found
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})

    return change


def sharded(folder: Path) -> None:
    write_weights(folder, load_file(folder / WEIGHTS), sharded=True)


def wrong_index(folder: Path) -> None:
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"][FC1] = "model-text_encoder.safetensors"
    (folder / INDEX).write_text(json.dumps(index))


def cut_off(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:-1])


def pickled(folder: Path) -> None:
    torch.save({"x": torch.ones(1)}, folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def quantised(folder: Path) -> None:
    tensors(**{FC1.replace(".", "__"): lambda one: one.to(torch.int8)})(folder)


def climbing_index(folder: Path) -> None:
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"][FC1] = "../../other.safetensors"
    (folder / INDEX).write_text(json.dumps(index))


def pipe(name: str):
    """A named pipe in place of a file: who opens it waits for a writer."""

    def change(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


def in_its_header(old: bytes, new: bytes):
    """Another header of the same length."""

    def change(folder: Path) -> None:
        data = (folder / WEIGHTS).read_bytes()
        n_header = 8 + int.from_bytes(data[:8], "little")
        header = data[:n_header].replace(old, new, 1)
        assert header != data[:n_header]
        assert len(header) == n_header
        (folder / WEIGHTS).write_bytes(header + data[n_header:])

    return change


def lengthened(folder: Path) -> None:
    with (folder / WEIGHTS).open("ab") as file:
        file.write(b"12345")


def other_tags(folder: Path) -> None:
    name = "generation_config.json"
    tags = json.loads((folder / name).read_text())["text_decoder_lang_to_code_id"]
    key(name, text_decoder_lang_to_code_id=tags | {"deu": tags["deu"] + 1})(folder)


def at_start(path: str) -> None:
    check_checkpoint(path, LANGUAGES)


def refused(name: str, changes: tuple, what, expected, got, do, where="{folder}/model"):
    return Case(f"checkpoint: {name}", folder_with(*changes), at_start, ConfigError,
                ("model.path", what), where, expected, got, do)  # fmt: skip


def vocabulary(name: str, changes: tuple, what, expected, got, do):
    """Refused once a run, not whenever rules are read."""
    return Case(f"checkpoint: {name}", folder_with(*changes), check_vocabulary, ConfigError,
                ("model.path", what), "{folder}/model", expected, got, do)  # fmt: skip


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def changed_since(world: World):
    """A model that was trained on after the run began: the same names, shapes and sizes."""
    path = folder_with()(world)
    digest = checkpoint_digest(path)
    tensors(text_decoder__layer_norm__weight=lambda one: one + 1)(Path(path))
    return path, digest


def gone_since(world: World):
    path = folder_with()(world)
    digest = checkpoint_digest(path)
    shutil.rmtree(path)
    return path, digest


def offline(world: World):
    from huggingface_hub import constants

    world.patch.setattr(constants, "HF_HUB_OFFLINE", True)
    world.patch.setattr(constants, "HF_HUB_CACHE", str(world.folder / "hub"))
    return "facebook/some-model"


def too_many(**settings):
    """Asks for more neurons than the published model's decoder has."""

    def prepare(world: World):
        from steplens.config.run import parse_config

        config = parse_config(settings | {"model": {"path": "x/y", "revision": "0" * 40}})
        return config, published_model("seamless-m4t-v2-large")

    return prepare


def neurons(*rules):
    return lambda given: require_neurons(*given, rules)


SOURCE = "copy it from where the checkpoint was published"


def reading(text: str):
    """Text as ``encode`` takes it."""

    def read(checkpoint: Path) -> None:
        TextInput([text], load_tokenizer(ModelSource(str(checkpoint), None, "auto", "cpu")), "deu")

    return read


CASES = [
    Case("checkpoint: no folder", lambda world: str(world.folder / "modle"), at_start, ConfigError,
         "model.path", "{folder}/modle", "expected a checkpoint folder", "got", "there is no such folder"),
    refused("no config.json", (without("config.json"),), "config.json", "expected a file config.json",
            "found none", SOURCE),
    refused("no tokenizer", (without("tokenizer.json"),), "tokenizer", "expected the tokenizer's vocabulary",
            "found neither", SOURCE),
    refused("the config.json of another model", (key("config.json", model_type="whisper"),),
            "model config: model_type", "expected seamless_m4t or seamless_m4t_v2", "got 'whisper'", "model"),
    refused("a config.json of another size", (key("config.json", decoder_ffn_dim=44),), FC1,
            "expected shape (44, 32)", "got (48, 32)", "config and weights are of different models"),
    refused("a broken config.json", (content("config.json", b'{"model_type":'),), "config.json",
            "expected JSON", "line 1 column", "copy or fetch the file again"),
    refused("no weights", (without(WEIGHTS),), "weights", "expected weights in model.safetensors",
            "found neither", "or in shards that"),
    refused("pickled weights only", (pickled,), "weights", "expected weights in safetensors",
            "found only the pickled pytorch_model.bin", "convert it once: python tools/to_safetensors.py"),
    refused("weights cut off", (cut_off,), "model.safetensors", "cut off: expected", "bytes, got",
            "copy or fetch the file again"),
    refused("no safetensors file", (content(WEIGHTS, b"PK\x03\x04" * 1000),), "model.safetensors",
            "expected a safetensors file", "got 4000 bytes of another", "copy or fetch the file again"),
    refused("a missing tensor", (tensors(text_decoder__layer_norm__weight=None),), "1 tensors",
            "that config.json asks for are missing", "text_decoder.layer_norm.weight",
            "expected a whole SeamlessM4T checkpoint"),
    refused("whole numbers for weights", (quantised,), FC1,
            "expected one of F64, F32, F16, BF16", "got I8", "quantised checkpoints are not supported"),
    refused("a missing shard", (sharded, without("model-text_decoder.safetensors")),
            "model-text_decoder.safetensors", "expected the shard", "found none", SOURCE),
    refused("an index of another checkpoint", (sharded, wrong_index), FC1, "expected a tensor",
            "found none", "the index and the shards are of different checkpoints",
            "model-text_encoder.safetensors"),
    refused("an index that points outside", (sharded, climbing_index), FC1,
            "expected the name of a safetensors file in this folder", "got '../../other.safetensors'",
            "copy or fetch it again", INDEX),
    refused("no language tags", (key("generation_config.json", text_decoder_lang_to_code_id=None),),
            "text_decoder_lang_to_code_id", "expected the token of every language", "got None",
            "a whole SeamlessM4T?", "generation_config.json"),
    refused("suppressed tokens", (key("generation_config.json", suppress_tokens=[5]),), "suppress_tokens",
            "expected none", "got [5]", "remove the key", "generation_config.json"),
    refused("another end of sentence", (key("generation_config.json", eos_token_id=2),), "eos_token_id",
            "expected 3 as in config.json", "got 2", "copy both from one", "generation_config.json"),
    refused("weights with something behind them", (lengthened,), WEIGHTS, "bytes by its header", "5 more",
            "copy or fetch the file again"),
    refused("a tensor of no known type", (in_its_header(b'"dtype":"F', b'"dtype":"G'),), WEIGHTS,
            "dtype: expected a known one", "got 'G", "copy or fetch the file again"),
    refused("a hole between tensors", (in_its_header(b'"data_offsets":[0,', b'"data_offsets":[8,'),), WEIGHTS,
            "expected", "its header cannot be read", "copy or fetch the file again"),
    refused("weights as a pointer", (content(WEIGHTS, POINTER),), WEIGHTS, "expected a safetensors file",
            "a pointer of git-lfs", "git lfs pull"),
    refused("a config.json without an end", (content("config.json", b'{"a":' * 100_000),), "config.json",
            "expected JSON of at most 50 levels", "got more", "copy or fetch the file again"),
    refused("layers without number", (key("config.json", decoder_layers=10**12),),
            "model config: decoder_layers", "expected a whole number up to 1000", "got 1000000000000",
            "is this the config.json of a SeamlessM4T"),
    refused("a pipe for weights", (pipe(WEIGHTS),), WEIGHTS, "expected a file", "got a named pipe",
            "put the file itself there"),
    refused("a pipe for a vocabulary", (pipe("tokenizer.json"),), "tokenizer.json", "expected a file",
            "got a named pipe", "put the file itself there"),
    refused("an empty vocabulary", (content("tokenizer.json", b""),), "tokenizer.json",
            "expected a file of the tokenizer", "got an empty file", "fetch it again"),
    refused("the tokenizer's config as a pointer", (content("tokenizer_config.json", POINTER),),
            "tokenizer_config.json", "expected a file of the tokenizer", "got a pointer of git-lfs",
            "git lfs pull"),
    vocabulary("a vocabulary of junk", (content("tokenizer.json", b"junk"),), "tokenizer.json",
               "expected JSON", "line 1 column 1", "copy or fetch the file again"),
    vocabulary("a vocabulary that no library reads", (key("tokenizer.json", decoder={"type": "none"}),),
               "tokenizer.json", "expected the tokenizer's vocabulary", "it cannot be read",
               "copy or fetch the file again"),
    vocabulary("the vocabulary of a larger model", (key("config.json", vocab_size=100),), "tokenizer.json",
               "expected tokens below vocab_size = 100", "got up to", "they are of different models"),
    Case("checkpoint: a language that the model does not have", folder_with(),
         lambda path: check_checkpoint(path, [*LANGUAGES, "swh"]), ConfigError, "languages",
         "{folder}/model", "expected all languages of the run", "no language tag for swh", "leave those out"),
    Case("checkpoint: beams are asked for", folder_with(key("generation_config.json", num_beams=5)),
         lambda path: " ".join(search_notes(path)), None, "model.path", "generation_config.json",
         "expected greedy decoding", "got num_beams = 5", "remove the key"),
    Case("checkpoint: sampling is asked for", folder_with(key("generation_config.json", do_sample=True)),
         lambda path: " ".join(search_notes(path)), None, "model.path", "generation_config.json",
         "expected greedy decoding", "got do_sample = True", "remove the key"),
    Case("checkpoint: the tokenizer of another model", folder_with(other_tags),
         lambda path: load_tokenizer(ModelSource(path)), CheckpointError, "language tag of deu",
         "{folder}/model", "expected token", "got", "they are of different models"),
    Case("checkpoint: a stage finds it broken", folder_with(cut_off),
         lambda path: load_decoder(ModelSource(path, None, "float32", "cpu")), CheckpointError,
         "cut off", "{folder}/model/model.safetensors", "expected", "got", "copy or fetch the file again"),
    Case("checkpoint: trained on since the run began", changed_since,
         lambda given: require_unchanged(*given), CheckpointError, "model folder", "{folder}/model",
         "expected the files that the run began with", "got others", "start the workflow again"),
    Case("checkpoint: gone since the run began", gone_since, lambda given: require_unchanged(*given),
         CheckpointError, "model folder", "{folder}/model", "expected the files that the run began with",
         "no such folder", "start the workflow again"),
    Case("checkpoint: the hub is offline", offline, lambda name: hub_file(name, "config.json", "0" * 40),
         HubError, "model facebook/some-model", "revision 0000", "expected config.json",
         "HF_HUB_OFFLINE is set and it is not in the cache", "run `snakemake fetch`", ("hub", "hub/*")),
    Case("k above the neurons", too_many(comparison={"k": 600_000}), neurons("compare_step"), ConfigError,
         "comparison.k:", "the decoder of x/y", "expected at most 491520", "got 600000", "ask for fewer"),
    Case("k of the sweep above the neurons", too_many(comparison={"k_sweep": [5, 500_000]}),
         neurons("compare_step"), ConfigError, "comparison.k_sweep", "the decoder of x/y",
         "expected at most 491520", "got 500000", "ask for fewer"),
    Case("steered k above half the neurons", too_many(steering={"k": 300_000}), neurons("steer"),
         ConfigError, "steering.k", "the decoder of x/y", "expected at most 245760", "got 300000",
         "ask for fewer"),
    Case("text of characters that the vocabulary lacks", lambda world: world.checkpoint, reading("帚 und 帚"),
         None, "text of deu", "in 1 of 1 sentences", "expected characters of the model's vocabulary",
         ("got others: 2 of", "'帚' 2 times"), "write them otherwise"),
]  # fmt: skip
