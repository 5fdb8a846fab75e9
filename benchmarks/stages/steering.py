"""Steered generation against the same without, the own loop against transformers', one load against many.

A decoder of random weights in the published widths: all 24 layers and 256,102 tokens with ``full``, else a
twelfth of both, so that layers and head cost in the same proportion.
"""

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from steplens.generation.greedy import generate
from steplens.hooks.intervention import Intervention, Replacement
from steplens.jobs.lean_imports import lean_transformers
from steplens.models.neurons import neuron_table
from steplens.models.seamless.loading import ATTENTION, BaseModelOutput, family_class, load_decoder
from steplens.models.source import ModelSource

from ..timing import Measurement, in_turns, measurement

STATES = 62  # encoder positions of ten seconds of speech
NEURONS = 2000  # that are fixed in a row: the top and the bottom 1,000
CONDITIONS = 20  # interventions in a batch
STEPS = 3  # of a configuration, a job each where they do not share one
MEAN_TOKENS, SPREAD_TOKENS = 16, 5  # of the sentences that end
NEVER = -1  # the end of sentence of a model that writes none


def measure(full: bool = False, device: str = "cpu") -> Iterator[Measurement]:
    """Rows of the stage, one after another."""
    on_gpu = device == "cuda"
    n_rows, n_tokens = (640, 128) if on_gpu else (16, 8) if full else (16, 16)
    model = _decoder(full, device)
    name = torch.cuda.get_device_name() if on_gpu else None
    others = {"device": name} if name else {}
    yield from _fixed_length(model, n_rows, n_tokens, others)
    yield _ending(model, n_rows, others)
    yield _one_load(model, n_rows, n_tokens, device, others)


def _fixed_length(model, n_rows: int, n_tokens: int, others: dict) -> Iterator[Measurement]:
    """Steered and plain, and transformers' own loop, all to the last token."""
    states, mask = _inputs(model, n_rows)
    fixed = _interventions(model, n_rows)
    start = [model.config.decoder_start_token_id, 5]

    def steered():
        intervention = Intervention(model.text_decoder, fixed)
        _wait(generate(model, states, mask, start, n_tokens, intervention))

    def slow():
        with _PerRowLoop(model.text_decoder, fixed):
            _wait(generate(model, states, mask, start, n_tokens))

    seconds = in_turns(
        {
            "plain": lambda: _wait(generate(model, states, mask, start, n_tokens)),
            "steered": steered,
            "loop over rows": slow,
            "transformers": lambda: _transformers(model, states, mask, n_tokens),
        },
        rounds=3,
    )
    size = f"{n_rows} x {n_tokens} tokens, {len(model.text_decoder.layers)} layers"
    yield measurement(
        "steering", f"steered, {CONDITIONS} interventions a batch: {size}", seconds["steered"],
        baseline="a loop over rows in every hook", baseline_seconds=seconds["loop over rows"],
        limit="unsteered", limit_seconds=seconds["plain"], at_most=1.03, **others,
    )  # fmt: skip
    yield measurement(
        "steering", f"unsteered, no sentence ends: {size}", seconds["plain"],
        baseline="transformers' generate", baseline_seconds=seconds["transformers"], **others,
    )  # fmt: skip


def _ending(model, n_rows: int, others: dict) -> Measurement:
    """Sentences of different length: rows that end leave the batch."""
    states, mask = _inputs(model, n_rows)
    most = MEAN_TOKENS + 4 * SPREAD_TOKENS
    start = [model.config.decoder_start_token_id, 5]
    ends = _Ends(model)
    written = []

    def own():
        ends.begin()
        written[:] = generate(model, states, mask, start, most).contents
        _wait()

    def theirs():
        ends.begin()
        _transformers(model, states, mask, most, ends.token)

    with ends:
        seconds = in_turns({"own": own, "transformers": theirs}, rounds=3)
    lengths = [len(one) for one in written]
    return measurement(
        "steering",
        f"{n_rows} sentences of {min(lengths)} to {max(lengths)} tokens, {np.mean(lengths):.0f} on "
        f"average, {len(model.text_decoder.layers)} layers",
        seconds["own"],
        baseline="transformers' generate", baseline_seconds=seconds["transformers"], **others,
    )  # fmt: skip


def _one_load(model, n_rows: int, n_tokens: int, device: str, others: dict) -> Measurement:
    """A job for all steps against a job for each, imports not counted."""
    states, mask = _inputs(model, n_rows)
    start = [model.config.decoder_start_token_id, 5]
    fixed = _interventions(model, n_rows)
    with tempfile.TemporaryDirectory(prefix="steplens-bench-") as folder:
        _write(model, Path(folder))
        source = ModelSource(folder, None, "float16" if device == "cuda" else "float32", device)

        def jobs(n_jobs: int, n_batches: int):
            for _ in range(n_jobs):
                loaded = load_decoder(source)
                loaded.config.eos_token_id = NEVER
                for _ in range(n_batches):
                    intervention = Intervention(loaded.text_decoder, fixed)
                    generate(loaded, states, mask, start, n_tokens, intervention)
            _wait()

        seconds = in_turns(
            {"one": lambda: jobs(1, STEPS), "many": lambda: jobs(STEPS, 1)}, rounds=2
        )
    return measurement(
        "steering",
        f"{STEPS} steps, a batch of {n_rows} x {n_tokens} tokens each, in one job",
        seconds["one"], baseline="a job a step", baseline_seconds=seconds["many"], **others,
    )  # fmt: skip


