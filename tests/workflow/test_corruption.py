"""What is flipped, cut off, lost or swapped on the disk is found when it is read, and named."""

import json
import random
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import made_by

from steplens.errors import CheckpointError, StoreError, TableError
from steplens.files.atomic import read_parquet, write_parquet
from steplens.files.audio import write_wav
from steplens.models.neurons import neuron_table, place_names
from steplens.models.provenance import provenance, require_same_model
from steplens.ranking.rank_condition import rank_condition
from steplens.ranking.table import open_condition, open_ranking, require_ranked
from steplens.recording.encode import SpeechInput
from steplens.speech.takes import file_digest
from steplens.store import writer
from steplens.store.check import check_store
from steplens.store.groups import COMMIT_MARK, damaged_files, reading
from steplens.store.reading import open_store, read_states
from steplens.store.writer import StoreWriter

NEURONS = neuron_table({"hidden_size": 4, "decoder_ffn_dim": 6, "decoder_layers": 2}, "decoder")
N_ROWS = 6
CONDITION = {"module": "decoder", "task": "asr", "step": 3}


def write_store(path, language="deu", seed=1, n_rows=N_ROWS, **attributes):
    generator = np.random.default_rng(seed)
    told = {"model": "m", "revision": "", "language": language, **CONDITION, **attributes}
    with StoreWriter(path, range(n_rows), NEURONS, place_names(2), 4, "float16", told) as store:
        store.add("valid", np.ones(n_rows, dtype=bool))
        activation = generator.normal(size=(n_rows, len(NEURONS))).astype(np.float16)
        hidden = generator.normal(size=(n_rows, 3, 4)).astype(np.float16)
        states = [generator.normal(size=(4 + n, 4)).astype(np.float32) for n in range(n_rows)]
        store.write(np.arange(n_rows), activation, hidden, states)
    return path


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store of several shards and chunks."""
    monkeypatch.setattr(writer, "NEURON_CHUNK", 16)
    monkeypatch.setattr(writer, "SHARD_CHUNKS", 2)
    monkeypatch.setattr(writer, "STATE_CHUNK", 10)
    return write_store(tmp_path / "deu.zarr")


def read_everything(path):
    """As the stages read it."""
    data = open_store(path)
    with reading(path):
        values = {name: one.to_numpy() for name, one in data.variables.items() if name != "state"}
    return values | {"state": np.concatenate(read_states(data))}


def chunks(path):
    return sorted(one for one in path.glob("*/c*") if one.is_file())


def flip(path, generator):
    content = bytearray(path.read_bytes())
    content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    path.write_bytes(content)


def _flip(path):
    flip(path, random.Random(path.name))


def _cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def _empty(path):
    path.write_bytes(b"")


def _lose(path):
    path.unlink()


def _zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("damage", [_flip, _cut, _empty, _lose, _zeros])
def test_every_damaged_chunk_is_found_when_it_is_read_and_named(store, damage):
    """Of every array: activations in shards, hidden states, encoder states and coordinates."""
    whole = read_everything(store)
    files = chunks(store)
    assert {one.parent.name for one in files} == {*whole}
    assert sum(one.parent.name == "activation" for one in files) > 2
    for file in files:
        content = file.read_bytes()
        damage(file)
        name = f"{file.parent.name}/{file.name}"
        for look in (read_everything, check_store):
            with pytest.raises(StoreError) as found:
                look(store)
            assert name in str(found.value), (name, str(found.value))
            assert "run the workflow again" in str(found.value)
        assert [one for one, _ in damaged_files(store)] == [name]
        file.write_bytes(content)
    check_store(store)


def test_any_flipped_bit_of_the_metadata_is_found_or_changes_nothing(store):
    """Of the root zarr.json: data and attributes are the same, or it is refused by its path."""
    mark = store / COMMIT_MARK
    content = mark.read_bytes()
    whole, attributes = read_everything(store), open_store(store).attrs
    generator = random.Random(3)
    n_found = 0
    for _ in range(150):
        flip(mark, generator)
        try:
            found, told = read_everything(store), open_store(store).attrs
        except StoreError as error:
            n_found += str(store) in str(error)
        else:
            assert told == attributes
            assert all(np.array_equal(found[key], whole[key], equal_nan=True) for key in whole)
        mark.write_bytes(content)
    assert n_found > 100


def test_metadata_of_an_array_that_was_changed_is_found_by_the_check(store):
    """Readers take the copy in the root; whoever opens the array alone would not."""
    file = store / "activation" / COMMIT_MARK
    file.write_text(json.dumps(json.loads(file.read_text()) | {"fill_value": 1}))
    with pytest.raises(StoreError, match=r"deu\.zarr: activation/zarr\.json: not what the root"):
        check_store(store)


def test_a_sound_chunk_of_another_store_is_found_by_the_check(store, tmp_path):
    """Its own checksum is right: the digest of the data is not."""
    other = write_store(tmp_path / "other.zarr", seed=2)
    shutil.copy(other / "activation" / "c.0.1", store / "activation" / "c.0.1")
    with pytest.raises(StoreError, match=r"deu\.zarr: expected data with digest .* another store"):
        check_store(store)


@pytest.mark.parametrize(
    ("key", "value"),
    [("language", "fra"), ("task", "s2t"), ("step", 4), ("module", "text_encoder")],
)
def test_a_store_of_something_else_in_its_place_is_refused(tmp_path, key, value):
    """Right shape, sound data: what it says of itself is something else."""
    stores = {one: write_store(tmp_path / f"{one}.zarr", one, seed) for seed, one in
              enumerate(("deu", "jpn"))}  # fmt: skip
    open_condition(stores, True, **CONDITION)
    write_store(tmp_path / "jpn.zarr", **{"language": "jpn", "seed": 1, key: value})
    expected = ({"language": "jpn"} | CONDITION)[key]
    with pytest.raises(
        StoreError, match=rf"jpn\.zarr: {key}: expected {expected!r}, got {value!r}"
    ):
        open_condition(stores, True, **CONDITION)


@pytest.mark.parametrize("key", ["model", "revision", "config_digest", "compute_dtype"])
def test_a_store_of_another_model_or_precision_is_refused(tmp_path, key):
    stores = {one: write_store(tmp_path / f"{one}.zarr", one) for one in ("deu", "jpn")}
    write_store(stores["jpn"], "jpn", **{key: "other"})
    with pytest.raises(
        ValueError, match=rf"jpn\.zarr: {key}: expected .* as in .*deu\.zarr, got other"
    ):
        open_condition(stores, True, **CONDITION)


@pytest.fixture
def ranked(tmp_path):
    stores = {one: write_store(tmp_path / f"{one}.zarr", one, seed) for seed, one in
              enumerate(("deu", "jpn"))}  # fmt: skip
    rank_condition(stores, tmp_path / "ranking.zarr", True, 1, None, CONDITION)
    return tmp_path / "ranking.zarr", stores


@pytest.mark.parametrize("damage", [_flip, _cut, _empty, _lose, _zeros])
def test_every_damaged_chunk_of_a_ranking_is_found(ranked, damage):
    path, _ = ranked
    for file in chunks(path):
        content = file.read_bytes()
        damage(file)
        with pytest.raises(StoreError, match=rf"{file.parent.name}/{file.name}"):
            open_ranking(path)
        file.write_bytes(content)
    open_ranking(path, **CONDITION)


def test_a_ranking_of_something_else_is_refused(ranked, tmp_path):
    """Another step's, one with another's values, and one whose stores were replaced."""
    path, stores = ranked
    with pytest.raises(StoreError, match=r"ranking\.zarr: step: expected 6, got 3"):
        open_ranking(path, step=6)
    require_ranked(open_ranking(path), open_condition(stores, True), path)
    write_store(stores["jpn"], "jpn", seed=9)
    with pytest.raises(
        StoreError, match=r"jpn\.zarr: digest: expected .*ranking\.zarr ranked, got"
    ):
        require_ranked(open_ranking(path), open_condition(stores, True), path)
    rank_condition(stores, tmp_path / "other.zarr", True, 1, None, CONDITION)
    shutil.copytree(tmp_path / "other.zarr" / "ap", path / "ap", dirs_exist_ok=True)
    with pytest.raises(StoreError, match=r"ranking\.zarr: damaged: expected data with digest"):
        open_ranking(path)


def test_any_flipped_bit_of_a_table_is_found_or_changes_nothing(tmp_path):
    """Of texts, numbers, lists of tokens, the footer and the attributes."""
    frame = pd.DataFrame(
        {"utterance": range(40), "text": [f"satz {n} 東京" for n in range(40)], "cer": np.linspace(0, 1, 40),
         "tokens": [list(range(n % 5)) for n in range(40)], "ended": [n % 2 == 0 for n in range(40)]}
    )  # fmt: skip
    frame.attrs = {"inputs": {"encoder_store": "abc"}, "made_by": {"code": "a"}}
    path = tmp_path / "deu.parquet"
    write_parquet(frame, path)
    whole, content = read_parquet(path), path.read_bytes()
    assert whole.attrs == frame.attrs
    generator = random.Random(4)
    n_found = 0
    for _ in range(400):
        flip(path, generator)
        try:
            found = read_parquet(path)
        except TableError as error:
            n_found += str(path) in str(error) and "run the workflow again" in str(error)
        else:
            pd.testing.assert_frame_equal(found, whole)
            assert found.attrs == whole.attrs
        path.write_bytes(content)
    assert n_found > 200
    for n_bytes in (0, 3, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:n_bytes])
        with pytest.raises(TableError, match=r"deu\.parquet: damaged"):
            read_parquet(path)


def test_audio_that_was_changed_is_found_when_it_is_read(tmp_path):
    write_wav(tmp_path / "deu" / "7.wav", np.random.default_rng(1).normal(0, 0.1, 8000))
    table = {"utterance": [7], "path": ["deu/7.wav"], "n_samples": [8000]}
    spoken = pd.DataFrame(table | {"sha256": [file_digest(tmp_path / "deu" / "7.wav")]})
    SpeechInput(spoken, tmp_path).load(0)
    _flip(tmp_path / "deu" / "7.wav")
    with pytest.raises(ValueError, match=r"7\.wav: expected mono audio .*, got other audio"):
        SpeechInput(spoken, tmp_path).load(0)


def test_a_store_of_another_checkpoint_is_refused(source, tmp_path):
    """By the digest of its weights or its name and revision, and by its config.json."""
    maker = made_by(source)
    told = provenance(source, maker, {})
    require_same_model(told, source, maker, tmp_path)
    with pytest.raises(
        StoreError, match=r"model: expected a store made by .* put the checkpoint back"
    ):
        require_same_model(
            told | {"made_by": {"model": {"checkpoint": "x"}}}, source, maker, tmp_path
        )
    with pytest.raises(StoreError, match=r"config\.json: expected a store made by"):
        require_same_model(told | {"config_digest": "other"}, source, maker, tmp_path)
    with pytest.raises(CheckpointError, match="expected the files that the run began with"):
        require_same_model(told, source, {"model": {"checkpoint": "other"}}, tmp_path)
