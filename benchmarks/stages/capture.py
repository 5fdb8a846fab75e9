"""Dumping every neuron of a module to disk, against the same passes without any hook.

Beside it what else one would write: plain hooks that take every output to the host, and nnsight, where
that is installed (``pip install nnsight``). All of them pool, and write what they saw as float16.
"""

import copy
import gc
import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from steplens.batches.batching import length_sorted_batches
from steplens.hooks.pooling import masked_mean
from steplens.hooks.recorder import Recorded, Recorder
from steplens.models.neurons import neuron_table, slots
from steplens.models.seamless.features import pad_features
from steplens.models.seamless.loading import ATTENTION, family_class
from steplens.models.seamless.padding import isolate_padding
from steplens.recording.capture import decoder_pass
from steplens.recording.dump import dump
from steplens.recording.encode import speech_pass, text_pass
from steplens.store.groups import ROW_CHUNK
from steplens.store.writer import StoreWriter

from ..timing import Measurement, in_turns, measurement

AIM = {"cpu": 1.15, "cuda": 1.05}  # times the passes without hooks
STEP = 6  # of the decoder
# An utterance of FLEURS: 10 s, 35 tokens, 62 encoder states, each give or take a third.
MEAN_LENGTHS = {"speech_encoder": 500, "text_encoder": 35, "decoder": 62}
SMALL_SPEECH_LENGTH = 150  # 3 s
# Published widths everywhere; (layers, utterances, batch size) of each module.
SMALL = {
    "speech_encoder": (2, 8, 4), "text_encoder": (3, 64, 16), "decoder": (3, 64, 16),
}  # fmt: skip
FULL = {
    "cpu": {
        "speech_encoder": (24, 4, 2), "text_encoder": (24, 32, 16), "decoder": (24, 64, 16),
    },
    "cuda": {
        "speech_encoder": (24, 512, 16), "text_encoder": (24, 2048, 64), "decoder": (24, 2048, 128),
    },
}  # fmt: skip
_LAYERS = {
    "speech_encoder": "speech_encoder_layers",
    "text_encoder": "encoder_layers",
    "decoder": "decoder_layers",
}
_CLASSES = {"speech_encoder": "SpeechEncoder", "text_encoder": "Encoder", "decoder": "Decoder"}


def measure(full: bool = False, device: str = "cpu") -> Iterator[Measurement]:
    """Rows of the three modules, each against plain hooks and, where there is one, nnsight."""
    with_nnsight = importlib.util.find_spec("nnsight") is not None
    if not with_nnsight:
        print("  nnsight is not installed: no comparison with it (pip install nnsight)")
    sizes = FULL[device] if full else SMALL
    for module, (n_layers, n_utterances, batch_size) in sizes.items():
        length = MEAN_LENGTHS[module]
        if module == "speech_encoder" and not full:
            length = SMALL_SPEECH_LENGTH
        work = Work(module, n_layers, n_utterances, batch_size, length, torch.device(device))
        others = {"plain hooks": work.plain_hooks}
        if with_nnsight:
            others["nnsight"] = work.nnsight
        ways = {"bare": work.bare, "steplens": work.steplens} | others
        seconds = in_turns(ways, rounds=2 if full and device == "cpu" else 3)
        case = f"{module}: {work.n_neurons:,} neurons, {n_layers} layers, {n_utterances} utterances"
        yield measurement(
            "capture", case, seconds["steplens"],
            baseline="plain hooks", baseline_seconds=seconds["plain hooks"],
            limit="the passes without hooks", limit_seconds=seconds["bare"], at_most=AIM[device],
        )  # fmt: skip
        if with_nnsight:
            yield measurement(
                "capture", f"{case}, beside nnsight", seconds["steplens"],
                baseline="nnsight", baseline_seconds=seconds["nnsight"],
            )  # fmt: skip
        del work, others, ways
        gc.collect()


@dataclass
class Batch:
    """What goes through a module together, on the host."""

    rows: np.ndarray
    inputs: tuple  # as the stage's own pass takes it
    own_mask: torch.Tensor  # (batch, time)
    encoder_mask: torch.Tensor | None  # (batch, positions)


