"""The espeak engine: audio that depends on its sentence alone."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from steplens.atomic import write_parquet
from steplens.espeak import synthesize
from steplens.languages import load_languages
from steplens.speech import synthesize_corpus


def test_audio_does_not_depend_on_order_neighbours_or_threads():
    """Whatever was spoken before, and however many at a time."""
    first, second = "heute kauft der koch", "im winter sucht das mädchen eine lampe"
    alone = next(synthesize([second], "de"))
    after = list(synthesize([first, second, first], "de", threads=2))
    np.testing.assert_array_equal(alone, after[1])
    np.testing.assert_array_equal(after[0], after[2])


@pytest.mark.parametrize("language", load_languages().values(), ids=lambda one: one.code)
def test_every_language_of_the_table_speaks(language):
    """Mono float32 within [-1, 1], of a plausible length."""
    text = {"cmn": "今天早上老师在学校", "jpn": "けさ せんせいは"}.get(language.code, "la casa")
    (wave,) = synthesize([text], language.espeak)
    assert wave.dtype == np.float32
    assert wave.ndim == 1
    assert 0.3 < len(wave) / 16_000 < 5
    assert 0.05 < np.abs(wave).max() < 1.2


def test_an_unknown_voice_is_refused():
    with pytest.raises(ValueError, match="no voice 'not-a-voice'"):
        list(synthesize(["a"], "not-a-voice"))


def test_the_stage_writes_audio_and_a_table(tmp_path):
    """16-bit WAV at 16 kHz, as long as the table says; the raw transcription is spoken."""
    corpus = pd.DataFrame(
        {"utterance": [4, 2], "raw_transcription": ["Guten Tag.", "Ja."], "text": ["x", "y"]}
    )
    write_parquet(corpus, tmp_path / "corpus" / "deu.parquet")
    output = tmp_path / "speech" / "deu.parquet"
    german = load_languages()["deu"]
    synthesize_corpus(tmp_path / "corpus" / "deu.parquet", german, "espeak", 200, 1, output)
    table = pd.read_parquet(output)
    assert table["utterance"].tolist() == [4, 2]
    for row in table.itertuples():
        wave, rate = soundfile.read(output.parent / row.path)
        assert rate == 16_000
        assert len(wave) == row.n_samples
        assert row.seconds == pytest.approx(len(wave) / rate)
    assert table["seconds"][0] > table["seconds"][1]


def test_a_language_without_a_voice_is_refused(tmp_path):
    from dataclasses import replace

    mute = replace(load_languages()["deu"], espeak="")
    with pytest.raises(ValueError, match=r"does not speak German \(deu\)"):
        synthesize_corpus(tmp_path / "c", mute, "espeak", 200, 1, tmp_path / "o")
