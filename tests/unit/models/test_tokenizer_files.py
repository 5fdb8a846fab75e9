"""A tokenizer that no stage could load is refused before any job starts, by the name of its file."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from steplens.errors import CheckpointError, ConfigError
from steplens.models.checkpoint import check_checkpoint, check_vocabulary
from steplens.models.files import ModelFiles
from steplens.models.seamless.loading import load_tokenizer
from steplens.models.source import ModelSource
from steplens.models.tokenizer_files import check_tokenizer

LANGUAGES = ["deu", "jpn", "eng"]
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
FILES = ("tokenizer.json", "tokenizer_config.json")


@pytest.fixture
def folder(checkpoint, tmp_path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "model"))


@pytest.fixture(scope="module")
def sentencepiece_model(tmp_path_factory) -> Path:
    """A small vocabulary in the published form."""
    from sentencepiece import SentencePieceTrainer

    out = tmp_path_factory.mktemp("sentencepiece")
    (out / "text").write_text("the small house stands by the old river\n" * 20)
    SentencePieceTrainer.train(
        input=str(out / "text"), model_prefix=str(out / "model"), vocab_size=20, minloglevel=2
    )
    return out / "model.model"


def test_a_good_tokenizer_is_taken(folder):
    check_vocabulary(str(folder))
    check_vocabulary("facebook/seamless-m4t-v2-large")  # nothing is known of it here


def test_a_published_vocabulary_is_taken(folder, sentencepiece_model):
    (folder / "tokenizer.json").unlink()
    shutil.copy(sentencepiece_model, folder / "sentencepiece.bpe.model")
    check_checkpoint(str(folder), LANGUAGES)
    check_vocabulary(str(folder))


@pytest.mark.parametrize("name", [*FILES, "added_tokens.json", "special_tokens_map.json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "an empty file"), (POINTER, "a pointer of git-lfs"), (b"<!DOCTYPE html><html>", "a web page")],
)  # fmt: skip
def test_a_file_that_is_not_there_but_by_name_is_seen_whenever_rules_are_read(
    folder, name, content, message
):
    (folder / name).write_bytes(content)
    with pytest.raises(ConfigError) as error:
        check_checkpoint(str(folder), LANGUAGES)
    assert f"{folder / name}: expected a file of the tokenizer, got {message}" in str(error.value)


@pytest.mark.parametrize("content", [b"", POINTER, b"junk", b"\0" * 100])
def test_a_published_vocabulary_that_is_none_is_refused(folder, content):
    (folder / "tokenizer.json").unlink()
    (folder / "sentencepiece.bpe.model").write_bytes(content)
    with pytest.raises(ConfigError, match=r"sentencepiece\.bpe\.model: expected"):
        check_vocabulary(str(folder))


def test_a_published_vocabulary_that_was_cut_off_is_refused(folder, sentencepiece_model):
    (folder / "tokenizer.json").unlink()
    content = sentencepiece_model.read_bytes()
    for keep in (1, len(content) // 2, len(content) - 1):
        (folder / "sentencepiece.bpe.model").write_bytes(content[:keep])
        with pytest.raises(
            ConfigError, match=r"sentencepiece\.bpe\.model: expected the tokenizer's"
        ):
            check_vocabulary(str(folder))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"junk", "expected JSON"),
        (b"{", "expected JSON"),
        (b"[]", "expected a JSON object, got []"),
        (b"[" * 100_000, "expected JSON of at most 50 levels"),
        (b'{"a":' * 60 + b"1" + b"}" * 60, "expected JSON of at most 50 levels"),
        (b'{"a": "\xff"}', "expected JSON"),
    ],
)
def test_json_that_is_none_is_refused(folder, name, content, message):
    (folder / name).write_bytes(content)
    with pytest.raises(ConfigError) as error:
        check_vocabulary(str(folder))
    assert f"{folder / name}: {message}" in str(error.value)


@pytest.mark.parametrize("name", [*FILES, "config.json", "generation_config.json"])
def test_a_file_that_is_too_large_is_not_read(folder, name):
    """A sparse terabyte: to read it would take all memory."""
    with (folder / name).open("r+b") as file:
        file.truncate(2**40)
    check = check_vocabulary if name in FILES else lambda path: check_checkpoint(path, LANGUAGES)
    with pytest.raises(
        ConfigError, match=f"{name}: expected JSON of at most 134217728 bytes, got 10995"
    ):
        check(str(folder))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("tokenizer.json", {"model": None}, "model: expected the tokenizer's vocabulary, got None"),
        ("tokenizer.json", {"model": {"type": "BPE", "vocab": {}}}, "expected the tokenizer's vocabulary"),
        ("tokenizer.json", {"model": {"type": "X", "vocab": {"a": 1}, "merges": []}}, "it cannot be read"),
        ("tokenizer.json", {"decoder": {"type": "nothing"}}, "it cannot be read"),
        ("tokenizer_config.json", {"unk_token": 5}, "unk_token: expected a token, got 5"),
        ("tokenizer_config.json", {"additional_special_tokens": [1]}, "expected a token, got 1"),
        ("config.json", {"vocab_size": 100}, "expected tokens below vocab_size = 100 of config.json"),
        ("generation_config.json", {"text_decoder_lang_to_code_id": {"deu": 5}},
         "language tag of deu: expected token 5"),
    ],
)  # fmt: skip
def test_a_tokenizer_of_something_else_is_refused(folder, name, changes, message):
    content = json.loads((folder / name).read_text()) | changes
    (folder / name).write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"^model\.path: ") as error:
        check_vocabulary(str(folder))
    assert message in str(error.value)
    with pytest.raises(CheckpointError):  # and by the stage
        load_tokenizer(ModelSource(str(folder)))


@pytest.mark.parametrize("name", FILES)
def test_a_tokenizer_with_mutations_is_refused_in_one_line_or_loads(folder, name):
    """What the check takes, the stage loads, or refuses in one line too."""
    chance = random.Random(1)
    good = (folder / name).read_bytes()
    refused = []
    for _ in range(150):
        content = bytearray(good)
        for _ in range(chance.choice((1, 1, 2))):
            place = chance.randrange(len(content))
            pieces = [b"", bytes([chance.randrange(256)]), bytes([chance.choice(b'0-{}[]",:e')])]
            content[place : place + chance.choice((0, 1, 20))] = chance.choice(pieces)
        (folder / name).write_bytes(content)
        refused.append(refusal(lambda: check_tokenizer(ModelFiles(str(folder)))))
        if not refused[-1]:
            assert "\n" not in refusal(lambda: load_tokenizer(ModelSource(str(folder))))
    assert 5 < sum(map(bool, refused)) < 145
    for message in filter(None, refused):
        assert message.startswith(str(folder))
        assert "\n" not in message
        assert len(message) < 700


def refusal(call) -> str:
    """Why something is refused; empty where it is not."""
    try:
        call()
    except CheckpointError as error:
        return str(error)
    return ""


def test_what_is_read_again_for_every_job_needs_no_library(folder):
    """Nor does the whole check need torch."""
    code = (
        "import sys; from steplens.models.checkpoint import check_checkpoint, check_vocabulary; "
        f"check_checkpoint({str(folder)!r}, {LANGUAGES!r}); "
        "assert not {'tokenizers', 'sentencepiece'} & set(sys.modules); "
        f"check_vocabulary({str(folder)!r}); "
        "assert not {'torch', 'transformers', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT / "workflow", check=True)


@pytest.mark.parametrize("name", ["tokenizer.json", "sentencepiece.bpe.model"])
def test_where_the_library_is_not_installed_files_are_looked_at_from_outside(
    folder, name, monkeypatch
):
    """Snakemake's own environment has neither: the stage finds the rest."""
    for library in ("tokenizers", "sentencepiece"):
        monkeypatch.setitem(sys.modules, library, None)
    if name != "tokenizer.json":
        (folder / "tokenizer.json").rename(folder / name)
    check_vocabulary(str(folder))
    (folder / name).write_bytes(b"")
    with pytest.raises(
        ConfigError, match=f"{name}: expected a file of the tokenizer, got an empty file"
    ):
        check_vocabulary(str(folder))
