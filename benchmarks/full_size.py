"""Checks the model stages at full size, on random weights in the layout of the published checkpoint.

    python -m benchmarks.full_size                          # the second family; 9 GB in a temporary folder
    python -m benchmarks.full_size --family seamless_m4t    # the first, large
    python -m benchmarks.full_size --rounds 2 --write docs/results/full_size.md

Every measurement is a process of its own, with the shards out of the page cache before it starts. A round
takes some minutes on two cores. Run it while nothing else runs; seconds are printed of every round, of memory
and bytes the most. ``--write`` replaces the tables between the marks of a page.
"""

import argparse
import ctypes
import json
import mmap
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from steplens.models.checkpoint import check_checkpoint, checkpoint_digest
from steplens.models.files import ModelFiles, read_header
from steplens.models.neurons import MODULES, neuron_table
from steplens.models.seamless.tensors import tensor_shapes
from steplens.models.source import ModelSource

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "resources" / "demo" / "seamless-m4t-v2-demo"
SHARD_BYTES = 5_000_000_000
# Text-to-unit model and vocoder, which no stage reads, are one hole in the file of about their size.
OTHER_SHAPE = (300_000_000,)
EXPECTED_NEURONS = {"speech_encoder": 589_824, "text_encoder": 368_640, "decoder": 491_520}
SECONDS = (10.0, 5.06, 8.33)  # of the utterances; no multiples of the adapter's stride
TEXTS = [
    "heute findet der lehrer ein neues buch in der schule",
    "der koch",
    "am montag kauft er brot",
]
MARKS = ("<!-- tables -->", "<!-- end of tables -->")


