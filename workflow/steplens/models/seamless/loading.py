"""Loads the parts of a SeamlessM4T checkpoint that a stage needs, and no others.

Of either family (``family.py``). The transformers classes build themselves without allocating weights
and read, one by one, the tensors that they are given: those of the part, from the files that hold them.
Weights are float16 on a GPU and float32 on a CPU unless the config says otherwise. Attention is always
``sdpa``: with ``eager`` the second family's speech encoder in transformers 5 does not mask its padding.
"""

import copy
import importlib
from contextlib import ExitStack
from typing import TYPE_CHECKING

from safetensors import safe_open

from steplens.jobs.lean_imports import lean_transformers

with lean_transformers():
    from transformers.generation.configuration_utils import GenerationConfig
    from transformers.modeling_outputs import BaseModelOutput

from steplens.errors import CheckpointError, shown
from steplens.models.files import ModelFiles
from steplens.models.seamless.family import family_of
from steplens.models.seamless.padding import isolate_padding
from steplens.models.seamless.tensors import EMBEDDING, check_config, tensor_shapes
from steplens.models.source import ModelSource
from steplens.models.tokenizer_files import check_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

__all__ = [
    "ATTENTION",
    "BaseModelOutput",
    "family_class",
    "files_of",
    "language_tags",
    "load_config",
    "load_decoder",
    "load_speech_encoder",
    "load_text_encoder",
    "load_tokenizer",
]

ATTENTION = "sdpa"
# What a checkpoint may lack: a count that only training reads, and the norm behind the text encoder's
# layers, which a decoder on its own does not have.
_NOT_READ = (
    "num_batches_tracked",
    "text_encoder.layer_norm.weight",
    "text_encoder.layer_norm.bias",
)


def files_of(source: ModelSource) -> ModelFiles:
    """The files of a checkpoint."""
    return ModelFiles(source.path, source.revision)


def family_class(config: "PreTrainedConfig | dict", name: str) -> type:
    """A transformers class of the config's family, for example ``SeamlessM4Tv2Decoder`` as ``"Decoder"``."""
    family = family_of(config)
    kind = "configuration" if name == "Config" else "modeling"
    module = f"transformers.models.{family.model_type}.{kind}_{family.model_type}"
    with lean_transformers():
        return getattr(importlib.import_module(module), f"{family.classes}{name}")


def load_config(source: ModelSource) -> "PreTrainedConfig":
    """The model's config alone.

    Raises
    ------
    CheckpointError
        No config.json, or that of a model that is not supported.
    """
    files = files_of(source)
    content = files.json("config.json")
    try:
        config = family_class(content, "Config").from_dict(content)
        check_config(config)
    except ValueError as error:
        raise CheckpointError(f"{files}: {error}") from error
    config._attn_implementation = ATTENTION
    return config


def _load(source: ModelSource, class_name: str, module: str, prefix: str, **sizes: int):
    """One transformers class with the tensors of one module, whose names begin with ``prefix``."""
    config = load_config(source)
    located = files_of(source).locate(tensor_shapes(config, module))
    own = copy.deepcopy(config)
    for key, value in sizes.items():
        setattr(own, key, value)
    with ExitStack() as stack:
        opened = {
            path: stack.enter_context(safe_open(path, framework="pt", device="cpu"))
            for path in {path for path, _ in located.values()}
        }
        model, report = family_class(config, class_name).from_pretrained(
            None,
            config=own,
            # Slices are views until transformers reads them: no tensor is in memory twice.
            state_dict={
                _own_name(wanted, prefix): opened[path].get_slice(name)
                for wanted, (path, name) in located.items()
            },
            dtype=source.torch_dtype,
            attn_implementation=ATTENTION,
            output_loading_info=True,
        )
    _require_complete(model, report, files_of(source))
    return model.to(source.torch_device).eval()


def _own_name(name: str, prefix: str) -> str:
    if name == EMBEDDING and prefix:
        return "embed_tokens.weight"
    return name.removeprefix(prefix)


def _require_complete(model: "PreTrainedModel", report: dict, files: ModelFiles) -> None:
    # transformers fills what it was not given with random numbers and goes on.
    wrong = {name for name in report["missing_keys"] if not name.endswith(_NOT_READ)}
    for kind in ("unexpected_keys", "mismatched_keys", "error_msgs"):
        wrong |= {str(one) for one in report.get(kind, ())}
    if wrong:
        raise CheckpointError(
            f"{files}: {type(model).__name__} could not be filled from the checkpoint: "
            f"{', '.join(sorted(wrong)[:5])}; steplens and transformers disagree about its tensors"
        )


def load_speech_encoder(source: ModelSource) -> "PreTrainedModel":
    """The speech encoder with its adapter, kept from reading padding (``padding.py``)."""
    encoder = _load(source, "SpeechEncoder", "speech_encoder", "speech_encoder.")
    isolate_padding(encoder)
    return encoder


def load_text_encoder(source: ModelSource) -> "PreTrainedModel":
    """The text encoder with the shared embedding."""
    return _load(source, "Encoder", "text_encoder", "text_encoder.")


def load_decoder(source: ModelSource) -> "PreTrainedModel":
    """Decoder, embedding and head, as a generating model whose text encoder has no layers.

    Both modalities are decoded by it, from stored encoder states: ``generate(encoder_outputs=…)``.
    """
    model = _load(source, "ForTextToText", "decoder", "", encoder_layers=0)
    generation = files_of(source).json("generation_config.json")
    # Every generation copies its config, and the published one has ten megabytes of vocabularies.
    model.generation_config = GenerationConfig.from_dict(
        {key: value for key, value in generation.items() if not isinstance(value, dict)}
    )
    return model


def language_tags(source: ModelSource) -> dict[str, int]:
    """Token id of every language tag that the decoder may start with, by language code."""
    return files_of(source).language_tags()


def load_tokenizer(source: ModelSource):
    """The model's tokenizer.

    Raises
    ------
    CheckpointError
        A file of it is missing, the published vocabulary cannot be read without a package, or its
        language tags are not those of the decoder.
    """
    files = files_of(source)
    vocabulary = files.tokenizer()
    check_tokenizer(files)  # and with it, of a name on the hub: all its files into the same folder
    if vocabulary.suffix == ".model":
        for package in ("sentencepiece", "google.protobuf"):
            try:
                importlib.import_module(package)
            except ImportError as error:
                raise CheckpointError(
                    f"{vocabulary}: reading it takes the packages sentencepiece and protobuf; install "
                    "them: pip install sentencepiece protobuf"
                ) from error
    with lean_transformers():
        from transformers.models.seamless_m4t.tokenization_seamless_m4t import SeamlessM4TTokenizer

    try:
        tokenizer = SeamlessM4TTokenizer.from_pretrained(vocabulary.parent)
    except Exception as error:  # transformers raises whatever it meets in a file
        raise CheckpointError(
            f"{vocabulary}: expected a tokenizer, but transformers cannot load it "
            f"({type(error).__name__}: {shown(str(error), quoted=False)}); copy or fetch its files again"
        ) from error
    for language, token in files.language_tags().items():
        own = tokenizer.convert_tokens_to_ids(f"__{language}__")
        if own not in (None, tokenizer.unk_token_id, token):
            raise CheckpointError(
                f"{files}: language tag of {language}: expected token {token} as in "
                f"generation_config.json, got {own} in the tokenizer; they are of different models"
            )
    return tokenizer
