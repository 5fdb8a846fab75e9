"""Stores: the layout on disk against zarr's own choice and against the same bytes in a raw file.

``python -m benchmarks.stages.stores`` times other layouts, codecs and Zarr pipelines on the ways of using
a store, in turns, and prints them as the table of ``docs/reference/stores.md``. zarrs and tensorstore are
left out where they are not installed. Files go where ``TMPDIR`` says and stay in the system's cache: what is
measured is not the disk.
"""

import argparse
import contextlib
import importlib.util
import math
import multiprocessing
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import zarr
from zarr.codecs import BloscCodec, ZstdCodec

from steplens.models.neurons import neuron_table, place_names
from steplens.store.groups import NEURON_CHUNK, ROW_CHUNK, codec
from steplens.store.writer import SHARD_CHUNKS, StoreWriter

from ..timing import Measurement, in_turns, measurement

PAPER_SHAPE = (1_000, 491_520)  # a decoder store of seamless-m4t-v2-large
SMALL_SHAPE = (2 * ROW_CHUNK, SHARD_CHUNKS * NEURON_CHUNK)
HIDDEN_SIZE = 1024


def activations(n_rows: int, n_columns: int, seed: int = 0) -> np.ndarray:
    """Made-up (n_rows, n_columns) float16 activations.

    Scale by submodule, offset and a little of the scale by neuron: every codec below shrinks them as much
    as what the demo's decoder computes at t = 6, within 0.02.
    """
    generator = np.random.default_rng(seed)
    values = np.empty((n_rows, n_columns), dtype=np.float16)
    for start in range(0, n_columns, 1024):
        width = min(1024, n_columns - start)
        scale = 10 ** (generator.normal(-0.2, 0.2) + generator.normal(0, 0.05, width))
        block = generator.standard_normal((n_rows, width), dtype=np.float32)
        values[:, start : start + width] = (block + generator.normal(0, 0.7, width)) * scale
    return values


CHOSEN = "chosen"
CODECS = {
    CHOSEN: codec("float16"),
    "none": None,
    "zstd 3": ZstdCodec(level=3),
    "blosc zstd 3": BloscCodec(cname="zstd", clevel=3, shuffle="shuffle", typesize=2),
    "blosc zstd 5": BloscCodec(cname="zstd", clevel=5, shuffle="shuffle", typesize=2),
    "blosc lz4 5": BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=2),
    "blosc lz4 5, bits": BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle", typesize=2),
}
ZARR_PIPELINES = {
    "zarr": "zarr.core.codec_pipeline.BatchedCodecPipeline",
    "zarrs": "zarrs.ZarrsCodecPipeline",
}


@dataclass(frozen=True)
class Layout:
    """One way of keeping (utterance, neuron) activations."""

    rows: int | str = ROW_CHUNK  # of a chunk, or "auto": zarr's own choice of everything
    columns: int = NEURON_CHUNK
    chunks_per_file: int = SHARD_CHUNKS  # side by side
    codec: str = CHOSEN
    pipeline: str = "zarr"

    def create(self, path: Path, shape: tuple[int, int]) -> None:
        """Make an empty array."""
        if self.rows == "auto":
            zarr.create_array(path, shape=shape, dtype="float16", overwrite=True)
            return
        columns = min(self.columns, shape[1])
        in_file = min(self.chunks_per_file, math.ceil(shape[1] / columns))
        zarr.create_array(
            path,
            shape=shape,
            dtype="float16",
            chunks=(self.rows, columns),
            shards=None if in_file == 1 else (max(self.rows, ROW_CHUNK), columns * in_file),
            compressors=CODECS[self.codec],
            fill_value=0,
            overwrite=True,
        )

    def n_files(self, shape: tuple[int, int]) -> int:
        """Files with data in them."""
        if self.rows == "auto":
            array = zarr.create_array({}, shape=shape, dtype="float16")
            return math.prod(array.cdata_shape)
        rows = self.rows if self.chunks_per_file == 1 else max(self.rows, ROW_CHUNK)
        width = self.columns * self.chunks_per_file
        return math.ceil(shape[0] / rows) * math.ceil(shape[1] / width)


ZARR_DEFAULTS = Layout("auto", codec="")


