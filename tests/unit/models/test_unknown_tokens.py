"""Characters that the vocabulary lacks are counted, in what the model reads and in what it writes."""

import logging

import numpy as np
import pandas as pd
import pytest
from conftest import made_by, write_table
from fleurs_files import LANGUAGES, line, write_split

from steplens.files.atomic import write_csv
from steplens.generation.decode import decode
from steplens.models.seamless.loading import load_tokenizer
from steplens.models.unknown_tokens import count_unknown, log_unknown_output, unknown_characters
from steplens.recording.encode import encode
from steplens.steering.summary import score_decoding

TEXTS = ["der koch geht", "帚 und 帚 und 箒", "ein haus"]


@pytest.fixture(scope="module")
def tokenizer(source):
    tokenizer = load_tokenizer(source)
    tokenizer.src_lang = "deu"
    return tokenizer


@pytest.fixture(scope="module")
def run(source, tmp_path_factory):
    """Three German sentences through encode and decode, of which one has Chinese characters."""
    folder = tmp_path_factory.mktemp("run")
    sentences = pd.DataFrame({"utterance": [4, 5, 6], "text": TEXTS})
    write_table(sentences, folder / "deu.parquet", language="deu")
    store = folder / "text.zarr"
    encode(
        source, "text", "deu", folder / "deu.parquet", None, store, "float32", 4, made_by(source)
    )
    for name, corpus in (("tr", folder / "deu.parquet"), ("without", None)):
        decode(
            source,
            "tr",
            "deu",
            "eng",
            store,
            folder / f"{name}.parquet",
            8,
            4,
            made_by(source),
            corpus,
        )
    return folder


def test_every_unknown_token_counts_once(tokenizer):
    ids = [tokenizer(text).input_ids for text in TEXTS]
    assert count_unknown(ids, tokenizer.unk_token_id).tolist() == [
        sum(one == tokenizer.unk_token_id for one in row) for row in ids
    ]
    assert count_unknown(ids, tokenizer.unk_token_id)[1] >= 3
    assert count_unknown([], 1).tolist() == []


def test_the_characters_are_those_of_the_text(tokenizer):
    """Without the spaces that the tokenizer takes with them; nothing where all is known."""
    assert unknown_characters(TEXTS, tokenizer) == {"帚": 2, "箒": 1}
    assert not unknown_characters([TEXTS[0], TEXTS[2]], tokenizer)


def test_encode_names_what_it_cannot_read(source, run, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    encode(
        source,
        "text",
        "deu",
        run / "deu.parquet",
        None,
        tmp_path / "a.zarr",
        "float32",
        4,
        made_by(source),
    )
    (told,) = [one.getMessage() for one in caplog.records if "vocabulary" in one.getMessage()]
    assert told.startswith(
        "text of deu: expected characters of the model's vocabulary, got others: 3 of "
    )
    assert "in 1 of 3 sentences ('帚' 2 times, '箒' 1 times)" in told
    assert "write them otherwise" in told


def test_decode_counts_both_sides_of_every_sentence(run, tokenizer):
    """Of speech nothing is read as tokens."""
    found = pd.read_parquet(run / "tr.parquet").set_index("utterance")
    assert found["n_unknown_input"].tolist() == [0, 3, 0]
    assert found["n_input_tokens"].tolist() == [len(tokenizer(text).input_ids) for text in TEXTS]
    written = [(np.array(one) == tokenizer.unk_token_id).sum() for one in found["tokens"]]
    assert found["n_unknown_output"].tolist() == written
    without = pd.read_parquet(run / "without.parquet")
    assert without[["n_input_tokens", "n_unknown_input"]].isna().all().all()
    assert without["tokens"].map(list).tolist() == found["tokens"].map(list).tolist()


def test_unknown_tokens_that_are_written_are_told(caplog):
    caplog.set_level(logging.WARNING)
    assert log_unknown_output("asr of deu", [[5, 1, 6], [1], [7, 3]], 1).tolist() == [1, 1, 0]
    assert "asr of deu: " in caplog.text
    assert "got the unknown token: 2 of 6 tokens (33 %) in 2 of 3 sentences" in caplog.text
    caplog.clear()
    assert log_unknown_output("asr of deu", [[5]], 1).tolist() == [0]
    assert not caplog.records


def test_recognition_has_the_counts_of_every_task_and_language(run, tmp_path, caplog):
    """Without the sentences that are left out; empty where a task reads speech."""
    write_split(tmp_path, LANGUAGES["eng"], "test", [line(one) for one in (4, 5, 6)])
    spoken = pd.read_parquet(run / "without.parquet").assign(n_unknown_output=[2, 0, 1])
    write_table(spoken, tmp_path / "asr.parquet", task="asr", language="deu")
    quality = tmp_path / "quality.csv"
    rows = {"language": ["deu", "deu"], "utterance": [6, 5], "left_out": [True, False]}
    write_csv(pd.DataFrame(rows), quality)
    score_decoding(
        {"deu": run / "deu.parquet"},
        {("asr", "deu"): tmp_path / "asr.parquet", ("tr", "deu"): run / "tr.parquet"},
        tmp_path, ["test"], "eng", 10, 1, tmp_path / "recognition.csv", quality,
    )  # fmt: skip
    found = pd.read_csv(tmp_path / "recognition.csv").set_index("task")
    written = pd.read_parquet(run / "tr.parquet")
    assert found.loc["tr", "n_unknown_input"] == 3
    assert found.loc["tr", "n_input_tokens"] == written["n_input_tokens"].iloc[:2].sum()
    assert found.loc["tr", "n_output_tokens"] == written["n_tokens"].iloc[:2].sum()
    assert found.loc["asr", "n_unknown_output"] == 2
    assert found.loc["asr", ["n_input_tokens", "n_unknown_input"]].isna().all()
    assert (
        "tr of deu: expected characters of the model's vocabulary, got 3 unknown tokens of"
        in caplog.text
    )
