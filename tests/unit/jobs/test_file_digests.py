"""Every byte of a file from outside counts; a large one is read once, until it changes."""

import hashlib
import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from steplens.errors import CheckpointError, ConfigError
from steplens.files.atomic import atomic_path
from steplens.jobs import file_digests
from steplens.jobs.digest_cache import DigestCache, FileState, cache_folders
from steplens.jobs.file_digests import files_digest
from steplens.models.checkpoint import checkpoint_digest, require_unchanged


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of this test's own; files have settled at once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(file_digests, "_SETTLED_SECONDS", 0.0)
    return tmp_path / "cache" / "steplens"


@pytest.fixture
def reads(monkeypatch):
    """Blocks that are really read for a digest: their first bytes."""
    begins = []
    chunk_digest = file_digests._chunk_digest

    def counted(descriptor, begin):
        begins.append(begin)
        return chunk_digest(descriptor, begin)

    monkeypatch.setattr(file_digests, "_chunk_digest", counted)
    return begins


@pytest.fixture
def large(monkeypatch):
    """Files of more than a thousand bytes are large, and read in blocks of 4096."""
    monkeypatch.setattr(file_digests, "_CHUNK_BYTES", 4096)
    return 1000


def write(path: Path, n_bytes: int = 10_000, seed: int = 1) -> Path:
    path.write_bytes(np.random.default_rng(seed).bytes(n_bytes))
    return path


def digest_of(path: Path, kept_beyond: int = 1000) -> str:
    return files_digest([path], kept_beyond)


# --- what counts -----------------------------------------------------------------------------------


def test_digests_of_small_files_are_what_they_were(tmp_path):
    """Results that were made with them stand: names, sizes and contents, in the order of paths."""
    files = {"b.json": b"{}", "a.model": b"\0" * 70_000, "c": b""}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    plain = b"".join(
        f"{name} {len(files[name])}\n".encode() + files[name] for name in sorted(files)
    )
    expected = hashlib.sha256(plain).hexdigest()[:16]
    assert files_digest([tmp_path / name for name in files]) == expected


def slow_digest(path: Path, block: int) -> str:
    data = path.read_bytes()
    blocks = [data[begin : begin + block] for begin in range(0, len(data), block)]
    whole = hashlib.sha256(b"".join(hashlib.sha256(one).digest() for one in blocks)).hexdigest()
    return hashlib.sha256(f"{path.name} {len(data)}\n{whole}\n".encode()).hexdigest()[:16]


@pytest.mark.parametrize("n_bytes", [1001, 4095, 4096, 4097, 8192, 40_000])
def test_a_large_file_counts_by_the_digests_of_its_blocks(tmp_path, large, n_bytes):
    path = write(tmp_path / "model.pth", n_bytes)
    assert digest_of(path, large) == slow_digest(path, 4096)


@settings(deadline=None, max_examples=60)
@given(place=st.integers(0, 9999), bit=st.integers(0, 7))
def test_any_bit_of_a_large_file_counts(tmp_path_factory, place, bit):
    path = write(tmp_path_factory.mktemp("model") / "model.safetensors")
    before = digest_of(path)
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)
    assert digest_of(path) != before


def remove_head(weights):
    weights["lm_head.weight"][:, 3] = 0


def one_row(weights):
    """Vocabulary surgery: the embedding of one token."""
    weights["shared.weight"][17] += 1


def one_neuron(weights):
    """Pruning: what goes into one neuron of an FFN, and what comes out of it."""
    weights["text_decoder.layers.0.ffn.fc1.weight"][5] = 0
    weights["text_decoder.layers.0.ffn.fc2.weight"][:, 5] = 0


def rank_one(weights):
    """ROME: one matrix and a product of two vectors, scaled to touch a few values only."""
    weights["text_decoder.layers.0.ffn.fc2.weight"][:2, :2] += 1e-3


@pytest.mark.parametrize("edit", [remove_head, one_row, one_neuron, rank_one])
def test_an_edit_of_a_few_weights_is_another_model(tmp_path, edit):
    """Of the same names, shapes and size, in a file beyond the size from which digests are kept."""
    rng = np.random.default_rng(1)
    shapes = {
        "lm_head.weight": (40, 64), "shared.weight": (270_000, 64),
        "text_decoder.layers.0.ffn.fc1.weight": (96, 64),
        "text_decoder.layers.0.ffn.fc2.weight": (64, 96),
    }  # fmt: skip
    path = tmp_path / "model.safetensors"
    weights = {name: rng.random(shape, "f4") for name, shape in shapes.items()}
    save_file(weights, path)
    assert path.stat().st_size > 2**26
    before = checkpoint_digest(str(tmp_path))
    weights = load_file(path)
    edit(weights)
    save_file(weights, path)
    assert checkpoint_digest(str(tmp_path)) != before
    with pytest.raises(CheckpointError, match="expected the files that the run began with"):
        require_unchanged(str(tmp_path), before)


