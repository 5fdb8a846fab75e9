"""Stores and what is computed from them: damaged, of another condition, too few utterances."""

import json
import shutil

import numpy as np
import pandas as pd
from small_stores import CONFIG, NEURONS, write_store

from bad_input.case import Case, World
from steplens.comparison.measures import overlap_matrix
from steplens.errors import ActivationError, StoreError, TableError
from steplens.files.atomic import read_csv, write_csv
from steplens.files.table_metadata import metadata_path
from steplens.hooks.recorder import require_finite
from steplens.models.neurons import neuron_table, place_names, slots
from steplens.ranking.scores.ap import average_precision
from steplens.ranking.table import Ranking, open_condition
from steplens.steering.choice import control_columns
from steplens.store.reading import open_store
from steplens.store.writer import StoreWriter


def activation(n: int, width: int = len(NEURONS)):
    return np.random.default_rng(1).normal(size=(n, width)).astype(np.float16)


def stores(languages=("deu", "jpn"), valid=None, **of_the_second):
    """Prepares a store a language; what is said of the second one differs from the first."""

    def prepare(world: World):
        found = {}
        for number, language in enumerate(languages):
            more = of_the_second if number else {}
            width = len(more.get("neurons", NEURONS))
            mask = None if valid is None else valid[language]
            path = world.folder / f"{language}.zarr"
            found[language] = write_store(path, activation(5, width), mask, **more)
        return found

    return prepare


def condition(found):
    return open_condition(found, True)


def one(change):
    """Prepares one store and changes it."""

    def prepare(world: World):
        path = stores(["deu"])(world)["deu"]
        change(path)
        return path

    return prepare


def no_mark(path):
    (path / "zarr.json").unlink()


def older(path):
    mark = json.loads((path / "zarr.json").read_text())
    mark["attributes"]["format_version"] = 2
    (path / "zarr.json").write_text(json.dumps(mark))


def edited(path):
    mark = json.loads((path / "zarr.json").read_text())
    mark["attributes"]["model"] = "another"
    (path / "zarr.json").write_text(json.dumps(mark))


def swapped(world: World):
    """The store of one language in the place of another's."""
    found = stores()(world)
    shutil.rmtree(found["jpn"])
    shutil.copytree(found["deu"], found["jpn"])
    return found


def left_out(world: World):
    """Speech of one language that is flagged in all utterances but one."""
    found = stores()(world)
    rows = [{"language": "jpn", "utterance": n, "left_out": n > 0} for n in range(5)]
    table = world.folder / "speech_quality.csv"
    write_csv(pd.DataFrame(rows), table)
    return found, table


def table(change):
    """Prepares a table and changes it, or what lies beside it."""

    def prepare(world: World):
        path = world.folder / "effects.csv"
        write_csv(pd.DataFrame({"language": ["deu", "jpn"], "difference": [-0.5, 0.25]}), path)
        change(path)
        return path

    return prepare


def by_hand(path):
    path.write_text(path.read_text().replace("-0.5", "-0.9"))


def alone(path):
    metadata_path(path).unlink()


def settings_by_hand(path):
    beside = metadata_path(path)
    beside.write_text(beside.read_text().replace("effects.csv", "quality.csv"))


def planted(value: float):
    """Activations with one value that is not finite."""

    def prepare(world: World):
        table = slots(CONFIG | {"model_type": "seamless_m4t_v2"}, "decoder")
        values = np.zeros((2, table[-1].columns.stop), np.float16)
        values[1, table[3].columns.start + 2] = value
        return (
            values,
            np.zeros((2, 3, 8), np.float16),
            np.array([41, 42]),
            table,
            "capture tr deu step 2",
        )

    return prepare


def ranking(world: World):
    shape = (2, len(NEURONS))
    values = np.zeros(shape), np.zeros(shape, np.float32), np.ones(2, int)
    return Ranking(["deu", "jpn"], *values, NEURONS, {})


def mixed_dtypes(world: World):
    """One language in float16, as all runs keep it, and one in float32."""
    found = stores(["deu"])(world) | {"jpn": world.folder / "jpn.zarr"}
    told = {"model": "demo", "revision": "r1", "language": "jpn"}
    places = place_names(2)
    with StoreWriter(found["jpn"], range(5), NEURONS, places, 8, "float32", told) as writer:
        writer.write(np.arange(5), activation(5), np.zeros((5, 3, 8)))
    return found


def lost_chunk(path):
    next(path.glob("activation/c.*")).unlink()


def flipped_bit(path):
    chunk = next(path.glob("activation/c.*"))
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)


def read_all(path):
    for _ in open_condition({"deu": path}, True).blocks():
        pass


NONE_VALID = {"deu": np.ones(5, bool), "jpn": np.zeros(5, bool)}
ONE_VALID = {"deu": np.ones(5, bool), "jpn": np.arange(5) == 2}
DROP = "drop the step or the language"

