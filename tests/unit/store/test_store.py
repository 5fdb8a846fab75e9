"""A store keeps what was written, opens in xarray, and is there only when it is whole (D9)."""

import contextlib
import hashlib
import json
import math
import shutil

import numpy as np
import pytest
import xarray as xr
import zarr

from steplens.errors import StoreError
from steplens.models.neurons import neuron_table, place_names
from steplens.store import check, groups
from steplens.store import journal as dump_journal
from steplens.store import writer as store_writer
from steplens.store.check import check_store
from steplens.store.groups import COMMIT_MARK, NEURON_CHUNK, ROW_CHUNK, create_array, group_path
from steplens.store.reading import open_store, read_states
from steplens.store.writer import SHARD_CHUNKS, StoreWriter

CONFIG = {"hidden_size": 2, "decoder_ffn_dim": 3, "decoder_layers": 2}
NEURONS = neuron_table(CONFIG, "decoder")
COORDINATES = ("utterance", "place", "layer", "submodule", "unit", "step_invariant")
PLACES = place_names(2)
HIDDEN_SHAPE = (len(PLACES), 2)
N_ROWS = 2 * ROW_CHUNK + 37  # two whole windows and a part of one


def made_up(n_rows, seed=1):
    """Activations, hidden states and ragged final states; zeros and NaN among them."""
    generator = np.random.default_rng(seed)
    activation = generator.normal(size=(n_rows, len(NEURONS))).astype(np.float16)
    activation[::3, :2] = 0
    activation[1::7] = np.nan
    hidden = generator.normal(size=(n_rows, *HIDDEN_SHAPE)).astype(np.float16)
    states = [
        generator.normal(size=(length, 2)).astype(np.float16)
        for length in generator.integers(1, 6, n_rows)
    ]
    return activation, hidden, states


def write_store(path, data, shuffle=None, batch=50, dtype="float16", **attributes):
    """Write ``data`` in batches; ``shuffle`` seeds another order of rows within each window."""
    activation, hidden, states = data
    n_rows = len(activation)
    provenance = {"model": "m", "revision": None} | attributes
    with StoreWriter(
        path, range(100, 100 + n_rows), NEURONS, PLACES, 2, dtype, provenance
    ) as writer:
        for start in range(0, n_rows, ROW_CHUNK):
            rows = np.arange(start, min(start + ROW_CHUNK, n_rows))
            if shuffle is not None:
                rows = np.random.default_rng(shuffle).permutation(rows)
            for some in np.split(rows, range(batch, len(rows), batch)):
                writer.write(
                    some, activation[some], hidden[some], states and [states[row] for row in some]
                )
        writer.add("valid", np.isfinite(activation).all(axis=1))
    return path


@pytest.mark.parametrize("shuffle", [None, 5])
def test_what_was_written_comes_back(tmp_path, shuffle):
    """Over several windows, rows in any order within each, states of any length."""
    activation, hidden, states = data = made_up(N_ROWS)
    opened = open_store(write_store(tmp_path / "one.zarr", data, shuffle))
    np.testing.assert_array_equal(opened["activation"], activation)
    np.testing.assert_array_equal(opened["hidden_state"], hidden)
    np.testing.assert_array_equal(opened["valid"], np.isfinite(activation).all(axis=1))
    np.testing.assert_array_equal(opened["utterance"], np.arange(100, 100 + N_ROWS))
    assert opened["activation"].dtype == np.float16
    assert opened["valid"].dtype == bool
    back = read_states(opened)
    assert len(back) == N_ROWS
    for one, other in zip(back, states, strict=True):
        np.testing.assert_array_equal(one, other)


def test_float32_is_kept_where_it_is_asked_for(tmp_path):
    activation, hidden, _ = made_up(3)
    data = activation.astype("f4") * np.float32(1.0001), hidden.astype("f4"), None
    opened = open_store(write_store(tmp_path / "one.zarr", data, dtype="float32"))
    assert opened["activation"].dtype == np.float32
    np.testing.assert_array_equal(opened["activation"], data[0])