# --- kept until it changes -------------------------------------------------------------------------


def test_a_large_file_is_read_once(tmp_path, large, reads):
    path = write(tmp_path / "model.pth")
    first = digest_of(path)
    assert sorted(reads) == [0, 4096, 8192]
    reads.clear()
    assert digest_of(path) == first
    assert reads == []


def touch(path):
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def replace_by_a_copy(path):
    times = path.stat()
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))
    copy.replace(path)


def grow(path):
    times = path.stat()
    with path.open("ab") as file:
        file.write(b"1")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def write_and_set_the_time_back(path):
    """As rsync and tar do."""
    times = path.stat()
    time.sleep(0.02)
    with path.open("r+b") as file:
        file.write(b"1")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("change", [touch, replace_by_a_copy, grow, write_and_set_the_time_back])
def test_a_file_of_another_state_is_read_again(tmp_path, large, reads, change):
    """Another time, inode or size; another content under the same ones."""
    path = write(tmp_path / "model.pth")
    digest_of(path)
    change(path)
    reads.clear()
    assert digest_of(path) == slow_digest(path, 4096)
    assert reads


@pytest.mark.parametrize("field", ["inode", "size", "mtime_ns", "ctime_ns"])
def test_an_entry_holds_for_one_state(cache, tmp_path, field):
    state = FileState(1, 2, 3, 4)
    kept = DigestCache([cache])
    assert kept.put(tmp_path / "a", state, "0" * 64)
    assert kept.get(tmp_path / "a", state) == "0" * 64
    assert kept.get(tmp_path / "a", replace(state, **{field: 9})) is None
    assert kept.get(tmp_path / "b", state) is None


def test_of_a_link_its_target_counts(tmp_path, large, reads):
    """As in snapshots of the Hugging Face cache, whose files are links to blobs."""
    (tmp_path / "blobs").mkdir()
    blob, other = write(tmp_path / "blobs" / "1"), write(tmp_path / "blobs" / "2", seed=2)
    link = tmp_path / "model.safetensors"
    link.symlink_to(blob)
    first = digest_of(link)
    reads.clear()
    assert digest_of(link) == first
    assert reads == []
    link.unlink()
    link.symlink_to(other)
    assert digest_of(link) != first
    reads.clear()
    link.unlink()
    link.symlink_to(blob)
    assert digest_of(link) == first
    assert reads == []


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b"null", b'"x"', b"\xff", b"[" * 60_000, b'{"digest": 1}']
)
def test_a_damaged_entry_counts_as_none(tmp_path, large, reads, cache, content):
    path = write(tmp_path / "model.pth")
    first = digest_of(path)
    (entry,) = cache.iterdir()
    entry.write_bytes(content)
    reads.clear()
    assert digest_of(path) == first
    assert reads
    reads.clear()
    assert digest_of(path) == first
    assert reads == []


def test_no_flipped_bit_of_an_entry_is_believed(tmp_path, cache):
    """Each of them: the entry is found as it was written, or not at all."""
    state, kept = FileState(1, 2, 3, 4), DigestCache([cache])
    kept.put(tmp_path / "a", state, "0123456789abcdef" * 4)
    (entry,) = cache.iterdir()
    content = entry.read_bytes()
    for place in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            entry.write_bytes(damaged)
            for one in (state, FileState(1, 2, 3, 5), FileState(1, 2, 2, 4)):
                found = kept.get(tmp_path / "a", one)
                assert found in ((None, "0123456789abcdef" * 4) if one == state else (None,))


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away")
def test_an_entry_of_another_user_is_not_believed(tmp_path, large, reads, cache):
    path = write(tmp_path / "model.pth")
    digest_of(path)
    (entry,) = cache.iterdir()
    os.chown(entry, 65534, 65534)
    reads.clear()
    digest_of(path)
    assert reads


