"""Stages at a tiny size, for crash_points.py: how their inputs are made, how they run, what is whole."""

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import made_up_run
import numpy as np
import pandas as pd

ROWS = 10
WINDOW = 4  # utterances: three windows a store
LANGUAGES = ("deu", "jpn")


@dataclass(frozen=True)
class Stage:
    """One stage; every function takes a folder with ``results`` and what the stage reads."""

    prepare: Callable[[Path], None]
    run: Callable[[Path], None]
    check: Callable[[Path], None]
    imports: tuple[str, ...]
    ignored: tuple[str, ...] = ()


def _small_windows():
    from steplens.store import check as store_check
    from steplens.store import writer

    for module in (store_check, writer):
        module.ROW_CHUNK = WINDOW
    for name in ("recording.dump", "recording.encode"):  # loaded only where there is a model
        if f"steplens.{name}" in sys.modules:
            sys.modules[f"steplens.{name}"].ROW_CHUNK = WINDOW
    writer.NEURON_CHUNK, writer.SHARD_CHUNKS, writer.STATE_CHUNK = 64, 3, 16


def _one_thread():
    import torch

    torch.set_num_threads(1)


def check_all(folder):
    """Whatever has a commit mark, or the name of a finished table, is whole."""
    _small_windows()
    from steplens.errors import TableError
    from steplens.files.atomic import read_csv, read_parquet
    from steplens.ranking.table import open_ranking
    from steplens.run.result_checks import Note, check_audio
    from steplens.store.check import check_store

    for table in sorted(folder.rglob("[!.]*.csv")):
        with contextlib.suppress(TableError):  # a table beside another one's metadata is found
            read_csv(table)
    for kind, end in (("svg", b"</svg>\n"), ("png", b"IEND\xaeB`\x82"), ("html", b"</html>")):
        for path in folder.rglob(f"[!.]*.{kind}"):
            assert path.read_bytes().endswith(end), path
    for mark in sorted(folder.rglob("*.zarr/zarr.json")):
        (open_ranking if "ranking" in str(mark) else check_store)(mark.parent)
    for table in sorted(folder.rglob("*.parquet")):
        if table.name.startswith("."):
            continue  # what a killed writer left under the name it was to be renamed from
        read_parquet(table)
        if table.parent.name == "speech":
            assert all(isinstance(one, Note) for one in check_audio(table))


# --- a store, without a model -----------------------------------------------------------------------


def _no_inputs(folder):
    folder.mkdir(parents=True)


def _write_store(folder, language="deu", shift=0.0):
    _small_windows()
    from steplens.models.neurons import neuron_table, place_names
    from steplens.store.writer import StoreWriter

    neurons = neuron_table(
        {"hidden_size": 8, "decoder_ffn_dim": 16, "decoder_layers": 2}, "decoder"
    )
    generator = np.random.default_rng(len(language) + ord(language[0]))
    attributes = {"model": "m", "revision": "", "language": language, "task": "asr", "step": 1}
    attributes |= {"module": "decoder"}
    path = folder / "stores" / f"{language}.zarr"
    with StoreWriter(
        path, range(ROWS), neurons, place_names(2), 8, "float16", attributes, {"batch_size": 2}
    ) as store:
        store.add("valid", np.ones(ROWS, dtype=bool))
        activation = generator.normal(shift, 1, (ROWS, len(neurons))).astype(np.float16)
        hidden = generator.normal(size=(ROWS, 3, 8)).astype(np.float16)
        states = [generator.normal(size=(n, 8)).astype(np.float32) for n in range(5, 5 + ROWS)]
        for row in range(store.n_kept, ROWS):
            rows = np.array([row])
            store.write(rows, activation[rows], hidden[rows], [states[row]])


def _write_stores(folder):
    for number, language in enumerate(LANGUAGES):
        _write_store(folder, language, float(number))


def _rank(folder):
    from steplens.ranking.rank_condition import rank_condition

    stores = {one: folder / "stores" / f"{one}.zarr" for one in LANGUAGES}
    output = folder / "ranking.zarr" / "zarr.json"
    rank_condition(stores, output, True, 1, None, {"task": "asr", "step": 1})


# --- what people read: a table, a figure, the report ------------------------------------------------


def _made_up_tables(folder):
    from steplens.files.atomic import write_csv, write_text
    from steplens.report.page import FIGURES

    run = folder / "small"  # the report says its name
    for name, frame in made_up_run.frames().items():
        write_csv(frame, run / name)
    for number in FIGURES:
        write_text(run / "figures" / f"figure{number}.svg", "<svg></svg>\n")


def _show(folder):
    from steplens.figures.drawing import figure4
    from steplens.files.atomic import read_csv, write_csv
    from steplens.report.page import write_report

    run = folder / "small"
    comparison = run / "comparison"
    overlap = run / "overlap.csv"
    write_csv(read_csv(comparison / "overlap.csv"), overlap)
    figure4(overlap, comparison / "overlap_summary.csv", run / "figures" / "figure4")
    shown = run / "report.html"
    write_report(
        **made_up_run.report_files(run), output=shown, settings={"run": "small"}, versions={},
        provenance={"Model": "m"},
    )  # fmt: skip


