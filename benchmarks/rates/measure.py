"""Measures how fast this machine runs SeamlessM4T v2 large, for ``snakemake plan``.

    python -m benchmarks.rates.measure                        # all stages, on the GPU if there is one, twice
    python -m benchmarks.rates.measure --stages decode steer  # some of them
    python -m benchmarks.rates.measure --from-run results/demo   # from the benchmarks of a finished run
    python -m benchmarks.rates.measure --estimate             # rows for GPUs that nobody has measured yet

Modules are built at full size with random weights, one at a time: no checkpoint is needed, and speed does
not depend on the values. Rows of ``resources/rates.tsv`` for the same stage, model and device are replaced.
Times are those of one batch after a first one that does not count, with recording, and with writing a store
where the stage writes one. Run it while nothing else runs, or with --processor-time. Everything is measured
``--rounds`` times, one round after another: the table has the smallest, and names the others.
"""

import argparse
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path

from . import analysis

ROOT = Path(__file__).resolve().parents[2]
MODEL = "seamless-m4t-v2-large"
AUDIO_SECONDS, TEXT_TOKENS, STATES = 10.0, 35, 62  # an utterance of FLEURS
CAPTURE_STEP = 6
K = 1000
# Weights are read from the disk by every job; not measured, since there is no checkpoint.
READ_BYTES_PER_SECOND = 1e9

# fp16 multiply-adds a second (dense, as two operations) and bytes a second, from the makers' data sheets.
GPUS = {
    "NVIDIA A100-SXM4-40GB": (312e12, 1.555e12),
    "NVIDIA GeForce RTX 3090": (71e12, 0.936e12),
}
# What is assumed to be reached of it, and what Python and launching cost beside.
COMPUTE_SHARE, BANDWIDTH_SHARE = 0.25, 0.5
SECONDS_PER_STEP = 0.040  # all kernels of one decoding step of 24 layers, launched one by one
SECONDS_PER_LAUNCH = 10e-6
# Compressing, digesting and writing stores, by one core, as measured (docs/reference/stores.md).
STORE_BYTES_PER_SECOND = 250e6

XTTS_SECONDS_PER_CODE, XTTS_CODES_PER_SECOND = 0.025, 21.5
XTTS_BATCH, XTTS_WAVEFORM_SECONDS = 16, 0.01
# What the published config.json says beyond the library's defaults.
XTTS_PUBLISHED = {
    "gpt_num_audio_tokens": 1026, "gpt_start_audio_token": 1024, "gpt_stop_audio_token": 1025,
    "gpt_number_text_tokens": 6681, "gpt_start_text_token": 261, "gpt_stop_text_token": 0,
    "gpt_use_perceiver_resampler": True,
}  # fmt: skip