class Files:
    """One array in one layout, or in a raw file (``layout=None``), and what is done with it."""

    def __init__(self, layout: Layout | None, path: Path, window: np.ndarray, n_rows: int):
        self.layout, self.path, self.window = layout, path, window
        self.shape = (n_rows, window.shape[1])
        self.all_rows = slice(0, n_rows)

    def write(self) -> None:
        """As a dump does: ``ROW_CHUNK`` utterances after another, a file at a time."""
        if self.layout is None:
            with self.path.open("wb") as file:
                for rows in self._windows():
                    self.window[: rows.stop - rows.start].tofile(file)
            return
        shutil.rmtree(self.path, ignore_errors=True)
        self.layout.create(self.path, self.shape)
        width = self.layout.columns * self.layout.chunks_per_file
        with self._opened() as array:
            for rows in self._windows():
                for column in range(0, self.shape[1], width):
                    part = slice(column, min(column + width, self.shape[1]))
                    values = self.window[: rows.stop - rows.start, part]
                    if isinstance(array, zarr.Array):
                        array[rows, part] = values
                    else:
                        array[rows, part].write(values).result()

    def blocks(self) -> None:
        """As a ranking does: all rows of ``NEURON_CHUNK`` columns after another."""
        for start in range(0, self.shape[1], NEURON_CHUNK):
            self.read(self.all_rows, slice(start, start + NEURON_CHUNK))

    def whole(self) -> None:
        """All at once."""
        self.read(self.all_rows, slice(0, self.shape[1]))

    def utterance(self) -> None:
        """All neurons of one utterance."""
        row = self.shape[0] // 2
        self.read(slice(row, row + 1), slice(0, self.shape[1]))

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """A part of it, in memory."""
        columns = slice(columns.start, min(columns.stop, self.shape[1]))
        if self.layout is None:
            raw = np.memmap(self.path, dtype=np.float16, mode="r", shape=self.shape)
            return np.array(raw[rows, columns])
        with self._opened() as array:
            part = array[rows, columns]
            return part if isinstance(part, np.ndarray) else part.read().result()

    def check(self) -> None:
        """It holds what was written."""
        columns = slice(self.shape[1] - 100, self.shape[1])
        expected = self.window[np.arange(self.shape[0]) % ROW_CHUNK, columns]
        np.testing.assert_array_equal(self.read(self.all_rows, columns), expected)

    @property
    def n_bytes(self) -> int:
        """Bytes of all files."""
        if self.path.is_file():
            return self.path.stat().st_size
        return sum(one.stat().st_size for one in self.path.rglob("*") if one.is_file())

    def _windows(self) -> Iterator[slice]:
        for start in range(0, self.shape[0], ROW_CHUNK):
            yield slice(start, min(start + ROW_CHUNK, self.shape[0]))

    @contextlib.contextmanager
    def _opened(self):
        if self.layout.pipeline == "tensorstore":
            yield _tensorstore(self.path)
            return
        with zarr.config.set({"codec_pipeline.path": ZARR_PIPELINES[self.layout.pipeline]}):
            yield zarr.open_array(self.path, config={"write_empty_chunks": True})


def _tensorstore(path: Path):
    import tensorstore

    context = tensorstore.Context(
        {
            "data_copy_concurrency": {"limit": len(os.sched_getaffinity(0))},
            "file_io_sync": False,  # zarr leaves that to the system, too
        }
    )
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}
    return tensorstore.open(spec, context=context).result()


def measure(full: bool = False, device: str = "cpu") -> Iterator[Measurement]:
    """Write and read one store's activations."""
    shape = PAPER_SHAPE if full else SMALL_SHAPE
    rounds = 3 if full else 5
    size = f"{shape[0]:,} x {shape[1]:,} float16"
    window = activations(ROW_CHUNK, shape[1])
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        layouts = {"ours": Layout(), "defaults": ZARR_DEFAULTS, "raw": None}
        files = {
            name: Files(layout, folder / name, window, shape[0]) for name, layout in layouts.items()
        }
        writing = {name: one.write for name, one in files.items()}
        writing["dump"] = lambda: _dump(folder / "dump.zarr", shape, window)
        seconds = in_turns(writing, rounds)
        for one in files.values():
            one.check()
        raw = {"limit": "a raw file", "limit_seconds": seconds["raw"]}
        yield measurement(
            "stores", f"write {size}, window by window", seconds["ours"],
            baseline="zarr's defaults", baseline_seconds=seconds["defaults"], **raw,
        )  # fmt: skip
        yield measurement(
            "stores", f"dump {size}, digest and commit included", seconds["dump"], **raw
        )
        for name, words in (("blocks", "block by block"), ("utterance", "one utterance of")):
            seconds = in_turns({key: getattr(one, name) for key, one in files.items()}, rounds)
            yield measurement(
                "stores", f"read {size}, {words}" if name == "blocks" else f"read {words} {size}",
                seconds["ours"],
                baseline="zarr's defaults", baseline_seconds=seconds["defaults"],
                limit="a raw file", limit_seconds=seconds["raw"],
            )  # fmt: skip


def _dump(path: Path, shape: tuple[int, int], window: np.ndarray) -> None:
    """A whole store through the writer that the stages use."""
    layers = shape[1] // 20_480
    config = {"hidden_size": HIDDEN_SIZE, "decoder_ffn_dim": 8192, "decoder_layers": layers}
    neurons = neuron_table(config, "decoder")
    places = place_names(24)
    hidden = np.zeros((ROW_CHUNK, len(places), HIDDEN_SIZE), dtype=np.float16)
    with StoreWriter(path, range(shape[0]), neurons, places, HIDDEN_SIZE, "float16", {}) as store:
        for start in range(0, shape[0], 32):
            rows = np.arange(start, min(start + 32, shape[0]))
            store.write(rows, window[rows % ROW_CHUNK], hidden[rows % ROW_CHUNK])


