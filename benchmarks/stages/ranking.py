"""Ranking: AP and medians of every neuron for five languages, against scikit-learn and against reading.

The limit of a whole condition is reading its stores into memory and sorting every neuron, which is all
that the sweep over the sorted values needs.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numba import get_num_threads, njit, prange
from sklearn.metrics import average_precision_score

from steplens.models.neurons import neuron_table, place_names
from steplens.ranking.rank_condition import rank_condition
from steplens.ranking.scores.ap import rank, use_threads
from steplens.ranking.sorting import (
    NEURONS_AT_A_TIME,
    bit_patterns,
    gather,
    make_sortable,
    sort_packed,
)
from steplens.ranking.table import open_condition
from steplens.store.groups import NEURON_CHUNK, ROW_CHUNK
from steplens.store.writer import StoreWriter

from ..timing import Measurement, in_turns, measurement

N_LANGUAGES, N_UTTERANCES = 5, 1000
LABELS = np.repeat(np.arange(N_LANGUAGES), N_UTTERANCES)


def measure(full: bool = False, device: str = "cpu") -> Iterator[Measurement]:
    """One core against scikit-learn, all cores against one, float32 against float16, a condition."""
    all_cores = get_num_threads()
    yield from _kernel(all_cores)
    yield from _condition(all_cores, layers=24 if full else 2)


def _kernel(all_cores: int) -> Iterator[Measurement]:
    activations = _activations(4096)
    single = activations.astype(np.float32)
    few = activations[:, :8]

    def on(n_cores: int, values: np.ndarray):
        def call():
            use_threads(n_cores)
            rank(values, LABELS)

        return call

    ways = {
        "float16": on(1, activations),
        "float32": on(1, single),
        "scikit-learn": lambda: _scikit_learn(few),
        "all cores": on(all_cores, activations),
    }
    seconds = in_turns(ways, rounds=5)
    per_neuron = seconds["scikit-learn"] / few.shape[1] * activations.shape[1]
    size = (
        f"{len(LABELS):,} utterances × {N_LANGUAGES} languages × {activations.shape[1]:,} neurons"
    )
    yield measurement(
        "ranking", f"AP and medians, float16, one core, {size}", seconds["float16"],
        baseline="scikit-learn's average_precision_score and NumPy's median",
        baseline_seconds=per_neuron, at_least=150,
    )  # fmt: skip
    yield measurement(
        "ranking", f"AP and medians, float32, one core, {size}", seconds["float32"],
        limit="float16", limit_seconds=seconds["float16"], at_most=4,
    )  # fmt: skip
    if all_cores > 1:
        yield measurement(
            "ranking", f"AP and medians, float16, {all_cores} cores, {size}", seconds["all cores"],
            limit=f"a share of 1/{all_cores} of one core's time",
            limit_seconds=seconds["float16"] / all_cores, at_most=1.25,
        )  # fmt: skip


def _condition(all_cores: int, layers: int) -> Iterator[Measurement]:
    """The decoder at one step, in stores on disk: ranked as the workflow ranks it."""
    sizes = {"hidden_size": 1024, "decoder_ffn_dim": 8192, "decoder_layers": layers}
    neurons = neuron_table(sizes, "decoder")
    with tempfile.TemporaryDirectory() as folder:
        stores = {}
        for number, language in enumerate(("deu", "spa", "fra", "cmn", "jpn")):
            stores[language] = _write(Path(folder) / f"{language}.zarr", neurons, number)
        use_threads(all_cores)

        blocks = [slice(at, at + NEURON_CHUNK) for at in range(0, len(neurons), NEURON_CHUNK)]

        def read() -> np.ndarray:
            """The whole condition in memory, chunk by chunk, which is the fastest way."""
            condition = open_condition(stores, True)  # anew: xarray keeps what it has read
            whole = np.empty((len(LABELS), len(neurons)), np.float16)
            for block in blocks:
                for number, data in enumerate(condition.data):
                    rows = slice(number * N_UTTERANCES, (number + 1) * N_UTTERANCES)
                    whole[rows, block] = data["activation"][:, block].to_numpy()
            return whole

        def read_and_sort() -> None:
            whole = read()
            for block in blocks:
                _sort_all(bit_patterns(np.ascontiguousarray(whole[:, block])))

        def as_the_workflow() -> None:
            rank_condition(stores, Path(folder) / "ranking.zarr", True, all_cores)

        ways = {"ranked": as_the_workflow, "limit": read_and_sort, "read": read}
        seconds = in_turns(ways, rounds=3 if layers > 2 else 5)
    size = f"{len(LABELS):,} × {len(neurons):,} float16, {all_cores} cores"
    yield measurement(
        "ranking", f"a condition of the decoder from its stores, {size}", seconds["ranked"],
        limit="reading it into memory and sorting it", limit_seconds=seconds["limit"], at_most=1.5,
    )  # fmt: skip
    yield measurement(
        "ranking", f"a condition of the decoder, beside reading, {size}", seconds["ranked"],
        limit="reading it into memory", limit_seconds=seconds["read"],
    )  # fmt: skip


@njit(cache=True, parallel=True, nogil=True)
def _sort_all(bits):
    n_examples, n_neurons = bits.shape
    number = np.arange(n_examples).astype(np.uint16)
    for block in prange(-(-n_neurons // NEURONS_AT_A_TIME)):
        first = block * NEURONS_AT_A_TIME
        columns = np.empty((min(NEURONS_AT_A_TIME, n_neurons - first), n_examples), bits.dtype)
        gather(bits, first, columns)
        ordered = np.empty(n_examples, np.uint32)
        scratch = np.empty(n_examples, np.uint32)
        digits = np.empty((2, 256), np.uint32)
        for column in range(len(columns)):
            make_sortable(columns[column])
            sort_packed(columns[column], number, 16, ordered, scratch, digits)


def _activations(n_neurons: int, seed: int = 0) -> np.ndarray:
    """(5,000, n_neurons) float16; some neurons tell a language, most do not."""
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((len(LABELS), n_neurons), dtype=np.float32)
    values[:, ::10] += LABELS[:, None] == 2
    return values.astype(np.float16)


def _scikit_learn(activations: np.ndarray) -> None:
    for column in activations.T:
        for language in range(N_LANGUAGES):
            mine = language == LABELS
            average_precision_score(mine, column)
            np.median(column[mine])


def _write(path: Path, neurons, seed: int) -> Path:
    """A store of random activations: one window of rows, repeated with other signs and scales."""
    generator = np.random.default_rng(seed)
    window = generator.standard_normal((ROW_CHUNK, len(neurons)), dtype=np.float32)
    attributes = {"model": "random", "revision": None}
    with StoreWriter(
        path, range(N_UTTERANCES), neurons, place_names(1), 8, "float16", attributes
    ) as store:  # fmt: skip
        for start in range(0, N_UTTERANCES, ROW_CHUNK):
            rows = np.arange(start, min(start + ROW_CHUNK, N_UTTERANCES))
            scale = generator.uniform(0.5, 2, (len(rows), 1)).astype(np.float32)
            store.write(rows, window[: len(rows)] * scale, np.zeros((len(rows), 2, 8), np.float16))
    return path
