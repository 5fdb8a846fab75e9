"""FLEURS and checkpoints through the hub's real client, from a stand-in of the hub on this machine."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT
from fleurs_files import LANGUAGES, write_fleurs
from hub_server import Hub, running

from steplens.corpus.sentences import choose_sentences
from steplens.files.hub import is_hub_name

COMMIT = "d7c758a6dceecd54a98cac43404d3d576e721f07"
NEWER = "70bb2e84b976b7e960aa89f1c648e09c59f894dd"
FLEURS, MODEL = ("dataset", "google/fleurs"), ("model", "facebook/model")
TSV, ARCHIVE = "data/de_de/test.tsv", "data/de_de/audio/test.tar.gz"

# Runs in a process of its own: the client reads its environment once, when it is imported.
CALLS = """
import json, sys, time, importlib
from pathlib import Path
time.sleep = lambda seconds: None  # the client waits longer and longer between attempts
results = []
for module, name, arguments in json.loads(sys.stdin.read()):
    if "output" in arguments:
        arguments["output"] = Path(arguments["output"])
    try:
        function = getattr(importlib.import_module("steplens." + module), name)
        results.append(["ok", str(function(**arguments))])
    except Exception as error:
        results.append([type(error).__name__, str(error)])
print(json.dumps(results))
"""


def call(hub, home, *calls, offline=False):
    """Results of (module, function, arguments) in one process: ["ok", value] or [error, message]."""
    result = subprocess.run(
        [sys.executable, "-c", CALLS], input=json.dumps(calls), text=True, capture_output=True,
        env=hub.environment(home, offline) | {"PYTHONPATH": str(ROOT / "workflow")}, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def sentences(output, name=TSV, revision=COMMIT, repository="google/fleurs"):
    arguments = {
        "repository": repository,
        "revision": revision,
        "name": name,
        "output": str(output),
    }
    return "models.fetch", "fetch_sentences", arguments


def archive(output, name=ARCHIVE):
    return "models.fetch", "fetch_recordings", sentences(output, name)[2]


def model(output, wanted=("*.json", "*.safetensors"), required=("config.json", "*.safetensors")):
    return "models.fetch", "fetch_model", {
        "repository": "facebook/model", "revision": COMMIT, "wanted": wanted, "required": required,
        "output": str(output),
    }  # fmt: skip


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """A folder as FLEURS is published."""
    return write_fleurs(tmp_path_factory.mktemp("mirror"))


@pytest.fixture
def hub(mirror, tmp_path):
    """FLEURS at two commits, the newer one in another layout; and a small checkpoint in shards."""
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "README.md").write_text("Parquet only")
    checkpoint = tmp_path / "checkpoint"
    (checkpoint / "samples").mkdir(parents=True)
    shards = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    for name, content in {
        "config.json": "{}",
        "model.safetensors.index.json": json.dumps({"weight_map": shards}),
        "model-1.safetensors": "1" * 10,
        "model-2.safetensors": "2" * 20,
        "pytorch_model.bin": "no",
        "samples/x.json": "no",
    }.items():
        (checkpoint / name).write_text(content)
    with running(
        Hub({FLEURS: {COMMIT: mirror, NEWER: newer}, MODEL: {COMMIT: checkpoint}})
    ) as server:
        yield server


def test_only_the_asked_files_come_at_the_pinned_commit_and_once(hub, mirror, tmp_path):
    """A TSV is copied, an archive is a link into the cache; the cache serves the second time."""
    home, out = tmp_path / "home", tmp_path / "out"
    first = call(hub, home, sentences(out / "test.tsv"), archive(out / "test.tar.gz"))
    assert [status for status, _ in first] == ["ok", "ok"]
    assert hub.files_asked() == [ARCHIVE, TSV]
    assert all(COMMIT in path for _, path in hub.asked if "/resolve/" in path)
    assert (out / "test.tsv").read_bytes() == (mirror / TSV).read_bytes()
    assert not (out / "test.tsv").is_symlink()
    assert (out / "test.tar.gz").read_bytes() == (mirror / ARCHIVE).read_bytes()
    assert home in Path(os.readlink(out / "test.tar.gz")).parents
    hub.asked.clear()
    again = tmp_path / "again"
    assert call(hub, home, sentences(again / "test.tsv"), archive(again / "a.tar.gz")) == first
    assert hub.asked == []
    assert sorted(path.name for path in out.iterdir()) == ["test.tar.gz", "test.tsv"]


def test_offline_the_cache_serves_and_nobody_is_asked(hub, mirror, tmp_path):
    home = tmp_path / "home"
    call(hub, home, sentences(tmp_path / "one.tsv"), model(tmp_path / "one.json"))
    hub.asked.clear()
    hub.down = True
    offline = call(
        hub, home, sentences(tmp_path / "two.tsv"), model(tmp_path / "two.json"), offline=True
    )
    assert [status for status, _ in offline] == ["ok", "ok"]
    assert (tmp_path / "two.tsv").read_bytes() == (mirror / TSV).read_bytes()
    assert (tmp_path / "two.json").read_text() == (tmp_path / "one.json").read_text()
    assert hub.asked == []


def test_a_mistake_gives_one_clear_line(hub, tmp_path):
    """A wrong commit, file or repository, and a layout that is not there at a later commit."""
    out = tmp_path / "out"
    results = call(
        hub, tmp_path / "home",
        sentences(out / "a", revision="0" * 40),
        sentences(out / "b", name="data/de_de/validation.tsv"),
        sentences(out / "c", repository="google/flowers"),
        sentences(out / "d", revision=NEWER),
        sentences(out / "e", repository="google/a..b"),
        ("files.hub", "hub_files", {"repository": "facebook/model", "revision": "0" * 40}),
        ("files.hub", "hub_files", {"repository": "facebook/other", "revision": COMMIT}),
    )  # fmt: skip
    expected = [
        f"dataset google/fleurs at revision {'0' * 40}: the hub has no such revision; check the commit",
        f"at revision {COMMIT}: the hub has no file data/de_de/validation.tsv there",
        "dataset google/flowers at revision .*: the hub has no such dataset, or it is private .* and no "
        "such folder is there",
        f"at revision {NEWER}: the hub has no file {TSV} there",
        "dataset google/a..b at revision .*: no repository can have that name",
        f"model facebook/model at revision {'0' * 40}: the hub has no such revision; check the commit",
        "model facebook/other at revision .*: the hub has no such model",
    ]
    for (status, message), wanted in zip(results, expected, strict=True):
        assert status == "HubError"
        assert re.search(wanted, message), message
        assert "\n" not in message
    assert not out.exists() or not list(out.iterdir())


def test_a_repository_that_asks_for_consent_says_so(hub, tmp_path):
    hub.gated = True
    results = call(hub, tmp_path / "home", sentences(tmp_path / "a"), model(tmp_path / "b"))
    for (status, message), wanted in zip(results, (TSV, "its list of files"), strict=True):
        assert status == "HubError"
        assert f"access to {wanted} must be asked for on its page" in message


@pytest.mark.parametrize("trouble", ["offline", "dead", "down", "no hub"])
def test_without_cache_and_hub_the_error_says_what_to_do(hub, tmp_path, trouble):
    """Offline, with a server that is not there, one that fails, and one that is another."""
    if trouble == "dead":
        with running(Hub({})) as gone:
            pass
        hub = gone
    hub.down, hub.plain = trouble == "down", trouble == "no hub"
    calls = [sentences(tmp_path / "a"), model(tmp_path / "b")]
    results = call(
        hub,
        tmp_path / "home",
        *calls[: 1 if trouble == "no hub" else 2],
        offline=trouble == "offline",
    )
    why = {
        "offline": "HF_HUB_OFFLINE is set and it is not in the cache",
        "dead": rf"the hub \({hub.endpoint}\) did not give it: ConnectError: .*refused",
        "down": rf"the hub \({hub.endpoint}\) did not give it: HfHubHTTPError: .*503",
        "no hub": r".* did not give it: FileMetadataError: .* does not seem to be served by a Hugging Face",
    }[trouble]
    for (status, message), wanted in zip(results, (TSV, "its list of files"), strict=False):
        assert status == "HubError"
        assert re.search(f"at revision {COMMIT}: expected {wanted}: {why}", message), message
        assert message.endswith(
            "run `snakemake fetch` on a machine with network and the same HF_HOME, or give a local "
            "folder instead of the name"
        )
        assert "\n" not in message
    assert not hub.asked if trouble == "offline" else True


def test_a_broken_download_leaves_nothing_and_can_be_repeated(hub, mirror, tmp_path):
    home, output = tmp_path / "home", tmp_path / "out" / "test.tar.gz"
    hub.cut_after = 1000
    ((status, message),) = call(hub, home, archive(output))
    assert status == "HubError"
    assert f"expected {ARCHIVE}: the hub" in message
    assert not output.parent.exists() or not list(output.parent.iterdir())
    hub.cut_after = None
    assert call(hub, home, archive(output))[0][0] == "ok"
    assert output.read_bytes() == (mirror / ARCHIVE).read_bytes()


def test_of_a_model_only_the_wanted_files_come(hub, tmp_path):
    output = tmp_path / "list.json"
    assert call(hub, tmp_path / "home", model(output)) == [["ok", "None"]]
    assert hub.files_asked() == [
        "config.json", "model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json"
    ]  # fmt: skip
    listed = json.loads(output.read_text())
    assert listed["repository"] == "facebook/model"
    assert listed["revision"] == COMMIT
    assert listed["files"]["model-2.safetensors"] == 20


def test_a_model_without_a_required_file_is_refused(hub, tmp_path):
    folder = hub.repositories[MODEL][COMMIT]
    for path in [*folder.glob("*.safetensors"), folder / "model.safetensors.index.json"]:
        path.unlink()
    ((status, message),) = call(hub, tmp_path / "home", model(tmp_path / "list.json"))
    assert status == "HubError"
    assert "expected *.safetensors, there is config.json, pytorch_model.bin" in message
    assert "tools/to_safetensors.py" in message
    assert not (tmp_path / "list.json").exists()


def test_offline_a_cache_that_lacks_a_shard_is_not_taken_for_whole(hub, tmp_path):
    home, output = tmp_path / "home", tmp_path / "list.json"
    call(hub, home, model(output, wanted=["config.json", "*-1.safetensors", "*.index.json"]))
    (link,) = home.rglob("model-2.safetensors")
    link.unlink()
    output.unlink()
    ((status, message),) = call(hub, home, model(output), offline=True)
    assert status == "HubError"
    assert (
        "expected model-2.safetensors: HF_HUB_OFFLINE is set and it is not in the cache" in message
    )
    assert not output.exists()


@pytest.mark.parametrize(
    ("path", "expected"),
    [("google/fleurs", True), ("fleurs", False), ("./google/fleurs", False), ("/google", False),
     ("~/fleurs", False), ("a/b/c", False), ("a/b c", False), (f"a/{'b' * 96}", False),
     ("resources/demo", False)],
)  # fmt: skip
def test_a_name_on_the_hub_is_owner_and_name(path, expected, tmp_path, monkeypatch):
    """Unless the project has a folder of that name, whatever there is in the folder that is worked in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "google" / "fleurs").mkdir(parents=True)
    assert is_hub_name(path) == expected


