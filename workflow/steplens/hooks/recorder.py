"""Reads every neuron of a module while it runs, pooled on the device into one buffer a batch.

A forward hook on each submodule writes its (pooled) output into the columns of its neurons, in the
dtype of the store. Nothing is copied to the host and nothing waits for the device before the batch is
over. Hooks return nothing: a hook that returned its input would replace the submodule's output.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from steplens.batches.device_copies import HostCopy, copy_stream
from steplens.errors import ActivationError
from steplens.hooks.pooling import Pooling, last_position
from steplens.models.neurons import ADAPTER, Slot, places, slots

_DTYPES = {"float16": torch.float16, "float32": torch.float32}


@dataclass
class OnHost:
    """One batch as NumPy arrays."""

    activation: np.ndarray  # (batch, n_neurons) in the store's dtype
    hidden_state: np.ndarray  # (batch, places, hidden) in the store's dtype
    states: list[np.ndarray]  # (n_positions, hidden) a row; empty where none were given


class Recorded:
    """One batch: what the hooks of a recorder saw, on its way to the host."""

    def __init__(
        self, copy: HostCopy, n_neurons: int, hidden_shape: tuple[int, int], lengths: list[int]
    ):
        self._copy, self._lengths = copy, lengths
        self._n_neurons, self._hidden_shape = n_neurons, hidden_shape

    @property
    def exact(self) -> bool:
        """Whether what padded positions held cannot have reached the means (``Pooling.exact``)."""
        return not self._copy.has("finite")

    def is_finite(self) -> bool:
        """Whether all is; for a batch that is not exact. Waits until it is there."""
        return bool(self._copy.wait()["finite"].all())

    def on_host(self) -> OnHost:
        """The whole batch; waits until it is there."""
        copied = self._copy.wait()
        values = copied["values"].numpy()
        activation, hidden = values[:, : self._n_neurons], values[:, self._n_neurons :]
        states = copied["states"].numpy() if self._lengths else ()
        return OnHost(
            activation,
            hidden.reshape(len(values), *self._hidden_shape),
            [state[:length] for state, length in zip(states, self._lengths, strict=True)],
        )


class Recorder:
    """Hooks on every neuron and on the residual stream of one module.

    Parameters
    ----------
    root : nn.Module
        The speech encoder, the text encoder or the decoder.
    config : model config
    module : {"speech_encoder", "text_encoder", "decoder"}
    dtype : {"float16", "float32"}
        Of what is recorded; means are taken in float32.
    by_row : bool, optional
        As in ``Pooling``.

    Attributes
    ----------
    slots : list of Slot
    n_neurons : int
    dtype : {"float16", "float32"}
    places : list of str
        Where the residual stream is read, as ``steplens.models.neurons.places`` gives it.
    hidden_shape : (int, int)
        Number of places, and hidden size.

    Notes
    -----
    Encoders are pooled over valid positions (D2). The decoder is read at the last position of its
    input (D3), its cross-attention keys and values pooled over the encoder's positions (D4).
    """

    def __init__(
        self,
        root: nn.Module,
        config: Any,
        module: str,
        dtype: str = "float32",
        by_row: bool | None = None,
    ):
        self.slots = slots(config, module)
        self.n_neurons = self.slots[-1].columns.stop
        layers = root.encoder.layers if module == "speech_encoder" else root.layers
        self.places = places(config, module)
        self.hidden_shape = (len(self.places), config.hidden_size)
        self.device = next(root.parameters()).device
        self._reads_last_position = module == "decoder"
        self.dtype, self._by_row = dtype, by_row
        # On a CPU what is recorded is cast in one go at the end of a batch.
        on_cpu = self.device.type == "cpu"
        self._buffer_dtype = torch.float32 if on_cpu else _DTYPES[dtype]
        self._stream = copy_stream(self.device)
        self._widths = [slot.columns.stop - slot.columns.start for slot in self.slots]
        self._widths += [self.hidden_shape[1]] * self.hidden_shape[0]
        self._buffer: torch.Tensor | None = None  # (batch, all columns)
        # Its columns: those of every slot, then those of every place of the residual stream.
        self._columns: tuple[torch.Tensor, ...] | None = None
        self._pool: dict[str, Callable[[torch.Tensor, torch.Tensor], None]] = {}
        self._exact = True
        self._handles = [
            root.get_submodule(slot.path).register_forward_hook(self._neuron_hook(number, slot))
            for number, slot in enumerate(self.slots)
        ]
        first = len(self.slots)
        self._handles.append(
            layers[0].register_forward_pre_hook(
                lambda _module, args, kwargs: self._pool["own"](
                    self._columns[first], args[0] if args else kwargs["hidden_states"]
                ),
                with_kwargs=True,
            )
        )
        for number, layer in enumerate(layers, first + 1):
            self._handles.append(layer.register_forward_hook(self._residual_hook(number, "own")))
        if ADAPTER in self.places:
            hook = self._residual_hook(first + self.places.index(ADAPTER), "encoder")
            self._handles.append(root.adapter.register_forward_hook(hook))

    def begin(self, own_mask: torch.Tensor, encoder_mask: torch.Tensor | None = None) -> None:
        """Prepare for one batch.

        Parameters
        ----------
        own_mask : (batch, time) tensor
            Valid positions of the module's input (only its rows count for the decoder).
        encoder_mask : (batch, positions) tensor, optional
            Valid positions of the encoder's final states: after the adapter, or what the decoder
            attends to.

        Notes
        -----
        Masks are best given on the CPU: the host waits for those of a GPU.
        """
        self._buffer = self._columns = None  # of a batch that failed
        # Never the last batch's, which may still be on its way; the allocator reuses it in time.
        self._buffer = torch.empty(
            len(own_mask), sum(self._widths), dtype=self._buffer_dtype, device=self.device
        )
        self._columns = self._buffer.split(self._widths, dim=1)
        masks = {"own": own_mask, "encoder": encoder_mask}
        self._pool, self._exact = {}, True
        if self._reads_last_position:
            self._pool["own"] = last_position
            del masks["own"]
        for name, mask in masks.items():
            if mask is not None:
                pooling = Pooling(mask, self.device, self._by_row)
                self._pool[name] = pooling.into
                self._exact &= pooling.exact

    def result(
        self, states: torch.Tensor | None = None, lengths: list[int] | None = None
    ) -> Recorded:
        """What the batch left behind, on its way to the host in one copy.

        Parameters
        ----------
        states : (batch, positions, hidden) tensor, optional
            Final encoder states, to be copied along in the dtype of the computation.
        lengths : list of int, optional
            Valid positions of ``states`` of every row.
        """
        copied = {"values": self._buffer.to(_DTYPES[self.dtype])}
        if not self._exact:
            copied["finite"] = torch.isfinite(copied["values"]).all(1)
        if states is not None:
            copied["states"] = states
        recorded = Recorded(
            HostCopy(copied, self._stream), self.n_neurons, self.hidden_shape, lengths or []
        )
        self._buffer = self._columns = None
        return recorded

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def _neuron_hook(self, number: int, slot: Slot) -> Callable:
        positions = "encoder" if slot.site.over_encoder else "own"
        channels_first = slot.site.channels_first

        def hook(_module, _args, output):
            values = output.transpose(1, 2) if channels_first else output
            self._pool[positions](self._columns[number], values)

        return hook

    def _residual_hook(self, number: int, positions: str) -> Callable:
        def hook(_module, _args, output):
            values = output[0] if isinstance(output, tuple) else output
            self._pool[positions](self._columns[number], values)

        return hook


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
    hidden_state : (batch, places, hidden) array
        The residual stream before the first layer, after every layer and after the speech adapter.
    utterances : (batch,) array
        Sentence ids.
    layer_slots : list of Slot
        As ``steplens.models.neurons.slots`` gives them.
    where : str
        What is being dumped, for the message.
    """
    if _all_finite(activation) and _all_finite(hidden_state):
        return
    finite = np.isfinite(activation).all(1) & np.isfinite(hidden_state).all((1, 2))
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
        if not _all_finite(state):
            position, unit = np.argwhere(~np.isfinite(state))[0]
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
    """Every place of one utterance with its values: (n_neurons,) and (places, hidden) taken apart."""
    n_layers, at = layer_slots[-1].layer + 1, 0
    for layer in range(n_layers + 1):
        yield _residual(layer, n_layers), hidden_state[layer]
        while at < len(layer_slots) and layer_slots[at].layer == layer:
            yield _place(layer_slots[at]), activation[layer_slots[at].columns]
            at += 1
    for number in range(n_layers + 1, len(hidden_state)):
        yield _residual(number, n_layers), hidden_state[number]


def _all_finite(values: np.ndarray) -> bool:
    if values.dtype != np.float16:
        return bool(np.isfinite(values).all())
    # NumPy turns every float16 into a float32 first; in bits, all ones in the exponent, it is 15 times
    # as fast.
    return not ((values.view(np.uint16) & 0x7C00) == 0x7C00).any()


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
