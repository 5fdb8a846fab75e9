"""Speech of a fixed length: against transformers' own extractor and encoders on the padded or cut wave."""

import contextlib
import logging

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import made_by, relative_difference
from slow_fixed_encoder import slowly_fixed, some
from slow_generation import one_thread  # noqa: F401
from tiny_checkpoints import FAMILIES, write_checkpoint

from steplens.config.run import parse_config
from steplens.files import audio
from steplens.files.atomic import write_parquet
from steplens.files.audio import read_utterance, write_wav
from steplens.files.fixed_length import (
    LONGEST_SECONDS,
    SAMPLING_RATE_HZ,
    SHORTEST_SECONDS,
    cut_and_padded,
    fitted,
    n_samples_of,
)
from steplens.generation.decode import decode
from steplens.models.neurons import slots
from steplens.models.seamless import features
from steplens.models.seamless.loading import family_class, load_config
from steplens.models.source import ModelSource
from steplens.planning.model import PUBLISHED, Model
from steplens.planning.work import Sentences, disk_bytes, work_units
from steplens.recording.encode import encode
from steplens.report.write import length_of_speech
from steplens.run.verify import Verification, verify
from steplens.speech.takes import file_digest
from steplens.store.reading import open_store, read_states
from steplens.studies.causal.fixed_encoder import FixedEncoder

SECONDS = 1.5
SAMPLES = [9_999, 31_000, 24_000, 23_990, 16_000]  # shorter, longer, equal, by a hair, shorter
UTTERANCES = [41, 42, 43, 44, 45]


def by_hand(wave, seconds):
    """The wave of that length, sample by sample."""
    n_samples = round(16_000 * seconds)
    return np.array([wave[at] if at < len(wave) else 0.0 for at in range(n_samples)], wave.dtype)


def noise(n_samples, seed=0):
    """A voice's place in this file: loud and soft by turns."""
    generator = np.random.default_rng(seed)
    loudness = 0.1 * (1.1 + np.sin(np.arange(n_samples) / 1500))
    return (loudness * generator.normal(0, 0.3, n_samples)).astype(np.float32)


@pytest.mark.parametrize("n_samples", [10, 23_999, 24_000, 24_001, 90_000])
def test_a_wave_is_cut_or_filled_up_with_zeros_at_its_end(n_samples):
    wave = noise(n_samples)
    found = fitted(wave, SECONDS)
    np.testing.assert_array_equal(found, by_hand(wave, SECONDS))
    assert found.dtype == np.float32


def test_the_limits_are_those_of_features_and_of_audio():
    """Below one stacked frame there are no features; longer audio is never encoded."""
    assert SAMPLING_RATE_HZ == features.SAMPLING_RATE_HZ == audio.SAMPLING_RATE_HZ
    assert LONGEST_SECONDS == audio.MAX_SECONDS
    assert len(features.speech_features(noise(n_samples_of(SHORTEST_SECONDS)))) == 1
    with pytest.raises(ValueError, match="at least 560 samples, got 559"):
        features.speech_features(noise(n_samples_of(SHORTEST_SECONDS) - 1))


@pytest.mark.parametrize("seconds", [SHORTEST_SECONDS, 5, 120.0, None])
def test_any_length_between_is_taken(seconds):
    assert parse_config({"encoding": {"fixed_seconds": seconds}}).encoding.fixed_seconds == seconds


def test_what_is_cut_and_padded_is_counted():
    """In seconds, of all utterances and of the one that it concerns most."""
    assert cut_and_padded(np.array(SAMPLES), SECONDS) == (
        1,
        "1 of 5 cut (0.4 s of speech not heard, 0.4 s of one at most), "
        "3 of 5 padded (1.4 s of zeros, 0.9 s of one at most)",
    )
    assert cut_and_padded(np.array([24_000]), SECONDS) == (0, "0 of 1 cut, 0 of 1 padded")