def test_an_entry_that_is_a_link_or_a_pipe_is_not_read(tmp_path, large, cache):
    path = write(tmp_path / "model.pth")
    first = digest_of(path)
    (entry,) = cache.iterdir()
    entry.rename(cache / "other")
    entry.symlink_to(cache / "other")
    assert digest_of(path) == first
    entry.unlink()
    os.mkfifo(entry)
    assert digest_of(path) == first


def test_the_folder_is_the_users(monkeypatch, tmp_path):
    working = Path(".snakemake") / "steplens"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folders() == [tmp_path / "steplens", working]
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # by the specification it does not count
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folders() == [Path("/home/somebody/.cache/steplens"), working]


def test_where_the_first_folder_cannot_be_written_to_the_next_is(
    tmp_path, large, reads, cache, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    cache.parent.write_text("a file")
    path = write(tmp_path / "model.pth")
    digest_of(path)
    assert len(list((tmp_path / ".snakemake" / "steplens").iterdir())) == 1
    reads.clear()
    digest_of(path)
    assert reads == []


def test_where_nothing_can_be_kept_it_is_said(tmp_path, large, cache, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    cache.parent.write_text("a file")
    (tmp_path / ".snakemake").write_text("a file")
    path = write(tmp_path / "model.pth")
    assert digest_of(path) == slow_digest(path, 4096)
    assert "its digest cannot be kept" in caplog.text
    assert "set XDG_CACHE_HOME" in caplog.text


def test_many_at_once_give_one_digest(tmp_path, large):
    """Threads stand in for the jobs of a run that begin together."""
    path = write(tmp_path / "model.pth", 100_000)
    found = []
    threads = [threading.Thread(target=lambda: found.append(digest_of(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [slow_digest(path, 4096)] * 8
    assert DigestCache().get(path, FileState.of(path.stat())) is not None


def test_what_is_going_on_is_said(tmp_path, large, caplog):
    caplog.set_level("INFO")
    path = write(tmp_path / "model.pth")
    digest_of(path)
    assert f"{path}: reading 0.0 GB for a digest of its content" in caplog.text
    caplog.clear()
    digest_of(path)
    assert caplog.text == ""


# --- files that change, and what is no file --------------------------------------------------------


@pytest.mark.parametrize("change", ["write", "replace", "remove"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, large, monkeypatch, change):
    """Nothing is kept of it."""
    path = write(tmp_path / "model.pth")
    chunk_digest = file_digests._chunk_digest

    def slowly(descriptor, begin):
        if begin == 0:
            time.sleep(0.02)
            if change == "remove":
                path.unlink()
            elif change == "replace":
                with atomic_path(path) as partial:
                    write(partial, seed=2)
            else:
                with path.open("r+b") as file:
                    file.seek(9_999)
                    file.write(b"1")
        return chunk_digest(descriptor, begin)

    monkeypatch.setattr(file_digests, "_chunk_digest", slowly)
    with pytest.raises(ConfigError, match="expected a file that stays as it is while it is read"):
        digest_of(path)
    assert not (tmp_path / "cache").exists()


def test_a_file_that_was_written_just_now_is_read_once_its_time_can_tell(
    tmp_path, large, monkeypatch
):
    """Two changes in one tick of the clock have one time: the second would go unnoticed."""
    monkeypatch.setattr(file_digests, "_SETTLED_SECONDS", 0.3)
    path = write(tmp_path / "model.pth")
    digest_of(path)
    assert time.time() - path.stat().st_ctime >= 0.3
    began = time.monotonic()
    digest_of(path)
    assert time.monotonic() - began < 0.3


@pytest.mark.parametrize("kind", ["folder", "named pipe", "device"])
def test_only_regular_files_are_read(tmp_path, kind):
    """A pipe would be waited for, and a device has no end."""
    path = tmp_path / "model.pth"
    if kind == "folder":
        path.mkdir()
    elif kind == "named pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match=f"expected a file, got a {kind}"):
        files_digest([path])


def test_what_no_job_reads_of_a_checkpoint_may_be_anything(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    before = checkpoint_digest(str(tmp_path))
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.model")
    assert checkpoint_digest(str(tmp_path)) == before


def test_entries_say_what_they_are_of(tmp_path, large, cache):
    """For people who look."""
    path = write(tmp_path / "model.pth")
    digest_of(path)
    (entry,) = cache.iterdir()
    content = json.loads(entry.read_text())
    assert content["path"] == str(path)
    assert content["state"] == [
        path.stat().st_ino,
        10_000,
        path.stat().st_mtime_ns,
        path.stat().st_ctime_ns,
    ]
    assert cache.stat().st_mode & 0o777 == 0o700