def write_checkpoint(folder: Path, family: str) -> None:
    """Default config, random float32 weights in two shards, and the demo's tokenizer."""
    from steplens.models.seamless.loading import family_class

    config = family_class({"model_type": family}, "Config")()
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(DEMO / name, folder)
    config.save_pretrained(folder)
    shapes = {}
    for module in ("text_encoder", "speech_encoder", "decoder"):  # the order of the whole model
        shapes |= tensor_shapes(config, module)
    shapes["t2u_model.and.vocoder"] = OTHER_SHAPE
    shards, size = [{}], 0
    for name, shape in shapes.items():
        n_bytes = 4 * int(np.prod(shape))
        if size + n_bytes > SHARD_BYTES and shards[-1]:
            shards.append({})
            size = 0
        shards[-1][name] = {"dtype": "F32", "shape": shape, "data_offsets": [size, size + n_bytes]}
        size += n_bytes
    weight_map = {}
    for number, header in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        _write_shard(folder / file, header)
        weight_map |= dict.fromkeys(header, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _write_shard(path: Path, header: dict) -> None:
    content = json.dumps(header).encode()
    generator = np.random.default_rng(1)
    pool = generator.standard_normal(1 << 24, dtype=np.float32)
    with path.open("wb") as file:
        file.write(len(content).to_bytes(8, "little") + content)
        start = file.tell()
        for name, entry in header.items():
            file.seek(start + entry["data_offsets"][0])
            if tuple(entry["shape"]) == OTHER_SHAPE:
                file.truncate(start + entry["data_offsets"][1])
                continue
            left = int(np.prod(entry["shape"]))
            while left:
                part = pool[int(generator.integers(1 << 20)) :][: min(left, 1 << 23)]
                file.write(_scaled(name, entry["shape"], part))
                left -= len(part)


def _scaled(name: str, shape: tuple[int, ...], part: np.ndarray) -> np.ndarray:
    if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
        return np.ones_like(part)
    if len(shape) == 1:
        return 0.02 * part
    return part / np.float32(np.sqrt(np.prod(shape[1:])))


def write_inputs(folder: Path) -> None:
    """Three utterances, spoken (noise) and written."""
    import pandas as pd

    from steplens.files.atomic import write_parquet
    from steplens.files.audio import SAMPLING_RATE_HZ, write_wav
    from steplens.speech.takes import file_digest

    generator = np.random.default_rng(2)
    numbers = list(range(len(TEXTS)))
    corpus = {"utterance": numbers, "raw_transcription": TEXTS, "text": TEXTS, "split": "test"}
    write_parquet(pd.DataFrame(corpus), folder / "corpus.parquet")
    lengths = [int(seconds * SAMPLING_RATE_HZ) for seconds in SECONDS]
    for number, length in zip(numbers, lengths, strict=True):
        write_wav(folder / f"{number}.wav", generator.normal(0, 0.1, length).astype(np.float32))
    paths = [f"{n}.wav" for n in numbers]
    digests = [file_digest(folder / path) for path in paths]
    speech = {"utterance": numbers, "path": paths, "n_samples": lengths, "sha256": digests}
    write_parquet(pd.DataFrame(speech), folder / "speech.parquet")


# --- what each process does -------------------------------------------------------------------------


def load(folder: Path, module: str, dtype: str = "float32") -> dict:
    """Load one part, read every weight once, and see which bytes of the shards came into memory."""
    import torch

    from steplens.models.seamless import loading

    loaders = {
        "speech_encoder": loading.load_speech_encoder,
        "text_encoder": loading.load_text_encoder,
        "decoder": loading.load_decoder,
    }
    start = time.perf_counter()
    model = loaders[module](ModelSource(str(folder / "model"), None, dtype, "cpu"))
    seconds = time.perf_counter() - start
    return _loaded(model, torch, seconds, dtype)


def load_by_path(folder: Path, module: str) -> dict:
    """The decoder through transformers' from_pretrained on the folder, for comparison."""
    import torch

    from steplens.models.seamless.loading import family_class

    start = time.perf_counter()
    config = json.loads((folder / "model" / "config.json").read_text())
    model = family_class(config, "ForTextToText").from_pretrained(
        folder / "model", dtype=torch.float32, attn_implementation="sdpa", encoder_layers=0
    )
    return _loaded(model, torch, time.perf_counter() - start, "float32")


def _loaded(model, torch, seconds: float, dtype: str) -> dict:
    start = time.perf_counter()
    with torch.inference_mode():
        for parameter in model.parameters():
            parameter.sum()
    weights = {id(one): one for one in model.parameters()}.values()
    if {one.dtype for one in weights} != {getattr(torch, dtype)}:
        raise AssertionError(f"expected weights in {dtype}, got others")
    return {
        "load_seconds": seconds,
        "first_read_seconds": time.perf_counter() - start,
        "weight_bytes": sum(one.numel() * one.element_size() for one in weights),
    }


def stage_encode(folder: Path, modality: str, batch_size: int) -> dict:
    """The stage as the workflow runs it."""
    from steplens.recording.encode import encode

    output = folder / f"{modality}-{batch_size}.zarr"
    encode(
        _source(folder), modality, "deu", folder / "corpus.parquet", folder / "speech.parquet", output,
        "float16" if batch_size > 1 else "float32", batch_size, _made_by(folder),
    )  # fmt: skip
    return {"store_bytes": _size(output)}


def stage_decode(folder: Path) -> dict:
    """Greedy, from the stored states."""
    from steplens.generation.decode import decode

    store = folder / "speech-3.zarr"
    decode(
        _source(folder), "asr", "deu", "eng", store, folder / "asr.parquet", 8, 3, _made_by(folder)
    )
    return {"store_bytes": (folder / "asr.parquet").stat().st_size}


def stage_capture(folder: Path) -> dict:
    """Every decoder neuron at the second step."""
    from steplens.recording.capture import capture

    output = folder / "step-02.zarr"
    capture(
        _source(folder), "asr", "deu", 2, "eng", folder / "speech-3.zarr", folder / "asr.parquet",
        output, "float16", 3, _made_by(folder),
    )  # fmt: skip
    return {"store_bytes": _size(output)}


def _source(folder: Path) -> ModelSource:
    return ModelSource(str(folder / "model"), None, "float32", "cpu")


def _made_by(folder: Path) -> dict:
    """Which weights and which code, as stages want to be told."""
    checkpoint = checkpoint_digest(str(folder / "model"))
    return {"model": {"checkpoint": checkpoint, "dtype": "float32"}, "code": "full_size"}


def _size(path: Path) -> int:
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())


TASKS = {
    one.__name__: one for one in (load, load_by_path, stage_encode, stage_decode, stage_capture)
}