def _timed(
    work: Callable[[], object],
    synchronize: Callable[[], None],
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds of the second call."""
    work()
    synchronize()
    start = clock()
    work()
    synchronize()
    return clock() - start


class Measurement:
    """One device, and full-size modules on it one after another."""

    def __init__(
        self,
        device: str,
        threads: int,
        batches: dict[str, int],
        new_tokens: int,
        processor_time: bool,
    ):
        import torch

        from steplens.models.seamless.loading import ATTENTION, family_class

        torch.set_num_threads(threads)
        self.torch, self.device, self.batches = torch, torch.device(device), batches
        self.new_tokens, self.threads = new_tokens, threads
        self.processor_time = processor_time
        self.dtype = torch.float16 if self.device.type == "cuda" else torch.float32
        self.config = family_class({}, "Config")()  # v2 large
        self.config._attn_implementation = ATTENTION

    def module(self, name: str, **sizes: int):
        """A module of random weights in the dtype of the device."""
        import copy

        from steplens.models.seamless.loading import family_class

        gc.collect()
        config = copy.deepcopy(self.config)
        for key, value in sizes.items():
            setattr(config, key, value)
        with self.torch.device("meta"):
            module = family_class(config, name)(config)
        module = module.to(self.dtype).to_empty(device=self.device)
        module.tie_weights()
        with self.torch.no_grad():
            for values in (*module.parameters(), *module.buffers()):
                if values.is_floating_point():
                    values.uniform_(-0.02, 0.02)
        return module.eval()

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            self.torch.cuda.synchronize()

    def timed(self, work: Callable[[], object], threads: int | None = None) -> float:
        """Seconds of ``work``, on its second call; of the processor, shared by the threads, if asked."""
        with self.torch.inference_mode():
            if self.processor_time:
                spent = _timed(work, self.synchronize, time.process_time)
                return spent / (threads or self.threads)
            return _timed(work, self.synchronize)

    def random(self, *shape: int):
        """Normal numbers in the device's dtype."""
        return self.torch.randn(*shape, device=self.device, dtype=self.dtype)

    def ones(self, *shape: int):
        """A mask of all positions."""
        return self.torch.ones(*shape, device=self.device, dtype=self.torch.long)

    def tokens(self, *shape: int):
        """Random token ids."""
        return self.torch.randint(100, 250_000, shape, device=self.device)

    def stored(self, recorder, module: str, n_rows: int, states=None) -> None:
        """Write what a batch left behind, as the stages do."""
        import numpy as np

        from steplens.store.writer import StoreWriter

        lengths = None if states is None else [states.shape[1]] * n_rows
        seen = recorder.result(None if states is None else states.float(), lengths).on_host()
        with tempfile.TemporaryDirectory() as folder:
            path, utterances = Path(folder) / "s.zarr", np.arange(n_rows)
            with StoreWriter(
                path, utterances, _neurons(module), recorder.places, self.config.hidden_size, "float16", {}
            ) as store:  # fmt: skip
                store.write(utterances, seen.activation, seen.hidden_state, seen.states or None)

    def encode_speech(self) -> tuple[float, float]:
        """Seconds and units."""
        from steplens.hooks.recorder import Recorder
        from steplens.models.seamless.padding import isolate_padding

        n, frames = self.batches["encode"], round(50 * AUDIO_SECONDS)
        encoder = self.module("SpeechEncoder")
        isolate_padding(encoder)
        recorder = Recorder(encoder, self.config, "speech_encoder", "float16")
        features, mask = self.random(n, frames, 160), self.ones(n, frames)

        def work():
            lengths = encoder._compute_sub_sample_lengths_from_attention_mask(mask).long()
            recorder.begin(mask, self.ones(n, int(lengths.max())))
            states = encoder(features, attention_mask=mask).last_hidden_state
            self.stored(recorder, "speech_encoder", n, states)

        return self.timed(work), n * AUDIO_SECONDS

    def encode_text(self) -> tuple[float, float]:
        """Seconds and units."""
        from steplens.hooks.recorder import Recorder

        n = self.batches["encode"]
        encoder = self.module("Encoder")
        recorder = Recorder(encoder, self.config, "text_encoder", "float16")
        tokens, mask = self.tokens(n, TEXT_TOKENS), self.ones(n, TEXT_TOKENS)

        def work():
            recorder.begin(mask)
            states = encoder(tokens, attention_mask=mask).last_hidden_state
            self.stored(recorder, "text_encoder", n, states)

        return self.timed(work), n * TEXT_TOKENS

    def decoder(self):
        """The generating model whose text encoder has no layers."""
        if not hasattr(self, "_decoder"):
            self._decoder = self.module("ForTextToText", encoder_layers=0)
        return self._decoder

    def generate(self, n: int, intervention=None) -> None:
        """Greedy generation of a fixed number of tokens."""
        from steplens.generation.greedy import generate

        model = self.decoder()
        model.config.eos_token_id = -1  # no sentence ends
        states = self.random(n, STATES, 1024)
        mask = self.ones(n, STATES)
        generate(model, states, mask, [3, 1000], self.new_tokens, intervention)

    def decode(self) -> tuple[float, float]:
        """Seconds and units."""
        n = self.batches["decode"]
        return self.timed(lambda: self.generate(n)), n * self.new_tokens

    def steer(self) -> tuple[float, float]:
        """Seconds and units; a hundred sentences of one intervention follow each other."""
        import numpy as np

        from steplens.hooks.intervention import Intervention, Replacement

        n = self.batches["steer"]
        neurons = _neurons("decoder")
        columns = np.random.default_rng(1).choice(len(neurons), 2 * K, replace=False)
        table = neurons.iloc[np.sort(columns)][["layer", "submodule", "unit"]]
        fixed = Replacement(table.assign(value=0.1).reset_index(drop=True))
        every = min(100, max(1, n // 2))
        rows = [(slice(start, start + every), fixed) for start in range(0, n, every)]

        def work():
            self.generate(n, Intervention(self.decoder().text_decoder, rows))

        return self.timed(work), n * self.new_tokens

    def capture(self) -> tuple[float, float]:
        """Seconds and units."""
        from steplens.hooks.recorder import Recorder

        n = self.batches["capture"]
        text_decoder = self.decoder().text_decoder
        recorder = Recorder(text_decoder, self.config, "decoder", "float16")
        prefixes, mask = self.tokens(n, CAPTURE_STEP + 1), self.ones(n, STATES)
        states = self.random(n, STATES, 1024)

        def work():
            recorder.begin(self.torch.ones_like(prefixes), mask)
            text_decoder(
                input_ids=prefixes,
                encoder_hidden_states=states,
                encoder_attention_mask=mask,
                use_cache=False,
            )
            self.stored(recorder, "decoder", n)

        seconds = self.timed(work)
        recorder.close()
        return seconds, n

    def speech_xtts(self) -> tuple[float, float]:
        """Seconds and units: a batch of texts with a fixed number of codes, then their waveforms."""
        from TTS.tts.configs.xtts_config import XttsArgs, XttsConfig
        from TTS.tts.models.xtts import Xtts

        from steplens.speech.engines.xtts import settle_weights, vocode
        from steplens.speech.engines.xtts_batch import generate
        from steplens.speech.engines.xtts_sampling import Sampling

        n_codes = 64
        model = Xtts(XttsConfig(model_args=XttsArgs(**XTTS_PUBLISHED)))
        model.eval()  # which gives None
        model.to(self.device)
        settle_weights(model.hifigan_decoder.waveform_decoder)
        with self.torch.no_grad():  # no text ends
            model.gpt.mel_head.bias[model.gpt.stop_audio_token] = -1e4
        model.gpt.max_gen_mel_tokens = n_codes
        latent = self.torch.randn(1, 32, 1024, device=self.device)
        speaker = self.torch.randn(1, model.args.d_vector_dim, 1, device=self.device)
        texts = self.torch.randint(300, 6000, (XTTS_BATCH, n_codes // 5)).tolist()

        def work():
            spoken = generate(model.gpt, latent, texts, range(XTTS_BATCH), Sampling())
            vocode(model.hifigan_decoder, spoken, speaker)

        return self.timed(work), XTTS_BATCH * n_codes / XTTS_CODES_PER_SECOND


STAGES = (
    "encode_speech", "encode_text", "decode", "capture", "steer", *analysis.STAGES, "speech_xtts",
)  # fmt: skip
MODEL_OF = dict.fromkeys(analysis.STAGES, "any") | {"speech_xtts": "XTTS-v2"}


@cache
def _neurons(module: str):
    """The neuron table of v2 large: a job makes it once, not once a batch."""
    from steplens.models.neurons import neuron_table
    from steplens.planning.model import PUBLISHED

    return neuron_table(PUBLISHED[MODEL], module)


def _load_bytes(stage: str) -> float:
    """Bytes of weights that a job of a stage reads, in float32."""
    from steplens.planning.model import PUBLISHED, Model
    from steplens.planning.work import XTTS_BYTES

    if stage == "speech_xtts":
        return XTTS_BYTES
    module = {"encode_speech": "speech_encoder", "encode_text": "text_encoder"}.get(
        stage, "decoder"
    )
    return 4 * Model("", PUBLISHED[MODEL], "").n_parameters(module)


@cache
def _import_seconds(module: str) -> float:
    """Seconds until a fresh process could begin: those of a second one, as of most jobs."""
    for _ in range(2):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import steplens.{module}"], check=True)
    return time.perf_counter() - start


def measured(options: argparse.Namespace) -> Iterator:
    """A row a stage."""
    import torch

    from steplens.planning.inputs import cpu_name
    from steplens.planning.rates import Rate
    from steplens.planning.work import UNIT_OF

    on_gpu = torch.cuda.is_available() and not options.cpu
    name = torch.cuda.get_device_name() if on_gpu else cpu_name()
    batches = dict(zip(("encode", "decode", "capture", "steer"), options.batches, strict=True))
    measurement = Measurement(
        "cuda" if on_gpu else "cpu",
        options.threads,
        batches,
        options.new_tokens,
        options.processor_time and not on_gpu,
    )
    for stage in STAGES:
        if stage not in options.stages:
            continue
        runs_model = stage not in analysis.STAGES
        if (not runs_model or stage == "speech_xtts") and hasattr(measurement, "_decoder"):
            del measurement._decoder
            gc.collect()
        on_cpu = not on_gpu or not runs_model
        load = _import_seconds("recording.encode" if runs_model else "ranking.rank_condition")
        loaded = "load: imports measured"
        if runs_model:
            seconds, units = getattr(measurement, stage)()
            load += _load_bytes(stage) / READ_BYTES_PER_SECOND
            loaded += f", weights at {READ_BYTES_PER_SECOND / 1e9:g} GB/s assumed"
            batch = batches.get(stage.partition("_")[0])
            how = f"random weights, batch {batch}" if batch else "random weights, one at a time"
            if on_cpu:
                how += f", float32, {options.threads} threads"
        else:
            work, units, how = analysis.STAGES[stage]()
            seconds = measurement.timed(work, 1)
        if measurement.processor_time:
            how += ", processor time over threads"
        note = f"; {options.note}" if options.note else ""
        print(f"{stage}: {seconds:.2f} s for {units:g} x {UNIT_OF[stage]}", flush=True)
        yield Rate(
            stage, MODEL_OF.get(stage, MODEL), cpu_name() if on_cpu else name, UNIT_OF[stage],
            seconds / units, load, "measured",
            f"benchmarks/rates/measure.py, {date.today()}, {how}; {loaded}{note}",
        )  # fmt: skip


def rounds_of(measure: Callable[[], Iterable], n_rounds: int) -> Iterator:
    """Rows of several rounds, each as soon as it is known: the smallest so far, beside those of other rounds.

    Parameters
    ----------
    measure : callable
        Gives the rates of one round.
    n_rounds : int
    """
    found: dict[tuple[str, str, str], list] = {}
    for _ in range(n_rounds):
        _import_seconds.cache_clear()
        for rate in measure():
            rates = found.setdefault((rate.stage, rate.model, rate.device), [])
            rates.append(rate)
            yield fastest(rates)


def fastest(rates: list):
    """One row of the same row in several rounds."""
    best = min(rates, key=lambda one: one.seconds_per_unit)
    if len(rates) == 1:
        return best
    count = {2: "two", 3: "three"}.get(len(rates), str(len(rates)))
    *first, last = (f"{one.seconds_per_unit:.3g}" for one in rates)
    return replace(
        best,
        load_seconds=min(one.load_seconds for one in rates),
        source=f"{best.source}; {count} measurements: {', '.join(first)} and {last}",
    )


def estimated(_options: argparse.Namespace) -> Iterator:
    """Rows for ``GPUS``, from operations and bytes."""
    from steplens.planning.model import PUBLISHED, Model
    from steplens.planning.rates import Rate
    from steplens.planning.work import UNIT_OF

    large = Model(MODEL, PUBLISHED[MODEL], "")
    embedding = 1024 * PUBLISHED[MODEL]["vocab_size"]
    decoder = large.n_parameters("decoder")
    cross = 2 * 24 * 1024 * 1024  # keys and values of every encoder state

    def stored(module: str, states: float) -> float:
        return 2 * (large.n_neurons(module) + (large.n_hidden(module) + states) * 1024)

    for device, (peak, bandwidth) in GPUS.items():
        compute, memory = peak * COMPUTE_SHARE, bandwidth * BANDWIDTH_SHARE

        def dense(parameters: float, positions: float, compute=compute) -> float:
            return 2 * parameters * positions / compute

        def step(batch: int, interventions: float, dense=dense, memory=memory) -> float:
            cache = batch * STATES * 2 * 24 * 1024 * 2  # bytes of cross-attention keys and values
            hooks = 24 * 11 * (interventions > 0) * SECONDS_PER_LAUNCH
            read = (2 * decoder + cache) / memory
            return SECONDS_PER_STEP + max(read, dense(decoder, batch)) + hooks

        speech = dense(large.n_parameters("speech_encoder"), 50 * AUDIO_SECONDS)
        text = dense(large.n_parameters("text_encoder") - embedding, TEXT_TOKENS)
        one_pass = dense(decoder - embedding, CAPTURE_STEP + 1) + dense(cross, STATES)
        write = 1 / STORE_BYTES_PER_SECOND
        seconds = {
            "encode_speech": (speech + stored("speech_encoder", STATES) * write) / AUDIO_SECONDS,
            "encode_text": (text + stored("text_encoder", TEXT_TOKENS) * write) / TEXT_TOKENS,
            "decode": step(64, 0) / 64,
            "capture": one_pass + stored("decoder", 0) * write,
            "steer": step(640, 640 / 100 + 1) / 640,
            "speech_xtts": XTTS_SECONDS_PER_CODE / XTTS_BATCH * XTTS_CODES_PER_SECOND
            + XTTS_WAVEFORM_SECONDS,
        }
        for stage, value in seconds.items():
            how = (
                f"{XTTS_CODES_PER_SECOND} codes a second at {1000 * XTTS_SECONDS_PER_CODE:g} ms for the "
                f"codes of a batch of {XTTS_BATCH}, {XTTS_WAVEFORM_SECONDS:g} s a second for the waveform"
                if stage == "speech_xtts"
                else f"2 x parameters x positions at {COMPUTE_SHARE:.0%} of {peak / 1e12:g} TFLOP/s fp16, "
                f"reads at {BANDWIDTH_SHARE:.0%} of {bandwidth / 1e9:g} GB/s, "
                f"{1000 * SECONDS_PER_STEP:g} ms a decoding step for launches, stores at "
                f"{STORE_BYTES_PER_SECOND / 1e6:g} MB/s"
            )
            load = 10 + _load_bytes(stage) / READ_BYTES_PER_SECOND
            yield Rate(stage, MODEL_OF.get(stage, MODEL), device, UNIT_OF[stage], value, load,
                       "estimated", f"benchmarks/rates/measure.py --estimate: {how}")  # fmt: skip


def from_run(options: argparse.Namespace) -> Iterator:
    """Rows from the benchmarks of a finished run of the configuration config/config.yaml."""
    import yaml

    from steplens.config.run import parse_config
    from steplens.languages.table import load_languages
    from steplens.planning.inputs import (
        cpu_name,
        find_model,
        find_sentences,
        gpu_names,
        observed_rates,
    )
    from steplens.project import project_path

    os.chdir(ROOT)
    config = parse_config(yaml.safe_load(Path(options.configfile).read_text(encoding="utf-8")))
    known = load_languages()
    engine_of = {code: config.speech.engine_for(known[code]) for code in config.languages}
    model = find_model(config.model.path, config.model.revision)
    sentences, _ = find_sentences(config, engine_of, project_path(config.corpus.path))
    gpu = next(iter(gpu_names()), cpu_name())
    for rate in observed_rates(
        config, model, sentences, engine_of, Path(options.from_run), [], gpu, cpu_name()
    ):
        note = f"; {options.note}" if options.note else ""
        name = "any" if rate.stage == "speech_espeak" else rate.model
        yield replace(rate, model=name, source=f"benchmarks of {options.from_run}, {date.today()}"
                      f", with the start of the process{note}")  # fmt: skip


def main() -> None:
    """Measure and rewrite the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rates.measure", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--batches", nargs=4, type=int, default=[16, 64, 64, 640],
                        metavar=("ENCODE", "DECODE", "CAPTURE", "STEER"))  # fmt: skip
    parser.add_argument("--new-tokens", type=int, default=64, help="of every generated sentence")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=2, help="how often each stage is measured")
    parser.add_argument("--cpu", action="store_true", help="even with a GPU")
    parser.add_argument("--processor-time", action="store_true",
                        help="for a CPU that others use too")  # fmt: skip
    parser.add_argument("--estimate", action="store_true", help="do not measure")
    parser.add_argument(
        "--from-run", metavar="FOLDER", help="take the benchmarks of a finished run"
    )
    parser.add_argument("--configfile", default="config/config.yaml", help="of that run")
    parser.add_argument("--note", default="", help="for the column source")
    parser.add_argument("--dry-run", action="store_true", help="print, and leave the table alone")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT / "workflow"))
    from steplens.planning.rates import load_rates, write_rates

    if options.rounds < 1:
        parser.error(f"--rounds: expected 1 or more, got {options.rounds}")
    if options.estimate or options.from_run:
        rows = estimated(options) if options.estimate else from_run(options)
    else:
        rows = rounds_of(lambda: measured(options), options.rounds)
    for rate in rows:
        print(f"{rate.stage}, {rate.model}, {rate.device}: {rate.seconds_per_unit:.3g} s per "
              f"{rate.unit}, {rate.basis}", flush=True)  # fmt: skip
        if not options.dry_run:
            key = (rate.stage, rate.model, rate.device)
            others = [one for one in load_rates() if (one.stage, one.model, one.device) != key]
            write_rates([*others, rate])


if __name__ == "__main__":
    main()
