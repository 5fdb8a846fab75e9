"""A SeamlessM4T checkpoint as one object, for notebooks: parts are loaded when they are first used."""

from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from steplens.models.neurons import neuron_table
from steplens.models.seamless.loading import (
    language_tags,
    load_config,
    load_decoder,
    load_speech_encoder,
    load_text_encoder,
    load_tokenizer,
)
from steplens.models.source import ModelSource

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel


class SeamlessModel:
    """The parts of a SeamlessM4T checkpoint.

    Parameters
    ----------
    source : ModelSource

    Attributes
    ----------
    source : ModelSource

    Notes
    -----
    A part takes memory from the moment when it is first asked for. ``decoder`` belongs to ``generator``:
    they share their weights.
    """

    def __init__(self, source: ModelSource):
        self.source = source

    def __repr__(self) -> str:
        loaded = [name for name in self._PARTS if name in vars(self)]
        return (
            f"{type(self).__name__}({self.source.path!r}, {self.source.dtype} on {self.source.device}; "
            f"loaded: {', '.join(loaded) or 'nothing yet'})"
        )

    _PARTS = ("config", "tokenizer", "speech_encoder", "text_encoder", "generator")

    @cached_property
    def config(self) -> "PreTrainedConfig":
        """The model's config."""
        return load_config(self.source)

    @cached_property
    def tokenizer(self):
        """The model's tokenizer."""
        return load_tokenizer(self.source)

    @cached_property
    def speech_encoder(self) -> "PreTrainedModel":
        """The speech encoder with its adapter; padding does not change what a row gives."""
        return load_speech_encoder(self.source)

    @cached_property
    def text_encoder(self) -> "PreTrainedModel":
        """The text encoder with the shared embedding."""
        return load_text_encoder(self.source)

    @cached_property
    def generator(self) -> "PreTrainedModel":
        """What generates from encoder states: ``generate(encoder_outputs=…)``; both modalities share it."""
        return load_decoder(self.source)

    @property
    def decoder(self) -> "nn.Module":
        """The decoder within ``generator``, whose neurons are recorded and fixed."""
        return self.generator.text_decoder

    @cached_property
    def language_tags(self) -> dict[str, int]:
        """Language code to the id of the token with which generation in this language starts."""
        return language_tags(self.source)

    def neuron_table(self, module: str) -> pd.DataFrame:
        """Neurons of a module in column order, one row per neuron (``sites.neuron_table``)."""
        return neuron_table(self.config, module)