# --- stages of the model ----------------------------------------------------------------------------


def _corpus(folder):
    from steplens.files.atomic import write_parquet

    texts = [f"{'ein haus und ' * (n % 4)}der koch {n}" for n in range(ROWS)]
    corpus = pd.DataFrame(
        {"utterance": range(50, 50 + ROWS), "raw_transcription": texts, "text": texts,
         "split": "test", "recordings": "[]"}
    )  # fmt: skip
    write_parquet(corpus, folder / "corpus" / "deu.parquet")


def _source():
    from steplens.models.source import ModelSource

    return ModelSource(str(Path(sys.argv[1]).resolve() / "checkpoint"), None, "float32", "cpu")


def _made_by():
    from steplens.models.checkpoint import checkpoint_digest

    return {"model": {"checkpoint": checkpoint_digest(_source().path)}, "code": "a"}


def _encode(folder):
    _small_windows()
    _one_thread()
    from steplens.recording.encode import encode

    encode(
        _source(), "text", "deu", folder / "corpus" / "deu.parquet", None,
        folder / "text" / "deu.zarr" / "zarr.json", "float16", batch_size=3, made_by=_made_by(),
    )  # fmt: skip


def _decode(folder):
    _one_thread()
    from steplens.generation.decode import decode

    decode(
        _source(), "tr", "deu", "", folder / "text" / "deu.zarr", folder / "tr" / "deu.parquet",
        max_new_tokens=6, batch_size=4, made_by=_made_by(),
    )  # fmt: skip


def _capture(folder):
    _small_windows()
    _one_thread()
    from steplens.recording.capture import capture

    capture(
        _source(), "tr", "deu", 2, "", folder / "text" / "deu.zarr", folder / "tr" / "deu.parquet",
        folder / "decoder" / "step-02.zarr" / "zarr.json", "float16", batch_size=3, made_by=_made_by(),
    )  # fmt: skip


def _steer(folder):
    _one_thread()
    from steplens.steering.steer import steer

    outputs = {step: folder / "steered" / f"step-{step:02d}.parquet" for step in (1, 2)}
    rankings = {step: folder / f"ranking-{step}.zarr" for step in (1, 2)}
    steer(
        _source(), "tr", "deu", rankings, folder / "text" / "deu.zarr", outputs, k=10, n_utterances=4,
        n_random=1, seed=1, max_new_tokens=5, batch_size=5, made_by=_made_by(),
    )  # fmt: skip


def _rankings(folder):
    from steplens.models.neurons import neuron_table
    from steplens.models.provenance import provenance
    from steplens.models.seamless.loading import load_config
    from steplens.ranking.table import Ranking, write_ranking

    neurons = neuron_table(load_config(_source()), "decoder")
    for step in (1, 2):
        generator = np.random.default_rng(step)
        ap = generator.random((2, len(neurons)))
        median = generator.normal(size=ap.shape).astype(np.float32)
        ranking = Ranking(
            list(LANGUAGES),
            ap,
            median,
            np.full(2, 9),
            neurons,
            {},
            provenance(_source(), _made_by(), {}),
        )
        write_ranking(folder / f"ranking-{step}.zarr", ranking, {"task": "asr", "step": step})


def _speak(folder):
    from steplens.languages.table import load_languages
    from steplens.speech.speak import synthesize_corpus

    checks = {"min_seconds_per_character": 0.0, "max_seconds_per_character": 9.0,
              "max_silent_share": 1.0, "max_clipped_share": 1.0, "max_attempts": 2}  # fmt: skip
    synthesize_corpus(
        folder / "corpus" / "deu.parquet", load_languages()["deu"], "espeak",
        {"words_per_minute": 300}, checks, {}, 1, 1, folder / "speech" / "deu.parquet",
    )  # fmt: skip


def _after(*steps):
    def prepare(folder):
        for step in steps:
            step(folder)

    return prepare


_STORES = ("store.writer", "ranking.table", "run.verify")
_MODEL = (*_STORES, "recording.encode", "generation.decode", "recording.capture", "steering.steer")
STAGES = {
    "store": Stage(_no_inputs, _write_stores, check_all, _STORES),
    "rank": Stage(
        _after(_no_inputs, _write_stores), _rank, check_all, (*_STORES, "ranking.rank_condition")
    ),
    "show": Stage(
        _made_up_tables, _show, check_all, ("figures.drawing", "report.page", "run.verify")
    ),
    "speech": Stage(_corpus, _speak, check_all, ("speech.speak", "run.verify"), ("takes.jsonl",)),
    "encode": Stage(_corpus, _encode, check_all, _MODEL),
    "decode": Stage(_after(_corpus, _encode), _decode, check_all, _MODEL),
    "capture": Stage(_after(_corpus, _encode, _decode), _capture, check_all, _MODEL),
    "steer": Stage(_after(_corpus, _encode, _rankings), _steer, check_all, _MODEL, (".parts",)),
}
