"""The xtts engine on a real Xtts of coqui-tts, small and with random weights: it speaks noise."""

import hashlib
import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
from small_xtts import SPEAKERS, write_small_xtts

from steplens.errors import ConfigError
from steplens.files.atomic import write_parquet
from steplens.languages.table import load_languages
from steplens.speech.engines.apart import open_speaker
from steplens.speech.engines.engine import Request
from steplens.speech.speak import synthesize_corpus

DEU, CMN, JPN = (load_languages()[code] for code in ("deu", "cmn", "jpn"))
SETTINGS = {
    "revision": None, "speaker": SPEAKERS[0], "accept_cpml": True, "device": "cpu", "digest": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_small_xtts(tmp_path_factory.mktemp("xtts"))


@pytest.fixture(scope="module")
def open_engine():
    from steplens.speech.engines.xtts import open_engine

    return open_engine


@pytest.fixture(scope="module")
def german(checkpoint, open_engine):
    return open_engine(DEU, SETTINGS | {"path": str(checkpoint)}, 1, 1)


def spoken(engine, *requests):
    return [take.wave for take in engine.speak(list(requests))]


def test_audio_depends_on_neither_order_nor_neighbours(german):
    """But for rounding. And on the sentence id and the attempt it does."""
    request = Request(4, "Guten Tag.", 0)
    (alone,) = spoken(german, request)
    other, after = spoken(german, Request(3, "Ein anderer Satz.", 0), request)
    np.testing.assert_allclose(after, alone, atol=2e-5)
    again, sibling = spoken(german, replace(request, attempt=1), replace(request, utterance=5))
    for wave in (other, again, sibling):
        assert wave.shape != alone.shape or np.abs(wave - alone).max() > 1e-3


def test_audio_is_the_library_s_own_at_16_khz(german, checkpoint):
    """What Xtts.inference gives under the same seed, resampled from 24 kHz."""
    import torch
    from scipy.signal import resample_poly
    from TTS.tts.configs.xtts_config import XttsConfig
    from TTS.tts.models.xtts import Xtts

    config = XttsConfig()
    config.load_json(str(checkpoint / "config.json"))
    model = Xtts(config)
    model.load_checkpoint(config, checkpoint_dir=str(checkpoint), eval=True)
    request = Request(7, "Heute kauft der Koch Brot.", 2)
    torch.manual_seed(german.seed_of(request, 0))
    expected = model.synthesize(request.text, speaker=SPEAKERS[0], language="de")["wav"]
    (take,) = german.speak([request])
    np.testing.assert_allclose(take.wave, resample_poly(expected, 2, 3), atol=1e-6)
    assert take.seed == german.seed_of(request, 0)


def test_long_text_is_spoken_in_parts_within_both_limits(german):
    """Characters, at sentence ends first, and text tokens."""
    sentence = "Am Montag kauft der alte Lehrer im Dorf einen roten Apfel, und dann geht er."
    text = " ".join([sentence] * 5)
    parts = german.parts(text)
    assert " ".join(parts) == text
    assert len(parts) > 1
    tokenizer = german._model.tokenizer
    for part in parts:
        assert len(part) <= tokenizer.char_limits["de"]
        assert len(tokenizer.encode(part.lower(), "de")) < german._model.args.gpt_max_text_tokens
        assert part.endswith((".", ","))
    (take,) = german.speak([Request(1, text, 0)])
    assert take.origin == f"{len(parts)} parts"


@pytest.mark.parametrize(
    ("language", "text"),
    [(CMN, "今天早上，老师在银行。"), (JPN, "今朝、先生は学校で銀行の話をした。")],
    ids=["cmn", "jpn"],
)
def test_chinese_and_japanese_are_read_by_their_pronunciation(
    checkpoint, open_engine, language, text
):
    """Through the library's own transliteration; the packages it needs are there."""
    engine = open_engine(language, SETTINGS | {"path": str(checkpoint)}, 1, 1)
    said = engine._model.tokenizer.preprocess_text(text, language.xtts.split("-")[0])
    assert ("yin2hang2" in said.replace(" ", "")) if language is CMN else ("ginkou" in said)
    (wave,) = spoken(engine, Request(1, text, 0))
    assert len(wave) > 1000


def spoken_by_xtts(checkpoint, folder, code, texts):
    """The table of the speech stage for these texts."""
    corpus = {"utterance": range(1, len(texts) + 1), "raw_transcription": texts, "text": texts}
    write_parquet(pd.DataFrame(corpus).assign(recordings="[]"), folder / "corpus.parquet")
    checks = {
        "max_attempts": 3, "min_seconds_per_character": 0.0, "max_seconds_per_character": 9.0,
        "max_silent_share": 1.0, "max_clipped_share": 1.0,
    }  # fmt: skip
    output = folder / "speech" / f"{code}.parquet"
    settings = SETTINGS | {"path": str(checkpoint), "batch_size": 4}
    synthesize_corpus(
        folder / "corpus.parquet",
        load_languages()[code],
        "xtts",
        settings,
        checks,
        {},
        1,
        1,
        output,
    )
    return pd.read_parquet(output)


@pytest.fixture(scope="module")
def many_languages(tmp_path_factory):
    from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer

    languages = ["zh-cn" if one == "zh" else one for one in VoiceBpeTokenizer().char_limits]
    return write_small_xtts(tmp_path_factory.mktemp("xtts"), languages)


def test_what_the_text_front_end_refuses_is_a_fault_of_that_sentence_alone(
    many_languages, tmp_path, caplog
):
    """Found before the model loads, counted, named with its text; the others are spoken, once each."""
    texts = ["यह एक घर है।", "यहाँ 50 लोग हैं।", "यह भी एक घर है।"]
    table = spoken_by_xtts(many_languages, tmp_path, "hin", texts)
    assert table["unusable"].tolist() == [False, True, False]
    assert table["attempt"].tolist() == [0, 0, 0]
    assert table["available"].fillna(-1).tolist() == [-1, 1, -1]
    assert table["problem"][0] == table["problem"][2] == ""
    assert "digits that cannot be spelled out in Hindi: 50" in table["problem"][1]
    assert (
        "XTTS's text front end refuses 'यहाँ 50 लोग हैं।': NotImplementedError" in table["problem"][1]
    )
    assert "hin: 1 of 3 sentences: digits that cannot be spelled out in Hindi" in caplog.text


def test_no_weights_are_loaded_to_try_the_text_front_end(many_languages, tmp_path):
    from steplens.speech.engines.xtts import text_faults

    folder = tmp_path / "xtts"
    shutil.copytree(many_languages, folder)
    (folder / "model.pth").write_bytes(b"no weights")
    settings = SETTINGS | {"path": str(folder)}
    faults = text_faults(load_languages()["hin"], settings, ["यह एक घर है।", "50 " + "घर " * 300])
    assert faults[0] == ""
    assert len(faults[1]) < 200


def test_every_language_of_xtts_takes_sentences_with_numbers(many_languages):
    """As they are given to it; but for Hindi, whose numbers nothing spells out."""
    from steplens.speech.engines.xtts import text_faults
    from steplens.speech.texts import spoken_text

    settings = SETTINGS | {"path": str(many_languages)}
    for language in load_languages().values():
        if language.xtts and language.code != "hin":
            text = "1,000,000 + 10 000, 15. 3.5 3,5 1984 50% $20 ٢٠"
            spoken = spoken_text(text, language, "xtts")
            assert spoken.problem == ""
            assert text_faults(language, settings, [spoken.text]) == [""], language.code


def test_groups_of_thousands_are_the_same_speech(many_languages, tmp_path):
    """French spaces of any width; and the number is said whole."""
    texts = ["Il y a 10 000 mots.", "Il y a 10\u202f000 mots.", "Il y a 10\u00a0000 mots."]
    from steplens.speech.texts import spoken_text

    given = {spoken_text(text, load_languages()["fra"], "xtts").text for text in texts}
    assert given == {"Il y a dix mille mots."}


def test_turkish_capitals_keep_their_dots(many_languages, open_engine):
    from steplens.speech.engines.xtts import TextFrontEnd

    class Tokenizer:
        char_limits = {"tr": 226}  # noqa: RUF012

        def encode(self, text, language):
            return text

    assert TextFrontEnd(Tokenizer(), "tr", 400).tokens("ISPARTA'da İzmir") == "ısparta'da izmir"


def test_the_stage_keeps_raw_text_seed_and_measures(checkpoint, tmp_path):
    """Through steplens.speech.speak, to 16-bit WAV at 16 kHz."""
    corpus = pd.DataFrame(
        {
            "utterance": [4, 2],
            "raw_transcription": ["Guten Tag, Herr Müller.", "Ja."],
            "text": ["x", "y"],
            "recordings": ["[]", "[]"],
        }
    )
    write_parquet(corpus, tmp_path / "deu.parquet")
    checks = {
        "max_attempts": 2, "min_seconds_per_character": 0.0, "max_seconds_per_character": 9.0,
        "max_silent_share": 1.0, "max_clipped_share": 1.0,
    }  # fmt: skip
    output = tmp_path / "speech" / "deu.parquet"
    settings = SETTINGS | {"path": str(checkpoint)}

    def run():
        synthesize_corpus(tmp_path / "deu.parquet", DEU, "xtts", settings, checks, {}, 1, 1, output)
        return pd.read_parquet(output), (output.parent / "deu" / "4.wav").read_bytes()

    table, audio = run()
    assert table["utterance"].tolist() == [4, 2]
    assert table["voice"].unique().tolist() == [SPEAKERS[0]]
    assert table["seed"].gt(0).all()
    wave, rate = soundfile.read(output.parent / table["path"][0])
    assert (rate, len(wave)) == (16_000, table["n_samples"][0])
    (output.parent / "deu" / "4.wav").unlink()
    for harm in (lambda: None, lambda: shutil.rmtree(output.parent)):
        harm()
        again, same = run()  # in the same batch as before
        pd.testing.assert_frame_equal(again, table)
        assert same == audio


def test_a_killed_speaker_is_opened_again_and_gives_the_same_samples(checkpoint):
    """As the stage opens it, in a process of its own."""
    requests = [Request(4, "Guten Tag.", 0), Request(3, "Ein anderer Satz.", 0)]
    with open_speaker("xtts", DEU, SETTINGS | {"path": str(checkpoint)}, 1, 1) as speaker:
        assert speaker.voice == SPEAKERS[0]
        before = spoken(speaker, *requests)
        os.kill(speaker._worker._pid, signal.SIGKILL)
        after = spoken(speaker, *requests)
    assert len(before) == 2
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_checkpoint_is_read_and_never_written(checkpoint, open_engine, tmp_path):
    """Even one of the first form, which holds a config object and which coqui-tts would rewrite."""
    import torch
    from TTS.tts.configs.xtts_config import XttsConfig
    from TTS.tts.models import xtts as library

    copy = tmp_path / "first-form"
    shutil.copytree(checkpoint, copy)
    weights = torch.load(copy / "model.pth", weights_only=True)["model"]
    with library._legacy_safe_globals():  # under the module names that the published file holds
        torch.save({"model": weights, "config": XttsConfig()}, copy / "model.pth")
    before = hashlib.sha256((copy / "model.pth").read_bytes()).hexdigest()
    (copy / "model.pth").chmod(0o444)
    open_engine(DEU, SETTINGS | {"path": str(copy)}, 1, 1)
    assert hashlib.sha256((copy / "model.pth").read_bytes()).hexdigest() == before


def test_the_licence_must_be_accepted(checkpoint, open_engine):
    with pytest.raises(ConfigError, match=r"accept_cpml: .*coqui\.ai/cpml.* expected true"):
        open_engine(DEU, SETTINGS | {"path": str(checkpoint), "accept_cpml": False}, 1, 1)


def test_an_unknown_speaker_is_refused_with_those_there_are(checkpoint, open_engine):
    settings = SETTINGS | {"path": str(checkpoint), "speaker": "Anna Florenz"}
    with pytest.raises(ValueError, match=r"2 speakers, got 'Anna Florenz'; close: Ana Florence"):
        open_engine(DEU, settings, 1, 1)


def test_a_language_that_the_checkpoint_lacks_is_refused(checkpoint, open_engine):
    with pytest.raises(ValueError, match=r"speaks en, de, .*not ko \(Korean\)"):
        open_engine(
            replace(DEU, name="Korean", xtts="ko"), SETTINGS | {"path": str(checkpoint)}, 1, 1
        )


@pytest.mark.parametrize("name", ["config.json", "vocab.json", "speakers_xtts.pth", "model.pth"])
def test_each_missing_file_is_named(checkpoint, open_engine, tmp_path, name):
    for file in checkpoint.iterdir():
        if file.name != name:
            (tmp_path / file.name).symlink_to(file)
    with pytest.raises(ConfigError, match=f"has no {name}"):
        open_engine(DEU, SETTINGS | {"path": str(tmp_path)}, 1, 1)