def measured(folder: Path, task: str, **options) -> dict:
    """Run a task in a process of its own, with the shards out of the page cache."""
    shards = sorted((folder / "model").glob("*.safetensors"))
    for shard in shards:
        with shard.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    before = _cached_bytes(shards)
    start = time.perf_counter()
    command = [sys.executable, "-m", __spec__.name, "--folder", str(folder), "--task", task]
    result = subprocess.run(
        [*command, json.dumps(options)], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise SystemExit(f"{task} {options} failed:\n{result.stderr[-3000:]}")
    numbers = json.loads(result.stdout.splitlines()[-1])
    numbers["seconds"] = time.perf_counter() - start
    numbers["cached_before_bytes"] = before
    numbers["read_bytes"] = _cached_bytes(shards)
    if task.startswith("load"):
        numbers |= _bytes_read(folder, shards, options["module"])
    print(f"  {task} {options}: {json.dumps(numbers)}", file=sys.stderr, flush=True)
    return numbers


def _bytes_read(folder: Path, shards: list[Path], module: str) -> dict:
    """Bytes of the part in the files, and how much of what else they hold came into memory."""
    wanted = tensor_shapes(json.loads((folder / "model" / "config.json").read_text()), module)
    located = ModelFiles(str(folder / "model")).locate(wanted).values()
    needed, others = 0, 0
    for shard in shards:
        header = read_header(shard)
        pages = _resident(shard)
        needed_pages = np.zeros(len(pages), dtype=bool)
        needed_pages[: min(one.begin for one in header.values()) // mmap.PAGESIZE + 1] = True
        for path, name in located:
            if path == shard:
                tensor = header[name]
                needed += tensor.end - tensor.begin
                first, last = tensor.begin // mmap.PAGESIZE, (tensor.end - 1) // mmap.PAGESIZE
                needed_pages[first : last + 1] = True
        others += int((pages & ~needed_pages).sum()) * mmap.PAGESIZE
    return {"needed_bytes": needed, "other_bytes": others}


def _cached_bytes(shards: list[Path]) -> int:
    return sum(int(_resident(shard).sum()) for shard in shards) * mmap.PAGESIZE


def _resident(path: Path) -> np.ndarray:
    """Which pages of a file are in the page cache."""
    with path.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE)
    pages = (len(mapped) + mmap.PAGESIZE - 1) // mmap.PAGESIZE
    flags = (ctypes.c_ubyte * pages)()
    view = ctypes.c_char.from_buffer(mapped)
    address, length = ctypes.c_void_p(ctypes.addressof(view)), ctypes.c_size_t(len(mapped))
    if ctypes.CDLL(None, use_errno=True).mincore(address, length, flags):
        raise OSError(ctypes.get_errno(), "mincore")
    del view
    mapped.close()
    return (np.frombuffer(flags, dtype=np.uint8) & 1).astype(bool)


def check_stores(folder: Path, config: dict) -> dict:
    """Neuron counts, shapes, and that a padded row equals the same row alone."""
    from steplens.store.reading import open_store, read_states

    shapes = {}
    for module, name in (
        ("speech_encoder", "speech-3"), ("text_encoder", "text-3"), ("decoder", "step-02"),
    ):  # fmt: skip
        store = open_store(folder / f"{name}.zarr")
        table = neuron_table(config, module)
        if store["activation"].shape != (len(TEXTS), len(table)):
            raise AssertionError(f"{name}: {store['activation'].shape} for {len(table)} neurons")
        if len(table) != EXPECTED_NEURONS[module]:
            raise AssertionError(f"{module}: {len(table)} neurons")
        shapes[module] = [list(store[one].shape) for one in ("activation", "hidden_state")]
    padding = {}
    for modality in ("speech", "text"):
        together, alone = (open_store(folder / f"{modality}-{n}.zarr") for n in (3, 1))
        pairs = zip(read_states(together), read_states(alone), strict=True)
        padding[f"{modality}_states"] = max(_difference(a, b) for a, b in pairs)
        # The batch is stored in float16, the rows alone in float32.
        a, b = together["activation"].to_numpy(), alone["activation"].to_numpy()
        padding[f"{modality}_activation"] = _difference(a, b)
    return {"shapes": shapes, "padding": padding}


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(np.float64) - other).max() / np.abs(other).max())