@pytest.fixture
def small_chunks(monkeypatch):
    """Several chunks a file, several files a window, and states over many chunks."""
    monkeypatch.setattr(store_writer, "NEURON_CHUNK", 5)
    monkeypatch.setattr(store_writer, "SHARD_CHUNKS", 3)
    monkeypatch.setattr(store_writer, "STATE_CHUNK", 100)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_many_chunks_and_files_give_the_same(tmp_path, small_chunks, dtype):
    """Neither the neurons nor the positions are a multiple of a chunk."""
    assert len(NEURONS) % 5
    activation, hidden, states = data = made_up(N_ROWS, seed=7)
    path = write_store(tmp_path / "one.zarr", data, shuffle=2, dtype=dtype)
    opened = open_store(path)
    assert opened["activation"].dtype == dtype
    np.testing.assert_array_equal(opened["activation"], activation)
    np.testing.assert_array_equal(opened["hidden_state"], hidden)
    np.testing.assert_array_equal(opened["state"], np.concatenate(states))
    for columns in (slice(5, 10), slice(13, 17), slice(len(NEURONS) - 1, None)):
        np.testing.assert_array_equal(opened["activation"][:, columns], activation[:, columns])
    files = {one.name for one in (path / "activation").glob("c.*")}
    n_files = math.ceil(len(NEURONS) / 15)
    assert files == {f"c.{i}.{j}" for i in range(3) for j in range(n_files)}
    assert len(list((path / "state").glob("c.*"))) == math.ceil(opened.sizes["position"] / 100)


@pytest.mark.parametrize("n_positions", [[100], [50, 50, 100], [0, 99, 1, 0], [0]])
def test_states_that_end_with_a_chunk_or_are_empty(tmp_path, small_chunks, n_positions):
    activation, hidden, _ = made_up(len(n_positions))
    states = [np.full((n, 2), i + 1, dtype="f2") for i, n in enumerate(n_positions)]
    opened = open_store(write_store(tmp_path / "one.zarr", (activation, hidden, states)))
    back = read_states(opened)
    assert len(back) == len(states)
    for one, other in zip(back, states, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("n_neurons", [491_520, 589_824, 368_640])
def test_a_store_of_the_paper_has_few_files(tmp_path, n_neurons):
    shape = (1000, n_neurons)
    chunks = (ROW_CHUNK, NEURON_CHUNK)
    array = create_array(
        tmp_path, "activation", shape, chunks, "f2", ["utterance", "neuron"], SHARD_CHUNKS
    )
    assert array.chunks == chunks
    n_files = [math.ceil(n / size) for n, size in zip(shape, array.shards, strict=True)]
    assert math.prod(n_files) <= 16


@pytest.mark.parametrize(("dtype", "at_most"), [("float16", 0.88), ("float32", 0.46)])
def test_the_codec_saves_what_exponents_repeat(tmp_path, dtype, at_most):
    """float16 activations of any scale, kept as they are or as float32."""
    values = np.random.default_rng(4).normal(size=(256, 4096)).astype("f2").astype(dtype)
    dims = ["utterance", "neuron"]
    create_array(tmp_path, "activation", values.shape, values.shape, dtype, dims)[...] = values
    size = (tmp_path / "activation" / "c.0.0").stat().st_size
    assert size < at_most * values.nbytes
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "activation")[...], values)


def test_coordinates_equal_the_neuron_table(tmp_path):
    opened = open_store(write_store(tmp_path / "one.zarr", made_up(2)))
    for name in ("layer", "submodule", "unit", "step_invariant"):
        assert name in opened.coords
        assert opened[name].dims == ("neuron",)
        np.testing.assert_array_equal(opened[name], NEURONS[name].to_numpy())


