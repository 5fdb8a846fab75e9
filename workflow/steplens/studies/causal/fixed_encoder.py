"""An encoder whose neurons are fixed row by row of a batch, at valid positions only."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from steplens.hooks.intervention import Intervention, Replacement
from steplens.hooks.recorder import require_finite_states
from steplens.models.neurons import sites
from steplens.models.seamless.loading import load_speech_encoder, load_text_encoder, load_tokenizer
from steplens.models.source import ModelSource
from steplens.recording.encode import MODULE_OF, SpeechInput, TextInput, speech_pass, text_pass

if TYPE_CHECKING:
    import pandas as pd


class EncoderIntervention(Intervention):
    """Rows of a batch have neurons of an encoder fixed, inside of a ``with`` block.

    Parameters
    ----------
    encoder : nn.Module
        The speech or the text encoder.
    module : {"speech_encoder", "text_encoder"}
    replacements : sequence of (slice, Replacement)
        As in ``Intervention``.
    valid : (batch, time) tensor
        1 at the valid positions of the encoder's input.

    Notes
    -----
    Padded positions keep what they hold: the first family's convolutions read them, and expect zeros
    as behind the end of an utterance that is alone.
    """

    def __init__(
        self,
        encoder: nn.Module,
        module: str,
        replacements: Sequence[tuple[slice, Replacement]],
        valid: torch.Tensor,
    ):
        super().__init__(encoder.encoder if module == "speech_encoder" else encoder, replacements)
        first = {one.submodule for one in sites(encoder.config, module) if one.channels_first}
        self._channels_first = [path.split(".", 2)[2] in first for path in self._paths]
        self._valid = valid.to(next(encoder.parameters()).device).bool()

    def keep(self, rows: np.ndarray) -> None:
        """No row leaves an encoder's batch."""
        raise NotImplementedError("an encoder passes a batch once, with all of its rows")

    def _load(self, neurons: Any) -> None:
        parameter = next(self._decoder.parameters())
        ends = np.searchsorted(neurons.module, np.arange(len(self._paths)), side="right")
        parts = np.diff(ends, prepend=0).tolist()
        row, unit = (
            torch.from_numpy(one).to(parameter.device).split(parts)
            for one in (neurons.row, neurons.unit)
        )
        value = torch.from_numpy(neurons.value).to(parameter).split(parts)
        self._writes = list(zip(row, unit, value, strict=True))

    def _hook(self, number: int) -> Callable:
        def hook(_module, _args, output):
            # A view: what is written to it is in the output.
            values = output.transpose(1, 2) if self._channels_first[number] else output
            if values.shape[:2] != self._valid.shape:
                raise RuntimeError(
                    f"{self._paths[number]}: expected an output of {tuple(self._valid.shape)} rows and "
                    f"positions, as the mask has, got {tuple(values.shape[:2])}"
                )
            row, unit, value = self._writes[number]
            free = values[row, :, unit]  # (neurons, positions)
            values[row, :, unit] = torch.where(self._valid[row], value[:, None], free)

        return hook


class FixedEncoder:
    """An encoder and the utterances of one language.

    Parameters
    ----------
    source : ModelSource
    modality : {"speech", "text"}
    language : str
    sentences : DataFrame
        Rows of ``corpus/<language>.parquet``.
    speech : path or None
        ``speech/<language>.parquet``, for speech.
    fixed_seconds : float, optional
        Of speech: as in ``SpeechInput``. Neurons are then fixed at padded positions too.

    Attributes
    ----------
    lengths : (n_utterances,) int array
        Samples that are encoded, or tokens.
    """

    def __init__(
        self,
        source: ModelSource,
        modality: str,
        language: str,
        sentences: "pd.DataFrame",
        speech: Path | None,
        fixed_seconds: float | None = None,
    ):
        from steplens.files.atomic import read_parquet

        self.module = MODULE_OF[modality]
        self._utterances = sentences["utterance"].to_numpy()
        self._where = f"{modality} encoder with neurons fixed, {language}"
        self._inputs: SpeechInput | TextInput
        if modality == "speech":
            spoken = read_parquet(speech).set_index("utterance").loc[self._utterances]
            self._inputs = SpeechInput(spoken, Path(speech).parent, fixed_seconds)
            self.encoder = load_speech_encoder(source)
        else:
            texts = sentences["text"].tolist()
            self._inputs = TextInput(texts, load_tokenizer(source), language)
            self.encoder = load_text_encoder(source)
        self._pass = speech_pass if modality == "speech" else text_pass
        self.lengths = np.asarray(self._inputs.lengths)

    def states(self, rows: Sequence[int], fixed: Sequence[Replacement | None]) -> list[np.ndarray]:
        """Final states of a batch, (n_positions, hidden) each, in the dtype of the computation.

        Parameters
        ----------
        rows : sequence of int
            Of the utterances; one may come several times.
        fixed : sequence of Replacement or None
            What is fixed in each.

        Raises
        ------
        ActivationError
            A state is NaN or infinity.
        """
        # Few sentences, each under many trials: every one is read once.
        different, which = np.unique(rows, return_inverse=True)
        inputs, mask = self._inputs.pad([self._inputs.load(row) for row in different])
        which = torch.from_numpy(which)
        inputs, mask = inputs.index_select(0, which), mask.index_select(0, which)
        given = [(slice(at, at + 1), one) for at, one in enumerate(fixed) if one is not None]
        with EncoderIntervention(self.encoder, self.module, given, mask):
            found, lengths = self._pass(self.encoder, _StatesOnly(self.encoder), inputs, mask)
        found = found.cpu().numpy()
        states = [one[:length].copy() for one, length in zip(found, lengths, strict=True)]
        require_finite_states(states, self._utterances[np.asarray(rows)], self._where)
        return states


class _StatesOnly:
    """In a Recorder's place where no neuron is read: hands on the encoder's final states."""

    def __init__(self, encoder: nn.Module):
        self.device = next(encoder.parameters()).device

    def begin(self, *_masks: torch.Tensor) -> None:
        """Nothing to prepare."""

    @staticmethod
    def result(states: torch.Tensor, lengths: list[int]) -> tuple[torch.Tensor, list[int]]:
        """The batch's states and their lengths, as they are."""
        return states, lengths