@pytest.mark.parametrize("n_samples", [16_000, 48_123, 80_000, 100_000])
def test_features_equal_the_extractors_on_the_padded_wave(n_samples):
    """5 s, also where four of them are digital silence; within 1e-3 (D13), at every position."""
    from transformers import SeamlessM4TFeatureExtractor

    wave = by_hand(noise(n_samples), 5)
    slow = SeamlessM4TFeatureExtractor()(wave, sampling_rate=16_000, return_tensors="np")
    fast = features.speech_features(fitted(noise(n_samples), 5)).numpy()
    assert slow["attention_mask"].all()
    np.testing.assert_allclose(fast, slow["input_features"][0], atol=1e-3)
    # Silence has the floor of every bin: one row, again and again.
    silent = fast[-(-n_samples // 320) + 1 :]
    assert (silent == silent[:1]).all()


# --- the stages -------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["demo", *FAMILIES])
def source(request, checkpoint, tmp_path_factory):
    """The second family in two sizes, and the first."""
    if request.param != "demo":
        folder = tmp_path_factory.mktemp(request.param)
        write_checkpoint(folder, checkpoint, request.param)
        checkpoint = folder
    return ModelSource(str(checkpoint), None, "float32", "cpu")


def write_speech(folder, samples=SAMPLES):
    """``corpus/deu.parquet`` and noise as ``speech/deu.parquet``."""
    texts = [f"satz {number}" for number in UTTERANCES]
    corpus = {"utterance": UTTERANCES, "raw_transcription": texts, "text": texts, "split": "test"}
    write_parquet(pd.DataFrame(corpus), folder / "corpus" / "deu.parquet")
    (folder / "speech").mkdir()
    paths = [f"{number}.wav" for number in UTTERANCES]
    for seed, (name, length) in enumerate(zip(paths, samples, strict=True)):
        write_wav(folder / "speech" / name, noise(length, seed))
    digests = [file_digest(folder / "speech" / name) for name in paths]
    spoken = {"utterance": UTTERANCES, "path": paths, "n_samples": samples, "sha256": digests}
    write_parquet(pd.DataFrame(spoken), folder / "speech" / "deu.parquet")


def encoded(folder, source, name, fixed_seconds=None, batch_size=4, modality="speech"):
    """The store of a pass over the speech of ``folder``."""
    store = folder / "encoder" / name / "deu.zarr"
    encode(
        source, modality, "deu", folder / "corpus" / "deu.parquet", folder / "speech" / "deu.parquet",
        store, "float32", batch_size, made_by(source), fixed_seconds,
    )  # fmt: skip
    return open_store(store)


@pytest.fixture(scope="module")
def run(source, tmp_path_factory):
    """Five utterances, encoded at a length of 1.5 s in batches of four."""
    folder = tmp_path_factory.mktemp("run")
    write_speech(folder)
    encoded(folder, source, "speech", SECONDS)
    return folder


def waves(folder):
    """Every utterance's audio, padded or cut by hand."""
    return [
        by_hand(read_utterance(folder / "speech" / f"{number}.wav"), SECONDS)
        for number in UTTERANCES
    ]


def whole_model(source):
    """As a user of transformers would load it."""
    model = family_class(load_config(source), "ForSpeechToText")
    loaded = model.from_pretrained(source.path, dtype=torch.float32, attn_implementation="sdpa")
    return loaded.eval()


def plain_hooks(model, values):
    """Means over all positions and final states of one utterance; no mask is given to the encoder."""
    seen = {}
    handles = []
    own = slots(model.config, "speech_encoder")
    for slot in own:

        def hook(_module, _args, output, slot=slot):
            axis = 2 if slot.site.channels_first else 1
            seen[slot.path] = output.mean(axis)[0].clone()

        module = model.speech_encoder.get_submodule(slot.path)
        handles.append(module.register_forward_hook(hook))
    with torch.no_grad():
        states = model.speech_encoder(values).last_hidden_state[0]
    for handle in handles:
        handle.remove()
    return torch.cat([seen[slot.path] for slot in own]).numpy(), states.numpy()


def test_stores_hold_plain_means_over_all_positions_of_the_padded_wave(run, source):
    """Of the whole model without a mask, on its own extractor's features and on ours."""
    from transformers import SeamlessM4TFeatureExtractor

    model, extractor = whole_model(source), SeamlessM4TFeatureExtractor()
    store = open_store(run / "encoder" / "speech" / "deu.zarr")
    states = read_states(store)
    for row, wave in enumerate(waves(run)):
        theirs = extractor(wave, sampling_rate=16_000, return_tensors="pt")
        assert theirs["attention_mask"].all()
        ours = features.speech_features(wave)[None]
        for values, most in ((ours, 1e-5), (theirs["input_features"], 1e-3)):
            activation, final = plain_hooks(model, values)
            assert relative_difference(store["activation"][row].to_numpy(), activation) < most
            assert len(final) == store["n_positions"][row]
            assert relative_difference(states[row], final) < most


def test_decoding_attends_to_all_positions(run, source):
    """Token for token what the whole model generates from the padded wave, with a mask of ones."""
    store = run / "encoder" / "speech" / "deu.zarr"
    decode(source, "asr", "deu", "eng", store, run / "asr.parquet", 8, 4, made_by(source))
    decoded = pd.read_parquet(run / "asr.parquet")["tokens"]
    model = whole_model(source)
    for tokens, wave in zip(decoded, waves(run), strict=True):
        values = features.speech_features(wave)[None]
        mask = torch.ones(values.shape[:2], dtype=torch.long)
        with torch.no_grad():
            slow = model.generate(values, attention_mask=mask, tgt_lang="deu", num_beams=1,
                                  do_sample=False, max_new_tokens=8)  # fmt: skip
        content = slow[0, 2:].tolist()
        assert list(tokens) == (content[: content.index(3)] if 3 in content else content)


def test_a_batch_is_its_rows_alone(run, source):
    together = open_store(run / "encoder" / "speech" / "deu.zarr")
    alone = encoded(run, source, "alone", SECONDS, batch_size=1)
    for name in ("activation", "hidden_state", "state"):
        assert relative_difference(together[name], alone[name]) < 1e-5


def test_the_store_says_its_length_and_a_natural_one_does_not(run, source, caplog):
    """And the log of a language says how much was cut."""
    caplog.set_level(logging.INFO)
    encoded(run, source, "again", SECONDS)
    told = [one for one in caplog.records if "every utterance made 1.5 s long" in one.getMessage()]
    assert [one.levelname for one in told] == ["WARNING"]
    assert "speech of deu" in told[0].getMessage()
    assert "1 of 5 cut (0.4 s of speech" in told[0].getMessage()
    assert open_store(run / "encoder" / "again" / "deu.zarr").attrs["fixed_seconds"] == SECONDS
    natural = encoded(run, source, "natural")
    assert "fixed_seconds" not in natural.attrs
    assert len(np.unique(natural["n_positions"])) > 1


def test_where_nothing_is_cut_or_padded_the_numbers_are_those_of_natural_lengths(source, tmp_path):
    """Bit for bit: neither the features nor the mask differ."""
    write_speech(tmp_path, [24_000] * 5)
    fixed, natural = (
        encoded(tmp_path, source, name, seconds)
        for name, seconds in (("fixed", 1.5), ("natural", None))
    )
    assert fixed.attrs["digest"] == natural.attrs["digest"]


def test_verify_finds_a_store_of_another_length(run, source):
    wanted = {
        "results": run, "languages": ["deu"], "tasks": [], "steps": [], "dtype": "float32",
        "made_by": {"encode_speech": made_by(source)}, "n_utterances": 5, "modalities": ("speech",),
    }  # fmt: skip

    def said_of_the_store(**length):
        problems = verify(Verification(**wanted, **length), 1).problems
        return [one for one in problems if "encoder/speech/deu.zarr: " in one]

    assert said_of_the_store(fixed_seconds=SECONDS) == []
    (problem,) = said_of_the_store()
    assert "fixed_seconds: expected None, got 1.5" in problem


def test_encoders_with_neurons_fixed_take_the_same_speech(run, source):
    """Without any the states of the store; with some those of slow hooks, at all positions."""
    sentences = pd.read_parquet(run / "corpus" / "deu.parquet")
    spoken = run / "speech" / "deu.parquet"
    encoder = FixedEncoder(source, "speech", "deu", sentences, spoken, SECONDS)
    assert encoder.lengths.tolist() == [24_000] * 5
    stored = read_states(open_store(run / "encoder" / "speech" / "deu.zarr"))
    for own, state in zip(stored, encoder.states([0, 1, 2, 3], [None] * 4), strict=False):
        np.testing.assert_array_equal(state, own)
    fixed = [some(encoder, 1), some(encoder, 2), None]
    together = encoder.states([0, 1, 2], fixed)
    for wave, own, state in zip(waves(run), fixed, together, strict=False):
        values = features.speech_features(wave)[None]
        with slowly_fixed(encoder, own) if own else contextlib.nullcontext(), torch.no_grad():
            alone = encoder.encoder(values).last_hidden_state[0]
        assert relative_difference(state, alone) < 1e-5


# --- plan and report --------------------------------------------------------------------------------


def test_a_plan_counts_the_seconds_that_are_encoded():
    """n times the fixed length, of audio and of final states; speech itself is made as ever."""
    model = Model("seamless-m4t-v2-large", PUBLISHED["seamless-m4t-v2-large"], "")
    engines = {"deu": "espeak", "jpn": "espeak"}
    sentences = dict.fromkeys(engines, Sentences(60, 10.0, 30.0))
    one = {"languages": list(engines), "corpus": {"n_utterances": 60}}
    natural = parse_config(one)
    fixed = parse_config(one | {"encoding": {"fixed_seconds": 4.0}})
    units = [work_units(config, model, sentences, engines) for config in (natural, fixed)]
    assert [one["encode_speech"] for one in units] == [2 * 60 * 10, 2 * 60 * 4]
    assert {name for name in units[0] if units[0][name] != units[1][name]} == {"encode_speech"}
    n_bytes = [
        disk_bytes(config, model, sentences, engines, "float16") for config in (natural, fixed)
    ]
    less = n_bytes[0]["encode_speech"] - n_bytes[1]["encode_speech"]
    assert less == pytest.approx(2 * 60 * (10 - 4) * 6.25 * 1024 * 2)
    assert {name for name in n_bytes[0] if n_bytes[0][name] != n_bytes[1][name]} == {
        "encode_speech"
    }


def test_the_report_says_what_the_encoder_was_given():
    assert length_of_speech(np.array(SAMPLES), None) == "as spoken; padding is masked"
    told = length_of_speech(np.array(SAMPLES), 1.5)
    assert told.startswith("1.5 s, all positions count: 1 of 5 cut (0.4 s of speech not heard")