@pytest.fixture
def project(tmp_path):
    """A folder to run in, with its own resources: what is fetched goes there."""
    folder = tmp_path / "project"
    (folder / "resources").mkdir(parents=True)
    (folder / "config").symlink_to(ROOT / "config")
    for path in (ROOT / "resources").iterdir():
        if path.name != "fetched":
            (folder / "resources" / path.name).symlink_to(path)
    return folder


def snakemake(folder, hub, *options, offline=False, corpus="google/fleurs", engine="espeak"):
    """Run two languages; the model is the demo's, in its folder."""
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2",
         "--directory", str(folder), "--profile", str(ROOT / "profiles" / "default"), *options,
         "--config", "languages=[deu,cmn]", f"speech={{engine: {engine}}}", "steering={n_utterances: 2}",
         f"corpus={{path: {corpus}, revision: {COMMIT}, splits: [test], n_utterances: 8}}"],
        capture_output=True, text=True, cwd=folder, check=False,
        env=hub.environment(folder / "home", offline),
    )  # fmt: skip


def test_fetch_gets_what_a_run_needs_and_the_run_is_offline(hub, mirror, project):
    """TSVs only while speech is synthesised, archives of the spoken languages for recorded speech."""
    codes = ("de_de", "cmn_hans_cn", "en_us")  # recognition reads the output language's sentences
    done = snakemake(project, hub, "fetch")
    assert done.returncode == 0, done.stdout + done.stderr
    assert hub.files_asked() == sorted(f"data/{code}/test.tsv" for code in codes)
    fetched = Path("resources") / "fetched" / "fleurs" / COMMIT
    for name in hub.files_asked():
        assert (project / fetched / name).read_bytes() == (mirror / name).read_bytes()
    hub.asked.clear()
    done = snakemake(project, hub, "fetch", engine="recorded")
    assert done.returncode == 0, done.stdout + done.stderr
    assert hub.files_asked() == sorted(f"data/{code}/audio/test.tar.gz" for code in codes[:2])
    assert not list((project / fetched).rglob(".partial*"))
    hub.asked.clear()
    hub.down = True
    results = project / "results" / "demo"
    done = snakemake(project, hub, "results/demo/speech/deu.parquet", "results/demo/corpus/cmn.parquet",
                     offline=True, engine="recorded")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert hub.asked == []
    speech = pd.read_parquet(results / "speech" / "deu.parquet")
    assert len(speech) == 8
    assert set(speech["engine"]) == {"recorded"}
    for code in ("deu", "cmn"):
        made = pd.read_parquet(results / "corpus" / f"{code}.parquet")
        pd.testing.assert_frame_equal(
            made, choose_sentences(mirror, LANGUAGES[code], ["test"], 8, 1, [])
        )
    # What was fetched serves as a local folder too, and is not fetched into itself.
    done = snakemake(project, hub, "fetch", corpus=project / fetched, engine="recorded")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing to be done" in done.stdout + done.stderr


def test_a_failed_fetch_says_why_and_leaves_nothing(hub, project):
    hub.repositories[FLEURS].pop(COMMIT)
    failed = snakemake(project, hub, "fetch")
    assert failed.returncode != 0
    assert f"google/fleurs at revision {COMMIT}: the hub has no such revision" in failed.stderr
    fetched = project / "resources" / "fetched"
    assert not [path for path in fetched.rglob("*") if path.is_file() or path.is_symlink()]


def test_with_local_folders_there_is_nothing_to_fetch(hub, project):
    """And the hub is not asked."""
    mirror = write_fleurs(project / "mirror")
    done = snakemake(project, hub, "fetch", corpus=mirror, engine="recorded")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing to be done" in done.stdout + done.stderr
    assert hub.asked == []
    assert not (project / "resources" / "fetched").exists()