def _decoder(full: bool, device: str):
    """Decoder, embedding and head, as the stages load them."""
    config = family_class({}, "Config")()
    config._attn_implementation = ATTENTION
    config.encoder_layers = 0
    if not full:
        config.decoder_layers //= 12
        config.vocab_size //= 12
    dtype = torch.float16 if device == "cuda" else torch.float32
    with torch.device("meta"):
        model = family_class(config, "ForTextToText")(copy.deepcopy(config))
    model = model.to(dtype).to_empty(device=device)
    model.tie_weights()
    torch.manual_seed(1)
    with torch.no_grad():
        for values in (*model.parameters(), *model.buffers()):
            if values.is_floating_point():
                values.uniform_(-0.05, 0.05)
    model.config.eos_token_id = NEVER
    return model.eval()


def _write(model, folder: Path) -> None:
    """A checkpoint of it, in the published layout."""
    tied = ("lm_head.", "text_decoder.embed_tokens.", "text_encoder.")
    tensors = {
        name: tensor.contiguous()
        for name, tensor in model.state_dict().items()
        if not name.startswith(tied)
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = copy.deepcopy(model.config)
    config.eos_token_id = config.decoder_start_token_id
    config.save_pretrained(folder)
    (folder / "generation_config.json").write_text("{}")


def _inputs(model, n_rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Encoder states, some of them padded."""
    weight = model.shared.weight
    generator = torch.Generator().manual_seed(2)
    states = torch.randn(n_rows, STATES, weight.shape[1], generator=generator)
    lengths = torch.randint(STATES - 6, STATES + 1, (n_rows, 1), generator=generator)
    mask = (torch.arange(STATES) < lengths).long()
    return states.to(weight), mask.to(weight.device)


def _interventions(model, n_rows: int) -> list[tuple[slice, Replacement]]:
    """Rows in turn under each of the interventions."""
    neurons = neuron_table(model.config, "decoder")
    generator = np.random.default_rng(3)
    every = []
    for _ in range(CONDITIONS):
        columns = generator.choice(len(neurons), NEURONS, replace=False)
        table = neurons.iloc[columns][["layer", "submodule", "unit"]]
        every.append(Replacement(table.assign(value=np.float32(0.1)).reset_index(drop=True)))
    return [(slice(row, row + 1), every[row % CONDITIONS]) for row in range(n_rows)]


def _transformers(model, states, mask, n_tokens: int, end: int | None = None) -> None:
    with lean_transformers():
        from transformers.generation.configuration_utils import GenerationConfig

    with torch.inference_mode():
        model.generate(
            decoder_input_ids=torch.full((len(states), 1), 5, device=states.device),
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            attention_mask=mask,
            generation_config=GenerationConfig(
                decoder_start_token_id=3, eos_token_id=end, pad_token_id=0,
                num_beams=1, do_sample=False, max_new_tokens=n_tokens,
            ),
        )  # fmt: skip
    _wait()


def _wait(_result=None) -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


class _PerRowLoop:
    """A write for every row in every hook."""

    def __init__(self, text_decoder, replacements):
        self._handles: list = []
        self._decoder = text_decoder
        parameter = next(text_decoder.parameters())
        self._writes: dict[str, list] = {}
        ready: dict[int, list] = {}
        for rows, fixed in replacements:
            if id(fixed) not in ready:
                ready[id(fixed)] = [
                    (
                        f"layers.{layer}.{submodule}",
                        torch.tensor(part["unit"].to_numpy(), device=parameter.device),
                        torch.tensor(part["value"].to_numpy()).to(parameter),
                    )
                    for (layer, submodule), part in fixed.table.groupby(
                        ["layer", "submodule"], observed=True
                    )
                ]
            for path, units, values in ready[id(fixed)]:
                self._writes.setdefault(path, []).append((rows, units, values))

    def __enter__(self):
        for path, writes in self._writes.items():

            def hook(_module, _args, output, writes=writes):
                for rows, units, values in writes:
                    output[rows][..., units] = values

            module = self._decoder.get_submodule(path)
            self._handles.append(module.register_forward_hook(hook))

    def __exit__(self, *_error):
        for handle in self._handles:
            handle.remove()


class _Ends:
    """Ends sentences at lengths about ``MEAN_TOKENS``, by their highest logit: alike in any batch."""

    token = 3

    def __init__(self, model):
        from scipy.stats import norm

        self._model = model
        steps = np.arange(MEAN_TOKENS + 4 * SPREAD_TOKENS + 1)
        normal = norm(MEAN_TOKENS, SPREAD_TOKENS)
        # Of the sentences that have come so far, the share that ends at a step.
        self._share = np.diff(normal.cdf(steps)) / normal.sf(steps[:-1])
        self._step = 0

    def begin(self) -> None:
        """A new generation."""
        self._step = 0

    def __enter__(self):
        self._model.config.eos_token_id = self.token
        self._handle = self._model.lm_head.register_forward_hook(self._force)
        return self

    def __exit__(self, *_error):
        self._handle.remove()
        self._model.config.eos_token_id = NEVER

    def _force(self, _module, _args, logits):
        top = logits.max(-1).values
        now = (100 * top.float()).frac().abs() < self._share[self._step]
        logits[..., self.token] = torch.where(now, top + 1, -torch.inf)
        self._step += 1