ONE_FILE_A_CHUNK = 1
CANDIDATES = [
    Layout(),
    Layout(codec="none"),
    Layout(codec="zstd 3"),
    Layout(codec="blosc zstd 3"),
    Layout(codec="blosc zstd 5"),
    Layout(codec="blosc lz4 5"),
    Layout(codec="blosc lz4 5, bits"),
    Layout(pipeline="zarrs"),
    Layout(pipeline="tensorstore"),
    Layout(codec="none", pipeline="tensorstore"),
    Layout(chunks_per_file=ONE_FILE_A_CHUNK),
    Layout(rows=64),
    Layout(columns=4096, chunks_per_file=40),
    Layout(columns=65_536, chunks_per_file=2),
    Layout(rows=1000, chunks_per_file=ONE_FILE_A_CHUNK),
    ZARR_DEFAULTS,
]
ON_ONE_CORE = [
    Layout(),
    Layout(codec="none"),
    Layout(pipeline="zarrs"),
    Layout(pipeline="tensorstore"),
]


def candidates(
    n_cores: int, layouts: list[Layout], shape: tuple[int, int] = SMALL_SHAPE, rounds: int = 3
) -> pd.DataFrame:
    """Time layouts and a raw file in turns, in a process of its own: one row a layout.

    Parameters
    ----------
    n_cores : int
    layouts : list of Layout
    shape : (int, int)
        Of the array. Files, too, are counted for ``PAPER_SHAPE``.
    rounds : int
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        multiprocessing.get_context("spawn").Pool(1) as pool,
    ):
        return pool.apply(_candidates, (n_cores, layouts, shape, rounds, Path(folder)))


def _candidates(n_cores, layouts, shape, rounds, folder) -> pd.DataFrame:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:n_cores])
    zarr.config.set({"threading.max_workers": n_cores})
    window = activations(ROW_CHUNK, shape[1])
    size = 2 * math.prod(shape)
    layouts = [None, *[one for one in layouts if _installed(one.pipeline)]]
    files = [Files(one, folder / str(i), window, shape[0]) for i, one in enumerate(layouts)]
    calls = {}
    for number, one in enumerate(files):
        one.write()
        one.check()
        for use in ("write", "blocks", "whole", "utterance"):
            calls[number, use] = _CpuTimed(getattr(one, use))
    seconds = in_turns(calls, rounds)
    rows = []
    for number, (layout, one) in enumerate(zip(layouts, files, strict=True)):
        row = dict.fromkeys(Layout.__dataclass_fields__, "raw") | {"cores": n_cores}
        row["files"] = 1
        if layout is not None:
            row |= layout.__dict__ | {"files": layout.n_files(PAPER_SHAPE)}
        row["size"] = one.n_bytes / size
        for use in ("write", "blocks", "whole"):
            row[f"{use}_MB_s"] = size / 1e6 / np.median(seconds[number, use])
            row[f"{use}_times_raw"] = np.median(seconds[number, use] / seconds[0, use])
            row[f"{use}_cpu_s_a_GB"] = np.median(calls[number, use].seconds[1:]) / size * 1e9
        row["utterance_ms"] = 1e3 * np.median(seconds[number, "utterance"])
        rows.append(row)
    return pd.DataFrame(rows)


def _installed(pipeline: str) -> bool:
    return importlib.util.find_spec(pipeline) is not None


class _CpuTimed:
    """A call whose processor seconds, of all threads, are kept."""

    def __init__(self, call: Callable[[], object]):
        self._call = call
        self.seconds: list[float] = []

    def __call__(self) -> None:
        start = time.process_time()
        self._call()
        self.seconds.append(time.process_time() - start)


def markdown(table: pd.DataFrame) -> str:
    """The table of ``docs/reference/stores.md``: processor seconds, which a busy machine hardly changes."""
    lines = [
        "| chunk | chunks a file | codec | pipeline | cores | files | size | write | blocks | whole "
        "| an utterance |",
        "|---|---|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in table.to_dict("records"):
        name = {"raw": "raw file", "auto": "zarr's defaults"}.get(row["rows"])
        layout = [name, "", "", ""]
        if name is None:
            chunk = f"{int(row['rows']):,} × {int(row['columns']):,}"
            layout = [chunk, row["chunks_per_file"], row["codec"], row["pipeline"]]
        seconds = [f"{row[f'{use}_cpu_s_a_GB']:.1f}" for use in ("write", "blocks", "whole")]
        numbers = [
            f"{row['files']:,}",
            f"{row['size']:.2f}",
            *seconds,
            f"{row['utterance_ms']:.0f}",
        ]
        cells = [*layout, row["cores"], *numbers]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    """Write ``store_layouts.csv`` and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages.stores", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("results/bench"))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    parts = [(2, CANDIDATES), (1, ON_ONE_CORE)]
    table = pd.concat([candidates(n, some, rounds=arguments.rounds) for n, some in parts])
    table.to_csv(arguments.output / "store_layouts.csv", index=False, float_format="%.4g")
    print(markdown(table))


if __name__ == "__main__":
    main()