def run(folder: Path, family: str, n_rounds: int) -> dict:
    """All measurements, one round after another."""
    model = folder / "model"
    model.mkdir()
    start = time.perf_counter()
    write_checkpoint(model, family)
    print(f"  checkpoint written: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    write_inputs(folder)
    config = json.loads((model / "config.json").read_text())
    rounds = [one_round(folder) for _ in range(n_rounds)]
    tables = {
        kind: {name: together([one[kind][name] for one in rounds]) for name in rounds[0][kind]}
        for kind in ("loads", "stages")
    }
    return {
        **tables,
        **together([{"check_seconds": one["check_seconds"]} for one in rounds]),
        "checkpoint_bytes": _size(model),
        **check_stores(folder, config),
    }


def one_round(folder: Path) -> dict:
    """Every measurement once."""
    start = time.perf_counter()
    check_checkpoint(str(folder / "model"), ["deu", "eng"])
    check_seconds = time.perf_counter() - start
    loads = {module: measured(folder, "load", module=module) for module in MODULES}
    loads["decoder, as float16"] = measured(folder, "load", module="decoder", dtype="float16")
    loads["decoder, by from_pretrained(folder)"] = measured(
        folder, "load_by_path", module="decoder"
    )
    stages = {
        "encode speech": measured(folder, "stage_encode", modality="speech", batch_size=3),
        "encode text": measured(folder, "stage_encode", modality="text", batch_size=3),
        "decode asr": measured(folder, "stage_decode"),
        "capture asr, step 2": measured(folder, "stage_capture"),
    }
    for modality in ("speech", "text"):
        measured(folder, "stage_encode", modality=modality, batch_size=1)
    return {"check_seconds": check_seconds, "loads": loads, "stages": stages}


def together(rounds: list[dict]) -> dict:
    """The seconds of all rounds, as a list, and the most of everything else."""
    return {
        name: [one[name] for one in rounds]
        if name.endswith("seconds")
        else max(one[name] for one in rounds)
        for name in rounds[0]
    }


def tables(numbers: dict) -> str:
    """Markdown."""
    lines = [
        "| part | its bytes in the files (MB) | read (MB) | of other tensors (MB) | load (s) | "
        "first read of all weights (s) | peak memory (MB) |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, one in numbers["loads"].items():
        lines.append(
            f"| {name} | {_mb(one['needed_bytes'])} | {_mb(one['read_bytes'])} | "
            f"{one['other_bytes'] / 1e6:.2f} | {_seconds(one['load_seconds'])} | "
            f"{_seconds(one['first_read_seconds'])} | {_mb(one['peak_bytes'])} |"
        )
    lines += [
        "",
        f"| stage, {len(TEXTS)} utterances | seconds | read from the checkpoint (MB) | "
        "peak memory (MB) | store, kB an utterance |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, one in numbers["stages"].items():
        lines.append(
            f"| {name} | {_seconds(one['seconds'])} | {_mb(one['read_bytes'])} | {_mb(one['peak_bytes'])} | "
            f"{one['store_bytes'] / len(TEXTS) / 1e3:,.0f} |"
        )
    lines += ["", "| check | result |", "|---|---|"]
    for module, (activation, hidden) in numbers["shapes"].items():
        lines.append(
            f"| {module}: activation, hidden_state | {tuple(activation)}, {tuple(hidden)} |"
        )
    for name, value in numbers["padding"].items():
        lines.append(f"| padded row against the same row alone, {name} | {value:.1e} |")
    lines.append(f"| check before any job | {_seconds(numbers['check_seconds'], 2)} s |")
    lines.append(f"| checkpoint | {numbers['checkpoint_bytes'] / 1e9:.2f} GB |")
    return "\n".join(lines)


def _seconds(rounds: list[float], n_digits: int = 1) -> str:
    """Of every round, in their order."""
    return " / ".join(f"{seconds:.{n_digits}f}" for seconds in rounds)


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.0f}"


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.full_size", description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "--family", default="seamless_m4t_v2", choices=("seamless_m4t", "seamless_m4t_v2")
    )
    parser.add_argument("--rounds", type=int, default=2, help="how often all of it is measured")
    parser.add_argument("--write", type=Path, help="page whose tables are replaced")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--task", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error(f"--rounds: expected 1 or more, got {arguments.rounds}")
    if arguments.task:
        name, options = arguments.task
        numbers = TASKS[name](arguments.folder, **json.loads(options))
        numbers["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(numbers))
        return
    with tempfile.TemporaryDirectory(prefix="steplens-full-size-") as folder:
        text = tables(run(Path(folder), arguments.family, arguments.rounds))
    print(text)
    if arguments.write:
        page = arguments.write.read_text(encoding="utf-8")
        before, rest = page.split(MARKS[0])
        after = rest.split(MARKS[1])[1]
        content = f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{after}"
        arguments.write.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
