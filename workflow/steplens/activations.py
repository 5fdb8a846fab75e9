"""Reads every neuron of a module while it runs, pooled on the device into one preallocated buffer.

A forward hook on each submodule writes its (pooled) output into the columns of its neurons; nothing is
copied to the host before the batch is over. Hooks return nothing: a hook that returned its input
would replace the submodule's output.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from .sites import Slot, slots


class ActivationError(ValueError):
    """An activation that no statistic may be computed from."""


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over valid positions, accumulated in float32 (D2).

    Parameters
    ----------
    values : (batch, time, units) tensor
    mask : (batch, time) tensor
        1 where valid; at least one valid position a row.

    Returns
    -------
    (batch, units) float32 tensor
    """
    weights = (mask / mask.sum(1, keepdim=True)).to(torch.float32)  # (batch, time)
    # A padded position may hold anything, infinity included: zero times it must stay zero.
    valid = values.float().masked_fill(~mask.bool().unsqueeze(-1), 0.0)
    return torch.bmm(weights.unsqueeze(1), valid).squeeze(1)


@dataclass
class Recorded:
    """One batch: what the hooks of a recorder saw, on the device."""

    activation: torch.Tensor  # (batch, n_neurons) float32
    hidden_state: torch.Tensor  # (batch, layers, hidden) float32


class Recorder:
    """Hooks on every neuron and on the residual stream of one module.

    Parameters
    ----------
    root : nn.Module
        The speech encoder, the text encoder or the decoder.
    config : model config
    module : {"speech_encoder", "text_encoder", "decoder"}

    Notes
    -----
    Encoders are pooled over valid positions (D2). The decoder is read at the last position of its
    input (D3), its cross-attention keys and values pooled over the encoder's positions (D4).
    """

    def __init__(self, root: nn.Module, config: Any, module: str):
        self.module = module
        self.slots = slots(config, module)
        self.n_neurons = self.slots[-1].columns.stop
        self._masks: dict[str, torch.Tensor] = {}
        self._buffer = torch.zeros(0)
        self._hidden: list[torch.Tensor] = []
        self._handles = [
            root.get_submodule(slot.path).register_forward_hook(self._neuron_hook(slot))
            for slot in self.slots
        ]
        layers = root.encoder.layers if module == "speech_encoder" else root.layers
        self._handles.append(
            layers[0].register_forward_pre_hook(
                lambda _module, args, kwargs: self._keep_hidden(
                    args[0] if args else kwargs["hidden_states"]
                ),
                with_kwargs=True,
            )
        )
        for layer in layers:
            self._handles.append(layer.register_forward_hook(self._residual_hook("own")))
        adapter = getattr(root, "adapter", None)
        if adapter is not None:
            self._handles.append(adapter.register_forward_hook(self._residual_hook("encoder")))
        self.n_hidden = len(layers) + 1 + (adapter is not None)

    def begin(self, own_mask: torch.Tensor, encoder_mask: torch.Tensor | None = None) -> None:
        """Prepare for one batch.

        Parameters
        ----------
        own_mask : (batch, time) tensor
            Valid positions of the module's input (only its rows count for the decoder).
        encoder_mask : (batch, positions) tensor, optional
            Valid positions of the encoder's final states: after the adapter, or what the decoder
            attends to.
        """
        self._masks = {"own": own_mask}
        if encoder_mask is not None:
            self._masks["encoder"] = encoder_mask
        batch = len(own_mask)
        if self._buffer.shape[0] < batch or self._buffer.device != own_mask.device:
            self._buffer = torch.empty(batch, self.n_neurons, device=own_mask.device)
        self._hidden = []

    def result(self) -> Recorded:
        """What the batch left behind; the activation is overwritten by the next batch."""
        batch = len(self._masks["own"])
        return Recorded(self._buffer[:batch], torch.stack(self._hidden, dim=1))

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def _pool(self, values: torch.Tensor, positions: str) -> torch.Tensor:
        if self.module == "decoder" and positions == "own":
            return values[:, -1].float()
        return masked_mean(values, self._masks[positions])

    def _neuron_hook(self, slot: Slot) -> Callable:
        positions = "encoder" if slot.site.over_encoder else "own"

        def hook(_module, _args, output):
            values = output.transpose(1, 2) if slot.site.channels_first else output
            pooled = self._pool(values, positions)
            self._buffer[: len(pooled), slot.columns] = pooled

        return hook

    def _residual_hook(self, positions: str) -> Callable:
        def hook(_module, _args, output):
            self._keep_hidden(output[0] if isinstance(output, tuple) else output, positions)

        return hook

    def _keep_hidden(self, values: torch.Tensor, positions: str = "own") -> None:
        self._hidden.append(self._pool(values, positions))


