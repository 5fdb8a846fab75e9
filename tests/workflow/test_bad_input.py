"""Bad input: one clear message (what, where, expected, got, what to do), and nothing else damaged.

The tables stand in ``tests/bad_input``, one a topic. What other tests hold in more detail is theirs.
"""

import numpy as np
import pytest
from bad_input import (
    audio_cases,
    checkpoint_cases,
    config_cases,
    corpus_cases,
    start_cases,
    store_cases,
    study_cases,
)
from bad_input.case import Case, World, check
from fleurs_files import LANGUAGES, line, member, pitch_hz, tone, wav, write_archive, write_split

from steplens.comparison.measures import spearman_matrix
from steplens.corpus.sentences import choose_sentences
from steplens.ranking.scores.ap import average_precision
from steplens.speech.engines import recorded
from steplens.speech.engines.engine import Request

CASES: list[Case] = [
    case
    for topic in (
        config_cases, corpus_cases, audio_cases, checkpoint_cases, store_cases, start_cases,
        study_cases,
    )
    for case in topic.CASES
]  # fmt: skip


@pytest.fixture
def world(tmp_path, checkpoint, request, monkeypatch):
    """An empty folder, and small valid things that are shared."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return World(tmp_path, checkpoint, request.getfixturevalue, monkeypatch)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_has_one_clear_message(case, world, caplog):
    """All parts of the message are there, and the folder is as it was."""
    check(case, world, caplog)


def test_the_table_is_as_long_as_it_was_asked_for():
    """Sixty cases, each of another name."""
    assert len({case.name for case in CASES}) == len(CASES) >= 65


def test_what_looks_bad_and_is_legal_is_taken(tmp_path):
    """One word, digits, a byte order mark and carriage returns; recordings in stereo and at 8 kHz."""
    deu = LANGUAGES["deu"]
    path = write_split(tmp_path, deu, "test", [line(1, "Ja.", "ja"), line(2, "1984.", "1984")])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    found = choose_sentences(tmp_path, deu, ["test"], 2, 1, []).set_index("utterance")
    assert found["text"].to_dict() == {1: "ja", 2: "1984"}
    assert found.loc[1, "script_share"] == 1
    assert np.isnan(found.loc[2, "script_share"])
    members = {
        "1.wav": wav(np.stack([tone(300, 1)] * 2, 1)),
        "2.wav": wav(tone(300, 1, 8_000), 8_000),
    }
    archive = write_archive(
        tmp_path / "test.tar.gz", [(member(f"test/{name}"), data) for name, data in members.items()]
    )
    engine = recorded.open_engine(deu, {"audio": {"test": str(archive)}}, 1, 1)
    requests = [Request(n, "", 0, (("test", f"{n}.wav", 16_000),)) for n in (1, 2)]
    for take in engine.speak(requests):
        assert take.fault == ""
        assert take.wave.shape == (16_000,)
        assert pitch_hz(take.wave) == pytest.approx(300, abs=1)


def test_constant_neurons_have_the_ap_of_chance_and_no_correlation():
    """A dead neuron is no error: it tells no language, and its row has no Spearman correlation."""
    labels = np.repeat([0, 1], [4, 12])
    ap = average_precision(np.ones((16, 6), np.float16), labels)
    np.testing.assert_allclose(ap, [[0.25] * 6, [0.75] * 6])
    assert np.isnan(spearman_matrix(ap, ap)).all()