def test_places_are_told_by_name(tmp_path):
    """The output of layer 0 is at "0", and what enters it at "embedding"."""
    _, hidden, _ = data = made_up(4)
    opened = open_store(write_store(tmp_path / "one.zarr", data))
    assert opened["hidden_state"].dims == ("utterance", "place", "hidden")
    assert opened["place"].to_numpy().tolist() == ["embedding", "0", "1"]
    for entry, name in enumerate(PLACES):
        found = opened.hidden_state.sel(place=name)
        np.testing.assert_array_equal(found, hidden[:, entry])


def test_without_steplens_a_layers_code_is_its_number(tmp_path):
    """Whoever sees the codes alone must not take the embedding for the output of layer 0."""
    _, hidden, _ = data = made_up(4)
    opened = xr.open_zarr(write_store(tmp_path / "one.zarr", data))
    for layer in (0, 1):
        found = opened.hidden_state.sel(place=layer)
        np.testing.assert_array_equal(found, hidden[:, PLACES.index(str(layer))])
    told = opened["place"].attrs
    assert told["flag_values"] == [-1, 0, 1]
    assert told["flag_meanings"] == "embedding 0 1"


@pytest.mark.parametrize("places", [["0", "0"], ["before layer 0"], ["embedding", ""]])
def test_places_that_cannot_be_told_apart_on_disk_are_refused(tmp_path, places):
    with pytest.raises(ValueError, match="names of place: expected distinct names without blanks"):
        StoreWriter(tmp_path / "one.zarr", [1], NEURONS, places, 2, "float16", {})


def test_an_array_that_nothing_is_said_of_is_refused(tmp_path):
    """So that every variable has its long_name and units."""
    with pytest.raises(ValueError, match=r"array name: expected one of activation, .* got 'extra'"):
        groups.add_array(tmp_path, "extra", np.ones(3), ["utterance"])


def test_xarray_opens_it_by_itself_with_the_names_of_dimensions(tmp_path):
    activation, hidden, states = data = made_up(5)
    opened = xr.open_zarr(write_store(tmp_path / "one.zarr", data))
    assert set(opened.coords) == {*COORDINATES}
    assert {name: array.dims for name, array in opened.variables.items()} == {
        "activation": ("utterance", "neuron"),
        "hidden_state": ("utterance", "place", "hidden"),
        "valid": ("utterance",),
        "n_positions": ("utterance",),
        "state": ("position", "hidden"),
        "utterance": ("utterance",),
        "place": ("place",),
        **dict.fromkeys(("layer", "submodule", "unit", "step_invariant"), ("neuron",)),
    }
    np.testing.assert_array_equal(opened["activation"], activation)
    np.testing.assert_array_equal(opened["hidden_state"], hidden)
    np.testing.assert_array_equal(opened["state"], np.concatenate(states))


def test_zarr_opens_it_without_consolidated_metadata(tmp_path):
    activation, _, _ = data = made_up(3)
    group = zarr.open_group(
        write_store(tmp_path / "one.zarr", data), mode="r", use_consolidated=False
    )
    np.testing.assert_array_equal(group["activation"][...], activation)


def test_attributes_hold_digest_provenance_and_versions(tmp_path):
    attrs = open_store(write_store(tmp_path / "one.zarr", made_up(2), dtype_of_run="f2")).attrs
    assert len(attrs["digest"]) == 64
    assert attrs["dtype_of_run"] == "f2"
    assert attrs["format_version"] == groups.FORMAT_VERSION
    assert attrs["versions"]["zarr"] == zarr.__version__


def test_the_commit_mark_names_the_store_too(tmp_path):
    mark = write_store(tmp_path / "one.zarr", made_up(2)) / COMMIT_MARK
    assert group_path(mark) == tmp_path / "one.zarr"
    assert open_store(mark).identical(open_store(tmp_path / "one.zarr"))


def _begin(path, n_rows=4, dtype="float16"):
    return StoreWriter(path, range(n_rows), NEURONS, PLACES, 2, dtype, {})


def _rows(*rows):
    n = len(rows)
    return np.array(rows), np.zeros((n, len(NEURONS)), "f2"), np.zeros((n, *HIDDEN_SHAPE), "f2")