class Work:
    """A module with random weights, its batches, and the ways of dumping it."""

    def __init__(
        self,
        module: str,
        n_layers: int,
        n_utterances: int,
        batch_size: int,
        mean_length: int,
        device: torch.device,
    ):
        self.module, self.device, self.batch_size = module, device, batch_size
        self.dtype = torch.float16 if device.type == "cuda" else torch.float32
        self.model, self.config = random_module(module, n_layers, self.dtype, device)
        self.slots = slots(self.config, module)
        self.neurons = neuron_table(self.config, module)
        self.n_neurons = len(self.neurons)
        generator = np.random.default_rng(1)
        spread = generator.uniform(2 / 3, 4 / 3, n_utterances)
        self.lengths = (mean_length * spread).astype(int)
        self.inputs = self._inputs(generator)
        self.pass_ = {"speech_encoder": speech_pass, "text_encoder": text_pass}.get(
            module, decoder_pass
        )
        rows_of = length_sorted_batches(self.lengths, batch_size, ROW_CHUNK)
        self.batches = [self._batch(rows) for rows in rows_of]

    def _inputs(self, generator: np.random.Generator) -> list:
        if self.module == "speech_encoder":
            return [
                torch.from_numpy(generator.standard_normal((n, 160), np.float32))
                for n in self.lengths
            ]
        if self.module == "text_encoder":
            return [torch.from_numpy(generator.integers(5, 9_000, n)) for n in self.lengths]
        numpy_dtype = np.float16 if self.dtype == torch.float16 else np.float32
        width = self.config.hidden_size
        return [
            generator.standard_normal((n, width), np.float32).astype(numpy_dtype)
            for n in self.lengths
        ]

    def _batch(self, rows: np.ndarray) -> Batch:
        items = [self.inputs[row] for row in rows]
        if self.module == "decoder":
            prefixes = torch.arange(5, 6 + STEP).repeat(len(rows), 1)
            lengths = torch.tensor([len(one) for one in items])
            mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
            return Batch(rows, (prefixes, items), torch.ones_like(prefixes), mask.long())
        if self.module == "text_encoder":
            lengths = torch.tensor([len(one) for one in items])
            mask = (torch.arange(int(lengths.max()))[None] < lengths[:, None]).long()
            tokens = torch.nn.utils.rnn.pad_sequence(items, batch_first=True)
            return Batch(rows, (tokens, mask), mask, None)
        features, mask = pad_features(items)
        return Batch(rows, (features, mask), mask, None)

    def forward(self, batch: Batch, recorder=None) -> Recorded:
        """One batch as the stage passes it; without a recorder, nothing but the model runs."""
        recorder = recorder or Unrecorded(self.device)
        if self.module == "decoder":
            return decoder_pass(self.model, recorder, *batch.inputs)
        return self.pass_(self.model, recorder, *batch.inputs)

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def bare(self) -> None:
        """The limit: the passes alone."""
        for batch in self.batches:
            self.forward(batch)
        self.synchronize()

    def steplens(self) -> None:
        """The stage's own loop, store included."""
        recorder = Recorder(self.model, self.config, self.module, "float16")
        by_rows = {batch.rows.tobytes(): batch for batch in self.batches}
        names = np.arange(len(self.lengths))
        with (
            tempfile.TemporaryDirectory() as folder,
            StoreWriter(
                Path(folder) / "s.zarr",
                names,
                self.neurons,
                recorder.places,
                self.config.hidden_size,
                "float16",
                {},
            ) as store,
        ):

            def run(rows: np.ndarray) -> Recorded:
                return self.forward(by_rows[rows.tobytes()], recorder)

            bar = SimpleNamespace(update=lambda n: None)
            dump(store, recorder, names, self.lengths, self.batch_size, run, "benchmark", bar)
        recorder.close()

    def plain_hooks(self) -> None:
        """Every output to the host in its hook, then the mean there; one file at the end."""
        seen: list[np.ndarray] = []
        batch = self.batches[0]

        def keep(slot) -> Callable:
            def hook(_module, _args, output):
                values = output.detach().cpu().numpy().astype(np.float32)
                values = values.swapaxes(1, 2) if slot.site.channels_first else values
                if self.module == "decoder" and not slot.site.over_encoder:
                    seen.append(values[:, -1])
                    return
                mask = batch.encoder_mask if slot.site.over_encoder else batch.own_mask
                weights = mask.numpy().astype(np.float32)[..., None]
                seen.append((values * weights).sum(1) / weights.sum(1))

            return hook

        handles = [
            self.model.get_submodule(slot.path).register_forward_hook(keep(slot))
            for slot in self.slots
        ]
        rows = []
        for one in self.batches:
            batch = one
            self.forward(one)
            rows.append(np.concatenate(seen, axis=1))
            seen.clear()
        for handle in handles:
            handle.remove()
        _save(rows)

    def nnsight(self) -> None:
        """The same means inside nnsight's trace, on the device; one file at the end."""
        # After the classes of transformers: steplens imports them without what it does not need.
        from nnsight import NNsight

        traced = NNsight(self.model)
        envoys = [traced.get(slot.path) for slot in self.slots]
        rows = []
        for batch in self.batches:
            given = self._arguments(batch)
            masks = {
                name: None if mask is None else mask.to(self.device)
                for name, mask in (("own", batch.own_mask), ("encoder", batch.encoder_mask))
            }
            with torch.no_grad(), traced.trace(**given):
                seen = list().save()  # noqa: C408 - nnsight saves an object, not a display
                for envoy, slot in zip(envoys, self.slots, strict=True):
                    values = envoy.output
                    if slot.site.channels_first:
                        values = values.transpose(1, 2)
                    if self.module == "decoder" and not slot.site.over_encoder:
                        seen.append(values[:, -1].float())
                    else:
                        name = "encoder" if slot.site.over_encoder else "own"
                        seen.append(masked_mean(values, masks[name]))
            rows.append(torch.cat(seen, dim=1).cpu().numpy())
        _save(rows)

    def _arguments(self, batch: Batch) -> dict[str, torch.Tensor | bool]:
        """What the module's ``forward`` takes for a batch."""
        first, second = batch.inputs
        if self.module == "decoder":
            states = torch.nn.utils.rnn.pad_sequence(
                [torch.from_numpy(one) for one in second], batch_first=True
            )
            given = {
                "input_ids": first,
                "encoder_hidden_states": states.to(self.dtype),
                "encoder_attention_mask": batch.encoder_mask,
            }
        elif self.module == "text_encoder":
            given = {"input_ids": first, "attention_mask": second}
        else:
            given = {"input_features": first.to(self.dtype), "attention_mask": second}
        moved = {name: one.to(self.device) for name, one in given.items()}
        return moved | ({"use_cache": False} if self.module == "decoder" else {})