def to_host(recorded: Recorded, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """``activation`` and ``hidden_state`` of a batch in the store's dtype, as NumPy arrays."""
    torch_dtype = {"float16": torch.float16, "float32": torch.float32}[dtype]
    return (
        recorded.activation.to(torch_dtype).cpu().numpy(),
        recorded.hidden_state.to(torch_dtype).cpu().numpy(),
    )


def require_finite(
    activation: np.ndarray,
    hidden_state: np.ndarray,
    utterances: np.ndarray,
    layer_slots: list[Slot],
    where: str,
) -> None:
    """Raise ActivationError naming the first utterance, layer and submodule with NaN or infinity.

    The first place in the order in which the model runs: what follows has it from there.

    Parameters
    ----------
    activation : (batch, n_neurons) array
        As it would be stored.
    hidden_state : (batch, layers, hidden) array
        The residual stream before the first layer, after every layer and after the speech adapter.
    utterances : (batch,) array
        Sentence ids.
    layer_slots : list of Slot
        As ``steplens.sites.slots`` gives them.
    where : str
        What is being dumped, for the message.
    """
    finite = np.isfinite(activation).all(1) & np.isfinite(hidden_state).all((1, 2))
    if finite.all():
        return
    row = int(np.argmin(finite))
    for place, values in _in_running_order(activation[row], hidden_state[row], layer_slots):
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            raise ActivationError(
                f"{where}: utterance {utterances[row]}, {place}, unit {wrong[0]}: expected a finite "
                f"activation, got {values[wrong[0]]} in {values.dtype}; {_advice(values.dtype)}"
            )


def require_finite_states(states: list[np.ndarray], utterances: np.ndarray, where: str) -> None:
    """Raise ActivationError naming the first utterance whose encoder states hold NaN or infinity.

    Parameters
    ----------
    states : list of (n_positions, hidden) arrays
        What decoding starts from.
    utterances : (n_utterances,) array
    where : str
        Where they are or go, for the message.
    """
    for utterance, state in zip(utterances, states, strict=True):
        finite = np.isfinite(state)
        if not finite.all():
            position, unit = np.argwhere(~finite)[0]
            raise ActivationError(
                f"{where}: utterance {utterance}, final states of the encoder, position {position}, "
                f"unit {unit}: expected a finite number, got {state[position, unit]} in {state.dtype}; "
                f"{_advice(state.dtype)}"
            )


def first_non_finite(
    text_decoder: nn.Module, config: Any, row: int, run: Callable[[], Any]
) -> str | None:
    """Where in the decoder the first NaN or infinity of one row of the batch arises.

    Parameters
    ----------
    text_decoder : nn.Module
    config : model config
    row : int
    run : callable
        Passes the batch through the decoder.

    Returns
    -------
    str or None
        Layer and submodule; None where the layers' outputs are finite.
    """
    found: list[str] = []
    n_layers = len(text_decoder.layers)

    def hook(place):
        def check(_module, _args, output):
            values = output[0] if isinstance(output, tuple) else output
            if not found and not torch.isfinite(values[row]).all():
                found.append(place)

        return check

    places = {slot.path: _place(slot) for slot in slots(config, "decoder")}
    places |= {f"layers.{n}": _residual(n + 1, n_layers) for n in range(n_layers)}
    handles = [
        text_decoder.get_submodule(path).register_forward_hook(hook(place))
        for path, place in places.items()
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def _in_running_order(
    activation: np.ndarray, hidden_state: np.ndarray, layer_slots: list[Slot]
) -> Iterator[tuple[str, np.ndarray]]:
    """Every place of one utterance with its values: (n_neurons,) and (layers, hidden) taken apart."""
    n_layers, at = layer_slots[-1].layer + 1, 0
    for layer in range(n_layers + 1):
        yield _residual(layer, n_layers), hidden_state[layer]
        while at < len(layer_slots) and layer_slots[at].layer == layer:
            yield _place(layer_slots[at]), activation[layer_slots[at].columns]
            at += 1
    for number in range(n_layers + 1, len(hidden_state)):
        yield _residual(number, n_layers), hidden_state[number]


def _place(slot: Slot) -> str:
    return f"layer {slot.layer}, {slot.site.submodule}"


def _residual(number: int, n_layers: int) -> str:
    if number == 0:
        return "residual stream before layer 0"
    if number > n_layers:
        return "residual stream after the speech adapter"
    return f"residual stream after layer {number - 1}"


def _advice(dtype: np.dtype) -> str:
    if dtype == np.float16:
        return "float16 ends at 65504: try store.dtype and model.dtype float32"
    return "check the checkpoint and the utterance's audio or text"