def test_an_error_leaves_an_interrupted_dump_that_is_refused_by_its_path(tmp_path):
    path = tmp_path / "broken.zarr"
    with contextlib.suppress(KeyboardInterrupt), _begin(path) as writer:
        writer.write(*_rows(0, 1, 2, 3))
        raise KeyboardInterrupt
    assert path.is_dir()
    assert not (path / COMMIT_MARK).exists()
    with pytest.raises(StoreError, match=r"broken\.zarr: .* interrupted dump"):
        open_store(path)


def test_missing_rows_are_refused_and_nothing_is_committed(tmp_path):
    path = tmp_path / "short.zarr"
    with pytest.raises(StoreError, match=r"short\.zarr: expected 4 utterances, got 3"):  # noqa: SIM117
        with _begin(path) as writer:
            writer.write(*_rows(0, 1, 3))
    assert not (path / COMMIT_MARK).exists()


def test_the_mark_is_not_there_before_the_end(tmp_path):
    with _begin(tmp_path / "one.zarr") as writer:
        writer.write(*_rows(0, 1, 2, 3))
        assert not (tmp_path / "one.zarr" / COMMIT_MARK).exists()
    assert (tmp_path / "one.zarr" / COMMIT_MARK).is_file()


def test_a_new_dump_removes_the_old_one_at_once(tmp_path):
    path = write_store(tmp_path / "one.zarr", made_up(2))
    _begin(path / COMMIT_MARK)
    with pytest.raises(StoreError, match="interrupted dump"):
        open_store(path)


def test_the_mark_of_an_old_store_goes_before_the_rest(tmp_path, monkeypatch):
    """Half removed, it must not look whole."""
    path = write_store(tmp_path / "one.zarr", made_up(2))

    def stopped(_folder):
        raise OSError("stopped")

    monkeypatch.setattr(groups.shutil, "rmtree", stopped)
    with pytest.raises(OSError, match="stopped"):
        _begin(path)
    assert (path / "activation").is_dir()
    assert not (path / COMMIT_MARK).exists()


def test_nothing_there_is_refused_by_its_path(tmp_path):
    with pytest.raises(StoreError, match=r"none\.zarr: expected a store, got nothing there"):
        open_store(tmp_path / "none.zarr")


@pytest.mark.parametrize("version", [2, 99, None])
def test_another_format_version_is_refused(tmp_path, version):
    mark = write_store(tmp_path / "one.zarr", made_up(2)) / COMMIT_MARK
    root = json.loads(mark.read_text())
    root["attributes"]["format_version"] = version
    mark.write_text(json.dumps(root))
    message = (
        rf"one\.zarr: format_version: expected 3, got {version}: .*; delete the folder and run"
    )
    for read in (open_store, check_store):
        with pytest.raises(StoreError, match=message):
            read(mark)


@pytest.mark.parametrize("rows", [(-1, 0), (3, 4), (1, 2)], ids=["below", "above", "again"])
def test_rows_outside_the_window_or_written_before_are_refused(tmp_path, rows):
    writer = _begin(tmp_path / "one.zarr")
    writer.write(*_rows(1))
    with pytest.raises(ValueError, match=r"store rows: expected new rows in \[0, 4\)"):
        writer.write(*_rows(*rows))


def test_one_row_twice_in_a_batch_is_refused(tmp_path):
    with pytest.raises(ValueError, match="store rows: expected new rows"):
        _begin(tmp_path / "one.zarr").write(*_rows(0, 0))


def test_rows_of_the_next_window_are_refused_until_this_one_is_full(tmp_path):
    writer = _begin(tmp_path / "one.zarr", ROW_CHUNK + 1)
    writer.write(*_rows(*range(1, ROW_CHUNK)))
    with pytest.raises(ValueError, match="store rows"):
        writer.write(*_rows(ROW_CHUNK))
    writer.write(*_rows(0))
    writer.write(*_rows(ROW_CHUNK))


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_other_dtypes_are_refused(tmp_path, dtype):
    with pytest.raises(ValueError, match=f"expected float16 or float32, got '{dtype}'"):
        _begin(tmp_path / "one.zarr", dtype=dtype)