class Unrecorded:
    """Stands in for a recorder and records nothing."""

    def __init__(self, device: torch.device):
        self.device = device

    def begin(self, *_masks) -> None:
        """Nothing to prepare."""

    def result(self, *_states) -> None:
        """Nothing to give."""


def random_module(module: str, n_layers: int, dtype: torch.dtype, device: torch.device):
    """A module of seamless-m4t-v2-large with so many layers, and its config."""
    config = copy.deepcopy(family_class({}, "Config")())
    config._attn_implementation = ATTENTION
    config.vocab_size = 10_000  # the embedding is looked up; its size costs nothing but memory
    setattr(config, _LAYERS[module], n_layers)
    with torch.device("meta"):
        model = family_class(config, _CLASSES[module])(config)
    model = model.to(dtype).to_empty(device=device)
    with torch.no_grad():
        for values in (*model.parameters(), *model.buffers()):
            if values.is_floating_point():
                values.uniform_(-0.03, 0.03)
        for part in model.modules():
            if isinstance(part, torch.nn.LayerNorm):
                part.weight.fill_(1.0)
    if module == "speech_encoder":
        isolate_padding(model)
    return model.eval(), config


def _save(rows: list[np.ndarray]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "activation.npy", np.concatenate(rows).astype(np.float16))