CASES = [
    Case("table: changed by hand, or damaged", table(by_hand), read_csv, TableError, "effects.csv",
         "{folder}/effects.csv", "expected content with sha256", "got", "delete the file and run"),
    Case("table: without its metadata", table(alone), read_csv, TableError, "effects.csv",
         "{folder}/effects.csv", "expected effects.csv-metadata.json beside it", "got none",
         "delete the file and run"),
    Case("table: metadata changed by hand, or damaged", table(settings_by_hand), read_csv, TableError,
         "effects.csv-metadata.json", "{folder}", "expected content with digest", "got", "delete {folder}"),
    Case("store: none there", lambda world: world.folder / "deu.zarr", open_store, StoreError, "store",
         "{folder}/deu.zarr", "expected a store", "got nothing there", "run the workflow again"),
    Case("store: an interrupted dump", one(no_mark), open_store, StoreError, "store", "{folder}/deu.zarr",
         "expected a store", "got an interrupted dump", "run the workflow again"),
    Case("store: of an older version", one(older), open_store, StoreError, "format_version",
         "{folder}/deu.zarr", "expected 3", "got 2", "delete the folder and run the workflow again"),
    Case("store: metadata that somebody edited", one(edited), open_store, StoreError, "damaged",
         "{folder}/deu.zarr/zarr.json", "expected metadata with digest", "got", "delete the folder"),
    Case("store: of another language", swapped, condition, StoreError, "language", "{folder}/jpn.zarr",
         "expected 'jpn'", "'deu'", "run the workflow again"),
    Case("store: of another model", stores(model="other"), condition, ValueError, "model",
         "{folder}/jpn.zarr", "expected demo", "got other", "run the workflow again"),
    Case("store: of another size", stores(neurons=neuron_table(CONFIG | {"decoder_layers": 3}, "decoder")),
         condition, ValueError, "neurons", "{folder}/jpn.zarr", f"expected {len(NEURONS)}",
         f"got {len(NEURONS) * 3 // 2}", "run the workflow again"),
    Case("store: of another precision", mixed_dtypes, condition, ValueError, "dtype", "{folder}/jpn.zarr",
         "expected float16", "got float32", "run the workflow again"),
    Case("store: a lost chunk", one(lost_chunk), read_all, StoreError, "chunk",
         "{folder}/deu.zarr/activation/c.", "expected a chunk", "got nothing", "run the workflow again"),
    Case("store: a flipped bit", one(flipped_bit), read_all, StoreError, "damaged",
         "{folder}/deu.zarr", "damaged", "activation/c.", "run the workflow again"),
    Case("store: no valid utterance at a step", stores(valid=NONE_VALID), condition, ValueError,
         "valid utterances", "{folder}/jpn.zarr", "expected at least 2", "jpn has 0", DROP),
    Case("store: one valid utterance at a step", stores(valid=ONE_VALID), condition, ValueError,
         "valid utterances", "{folder}/jpn.zarr", "expected at least 2", "jpn has 1", DROP),
    Case("store: nearly all speech is flagged", left_out,
         lambda given: open_condition(given[0], True, given[1]), ValueError, "valid utterances",
         "jpn.zarr", "expected at least 2", ("jpn has 1", "4 badly spoken"), "mend its speech"),
    Case("activations: infinity", planted(np.inf), lambda given: require_finite(*given), ActivationError,
         "unit 2", "capture tr deu step 2: utterance 42, layer 0", "expected a finite", "got inf", "float32"),
    Case("activations: NaN", planted(np.nan), lambda given: require_finite(*given), ActivationError,
         "unit 2", "capture tr deu step 2: utterance 42, layer 0", "expected a finite", "got nan",
         "float32"),
    Case("AP: a language without positives", lambda world: (activation(4), np.array([0, 0, 2, 2])),
         lambda given: average_precision(*given, n_classes=3), ValueError, "labels", "class [1]",
         "every class needs an example", "is empty", "", callers_own=True),
    Case("AP: labels of another length", lambda world: (activation(4), np.array([0, 1])),
         lambda given: average_precision(*given), ValueError, "labels", "an example", "expected 4",
         "got shape (2,)", "", callers_own=True),
    Case("AP: NaN", lambda world: (np.full((2, 3), np.nan, np.float32), np.array([0, 1])),
         lambda given: average_precision(*given), ValueError, "activations", "example 0, neuron 0",
         "expected finite values", "got nan", "", callers_own=True),
    Case("AP: another dtype", lambda world: (np.ones((2, 3), "f8"), np.array([0, 1])),
         lambda given: average_precision(*given), ValueError, "activations", "", "float16 or float32",
         "float64", "", callers_own=True),
    Case("overlap: k above the neurons", lambda world: np.ones((2, 5)),
         lambda ap: overlap_matrix(ap, ap, 6), ValueError, "k", "the number of neurons", "expected 1 to 5",
         "got 6", "", callers_own=True),
    Case("steering: k above half the neurons", ranking,
         lambda made: control_columns(made, "deu", len(NEURONS)), ValueError, "steering k",
         "half the neurons", f"expected at most {len(NEURONS) // 2}", f"got {len(NEURONS)}", "",
         callers_own=True),
]  # fmt: skip