def _digest(path):
    return open_store(path).attrs["digest"]


def test_the_digest_is_the_same_for_another_order_of_batches(tmp_path):
    data = made_up(N_ROWS)
    one = write_store(tmp_path / "one.zarr", data)
    other = write_store(tmp_path / "other.zarr", data, shuffle=3, batch=17)
    assert _digest(one) == _digest(other)


def test_the_digest_is_that_of_the_data_and_not_of_the_layout(tmp_path, small_chunks):
    activation, hidden, states = data = made_up(N_ROWS)
    rows = [
        hashlib.sha256(one.tobytes() + two.tobytes() + three.tobytes()).digest()
        for one, two, three in zip(activation, hidden, states, strict=True)
    ]
    valid = np.isfinite(activation).all(axis=1)
    whole = np.arange(100, 100 + N_ROWS).tobytes() + b"valid" + valid.tobytes() + b"".join(rows)
    path = write_store(tmp_path / "one.zarr", data, shuffle=3)
    assert _digest(path) == hashlib.sha256(whole).hexdigest()


@pytest.mark.parametrize("part", [0, 1, 2], ids=["activation", "hidden_state", "state"])
def test_the_digest_changes_with_one_value(tmp_path, part):
    before = _digest(write_store(tmp_path / "one.zarr", made_up(5)))
    data = made_up(5)
    data[part][4].flat[-1] += np.float16(0.25)
    assert _digest(write_store(tmp_path / "one.zarr", data)) != before


# --- an interrupted dump ----------------------------------------------------------------------------


@pytest.fixture
def windows(monkeypatch):
    """Windows of ten rows."""
    for module in (store_writer, check):
        monkeypatch.setattr(module, "ROW_CHUNK", 10)


