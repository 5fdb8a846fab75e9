"""Loads the parts of a SeamlessM4T v2 checkpoint that a stage needs, and no others.

A checkpoint folder is loaded by the transformers classes themselves. Weights are float16 on a GPU
and float32 on a CPU unless the config says otherwise. Attention is always ``sdpa``: with ``eager``
the speech encoder of transformers 5 does not mask its padding.
"""

import json
import os
from pathlib import Path

from .lean_imports import lean_transformers

with lean_transformers():
    from transformers.modeling_outputs import BaseModelOutput
    from transformers.models.seamless_m4t_v2.configuration_seamless_m4t_v2 import (
        SeamlessM4Tv2Config,
    )
    from transformers.models.seamless_m4t_v2.modeling_seamless_m4t_v2 import (
        SeamlessM4Tv2Decoder,
        SeamlessM4Tv2Encoder,
        SeamlessM4Tv2ForTextToText,
        SeamlessM4Tv2SpeechEncoder,
    )

from .model_source import ModelSource
from .padding import isolate_padding

__all__ = [
    "ATTENTION",
    "BaseModelOutput",
    "SeamlessM4Tv2Decoder",
    "language_tags",
    "load_config",
    "load_decoder",
    "load_speech_encoder",
    "load_text_encoder",
    "load_tokenizer",
]

ATTENTION = "sdpa"


def load_config(source: ModelSource) -> SeamlessM4Tv2Config:
    """The model's config alone."""
    config = SeamlessM4Tv2Config.from_pretrained(source.path, revision=source.revision)
    config._attn_implementation = ATTENTION
    return config


def _load(model_class, source: ModelSource, **options):
    model = model_class.from_pretrained(
        source.path,
        revision=source.revision,
        dtype=source.torch_dtype,
        attn_implementation=ATTENTION,
        use_safetensors=True,
        **options,
    )
    return model.to(source.torch_device).eval()


def load_speech_encoder(source: ModelSource) -> SeamlessM4Tv2SpeechEncoder:
    """The speech encoder with its adapter, kept from reading padding (``padding.py``)."""
    encoder = _load(SeamlessM4Tv2SpeechEncoder, source, key_mapping={r"^speech_encoder\.": ""})
    isolate_padding(encoder)
    return encoder


def load_text_encoder(source: ModelSource) -> SeamlessM4Tv2Encoder:
    """The text encoder with the shared embedding."""
    return _load(
        SeamlessM4Tv2Encoder,
        source,
        key_mapping={r"^text_encoder\.": "", r"^shared\.": "embed_tokens."},
    )


def load_decoder(source: ModelSource) -> SeamlessM4Tv2ForTextToText:
    """Decoder, embedding and head, as a generating model whose text encoder has no layers.

    Both modalities are decoded by it, from stored encoder states: ``generate(encoder_outputs=…)``.
    """
    return _load(SeamlessM4Tv2ForTextToText, source, encoder_layers=0)


def language_tags(source: ModelSource) -> dict[str, int]:
    """Token id of every language tag that the decoder may start with, by language code."""
    path = _file(source, "generation_config.json")
    tags = json.loads(path.read_text()).get("text_decoder_lang_to_code_id")
    if not tags:
        raise ValueError(f"{path}: expected the key text_decoder_lang_to_code_id, found none")
    return tags


def _file(source: ModelSource, name: str) -> Path:
    if os.path.isdir(source.path):
        path = Path(source.path) / name
        if not path.is_file():
            raise FileNotFoundError(f"model folder {source.path}: expected a file {name}")
        return path
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(source.path, name, revision=source.revision))


def load_tokenizer(source: ModelSource):
    """The model's tokenizer."""
    with lean_transformers():
        from transformers.models.seamless_m4t.tokenization_seamless_m4t import SeamlessM4TTokenizer

    return SeamlessM4TTokenizer.from_pretrained(source.path, revision=source.revision)