def dump(path, data, stop=None, key="a", with_states=True, written=None):
    """Write ``data`` row by row from where an earlier dump was; ``stop`` breaks off before that row."""
    activation, hidden, states = data
    n_rows = len(activation)
    with (
        contextlib.suppress(KeyboardInterrupt),
        StoreWriter(
            path, range(n_rows), NEURONS, PLACES, 2, "float16", {"model": "m"}, {"key": key}
        ) as writer,
    ):
        for row in range(writer.n_kept, n_rows):
            if row == stop:
                raise KeyboardInterrupt
            one = np.array([row])
            writer.write(one, activation[one], hidden[one], [states[row]] if with_states else None)
            if written is not None:
                written.append(row)
        writer.add("valid", np.ones(n_rows, dtype=bool))
    return path


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("with_states", [True, False])
@pytest.mark.parametrize("stop", [0, 1, 9, 10, 11, 29, 34])
def test_an_interrupted_dump_goes_on_behind_its_last_whole_window(
    tmp_path, windows, small_chunks, stop, with_states
):
    """To the byte what an undisturbed one writes, states over several chunks among it."""
    data = made_up(35, seed=stop)
    whole = dump(tmp_path / "whole.zarr", data, with_states=with_states)
    path, written = tmp_path / "one.zarr", []
    dump(path, data, stop, with_states=with_states)
    dump(path, data, with_states=with_states, written=written)
    assert written == list(range(stop // 10 * 10, 35))
    assert files(path) == files(whole)
    check_store(path)


def test_nothing_is_kept_of_a_dump_that_something_else_made(tmp_path, windows):
    """Another code, configuration or input is another key; other sentences are another store."""
    data, written = made_up(35), []
    dump(tmp_path / "one.zarr", data, 25)
    dump(tmp_path / "one.zarr", data, key="b", written=written)
    assert written == list(range(35))


def test_nothing_is_kept_of_a_dump_in_another_format(tmp_path, windows, monkeypatch):
    """The same rows and key, and arrays that are described otherwise."""
    data, written = made_up(35), []
    with monkeypatch.context() as before:
        before.setattr(dump_journal, "FORMAT_VERSION", groups.FORMAT_VERSION - 1)
        path = dump(tmp_path / "one.zarr", data, 25)
    described = path / "hidden_state" / "zarr.json"
    described.write_text(described.read_text().replace('"place"', '"layer"'))
    dump(path, data, written=written)
    assert written == list(range(35))
    assert files(path) == files(dump(tmp_path / "whole.zarr", data))


def test_nothing_is_kept_of_a_dump_of_the_second_format(tmp_path, windows):
    """Its key named no format."""
    data, written = made_up(35), []
    path = dump(tmp_path / "one.zarr", data, 25)
    content = {
        "utterances": list(range(35)), "dtype": "float16", "attributes": {"model": "m"},
        "shapes": {"activation": [len(NEURONS)], "hidden_state": list(HIDDEN_SHAPE)},
        "depends_on": {"key": "a"},
    }  # fmt: skip
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    journal = path / dump_journal.NAME
    journal.write_text(json.dumps(json.loads(journal.read_text()) | {"key": key}))
    dump(path, data, written=written)
    assert written == list(range(35))


def test_nothing_is_kept_of_a_dump_of_other_places(tmp_path, windows):
    """As many of them, with other names."""
    data = made_up(35)
    path = dump(tmp_path / "one.zarr", data, 25)
    told = ("float16", {"model": "m"}, {"key": "a"})
    writer = StoreWriter(path, range(35), NEURONS, ["embedding", "0", "adapter"], 2, *told)
    assert writer.n_kept == 0


def test_a_window_that_went_bad_is_made_again_with_all_after_it(tmp_path, windows):
    data, written = made_up(35), []
    path = dump(tmp_path / "one.zarr", data, 33)
    chunk = path / "activation" / "c.1.0"
    chunk.write_bytes(chunk.read_bytes()[:-5] + b"12345")
    dump(path, data, written=written)
    assert written == list(range(10, 35))
    assert files(path) == files(dump(tmp_path / "whole.zarr", data))


def test_a_finished_dump_that_is_asked_for_again_computes_nothing(tmp_path, windows):
    """Snakemake removes the commit mark of what it runs again; the data are what they would be."""
    data, written = made_up(35), []
    path = dump(tmp_path / "one.zarr", data)
    before = files(path)
    (path / COMMIT_MARK).unlink()
    dump(path, data, written=written)
    assert written == []
    assert files(path) == before
    dump(path, data, written=written)  # with its mark it is no rest, but what shall be replaced
    assert written == list(range(35))


@pytest.mark.parametrize("lost", [*COORDINATES, "valid", "n_positions"])
@pytest.mark.parametrize("part", ["", "zarr.json", "c.0"])
def test_an_old_store_that_was_half_removed_is_completed(tmp_path, windows, lost, part):
    """A run that is killed as it removes the old store leaves some arrays, and the journal of all rows."""
    data = made_up(35)
    path = dump(tmp_path / "one.zarr", data)
    before = files(path)
    (path / COMMIT_MARK).unlink()
    shutil.rmtree(path / lost) if not part else (path / lost / part).unlink()
    dump(path, data)
    assert files(path) == before
    check_store(path)


@pytest.mark.parametrize("lost", ["activation", "hidden_state", *COORDINATES])
def test_a_store_without_one_of_its_arrays_is_refused(tmp_path, lost):
    """Committed without it: nothing on disk is damaged, and its digest is of what is there."""
    path = write_store(tmp_path / "one.zarr", made_up(2))
    attributes = groups.read_root(path)["attributes"]
    (path / COMMIT_MARK).unlink()
    shutil.rmtree(path / lost)
    groups.commit(path, attributes)
    for read in (open_store, check_store):
        with pytest.raises(
            StoreError, match=rf"one\.zarr: expected the arrays .*, got none of {lost};"
        ):
            read(path)
