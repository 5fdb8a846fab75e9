"""Batched XTTS against the library's own inference, one text at a time, on a small real Xtts."""

import numpy as np
import pandas as pd
import pytest
import torch
from small_xtts import SPEAKERS, write_small_xtts

from steplens.files.atomic import write_parquet
from steplens.languages.table import load_languages
from steplens.speech.engines.engine import Request

DEU = load_languages()["deu"]
# Few codes, so that the one that ends speech is drawn sooner in one text and later in the next.
N_CODES = 15
SIZES = {
    "gpt_max_audio_tokens": 19, "gpt_num_audio_tokens": N_CODES,
    "gpt_start_audio_token": N_CODES - 2, "gpt_stop_audio_token": N_CODES - 1,
}  # fmt: skip
TEXTS = ("Ja.", "Guten Tag, Herr Lehrer.", "Heute kauft der Koch im Dorf einen roten Apfel.")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_small_xtts(tmp_path_factory.mktemp("xtts"), **SIZES)


@pytest.fixture(scope="module")
def vocoder():
    """The library's, but narrow: Xtts itself makes it at full width only, which takes seconds a text."""
    from TTS.tts.layers.xtts.hifigan_decoder import HifiDecoder

    torch.manual_seed(4)
    return HifiDecoder(
        decoder_input_dim=64, d_vector_dim=64, upsample_initial_channel_decoder=32
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def german(checkpoint, vocoder):
    from steplens.speech.engines.xtts import open_engine

    settings = {
        "path": str(checkpoint), "revision": None, "speaker": SPEAKERS[0], "accept_cpml": True,
        "device": "cpu", "digest": "", "batch_size": None,
    }  # fmt: skip
    engine = open_engine(DEU, settings, 1, 1)
    engine._model.hifigan_decoder = vocoder
    return engine


@pytest.fixture(scope="module")
def library(checkpoint, vocoder):
    """Xtts as the library loads it, and nothing of ours."""
    from TTS.tts.configs.xtts_config import XttsConfig
    from TTS.tts.models.xtts import Xtts

    config = XttsConfig()
    config.load_json(str(checkpoint / "config.json"))
    model = Xtts(config)
    model.load_checkpoint(config, checkpoint_dir=str(checkpoint), eval=True)
    model.hifigan_decoder = vocoder
    return model


@pytest.fixture(scope="module")
def exact(library):
    """Its GPT in float64: what is left of rounding then tips no choice."""
    import copy

    return copy.deepcopy(library.gpt).double()


@pytest.fixture
def generator():
    """Other numbers every day; a failure says which."""
    seed = np.random.SeedSequence().entropy % 2**32
    print("seed", seed)
    return np.random.default_rng(seed)


def random_texts(generator, gpt, n):
    lengths = generator.integers(1, 50, n)
    return [generator.integers(4, gpt.number_text_tokens, size).tolist() for size in lengths]


@torch.inference_mode()
def one_at_a_time(gpt, voice, text, seed, sampling):
    """What Xtts.inference does with the GPT: codes, and the latents of its second pass."""
    tokens = torch.tensor([text], dtype=torch.int32)
    torch.manual_seed(seed)
    codes = gpt.generate(
        cond_latents=voice, text_inputs=tokens, do_sample=not sampling.greedy, num_beams=1,
        top_p=sampling.top_p, top_k=sampling.top_k, temperature=sampling.temperature,
        repetition_penalty=sampling.repetition_penalty, num_return_sequences=1, length_penalty=1.0,
        output_attentions=False,
    )  # fmt: skip
    latents = gpt(
        tokens, torch.tensor([len(text)]), codes, torch.tensor([codes.shape[1] * gpt.code_stride_len]),
        cond_latents=voice, return_attentions=False, return_latent=True,
    )  # fmt: skip
    return codes[0], latents[0]


@pytest.mark.parametrize("kind", ["greedy", "sampled", "sampled otherwise"])
def test_codes_and_latents_are_the_library_s(exact, generator, kind):
    """Of every row, whatever it is batched with; rows end at other times, or not at all."""
    from steplens.speech.engines.xtts_batch import generate
    from steplens.speech.engines.xtts_sampling import Sampling

    sampling = {
        "greedy": Sampling(greedy=True, repetition_penalty=1.2),
        "sampled": Sampling(),
        "sampled otherwise": Sampling(0.6, 5.0, 7, 0.99),
    }[kind]
    voice = torch.from_numpy(generator.standard_normal((1, 32, 64)))
    texts = random_texts(generator, exact, 9)
    seeds = generator.integers(2**63, size=len(texts)).tolist()
    expected = [
        one_at_a_time(exact, voice, text, seed, sampling)
        for text, seed in zip(texts, seeds, strict=True)
    ]
    for batch_size in (1, 3, 16):
        found = []
        for start in range(0, len(texts), batch_size):
            part = slice(start, start + batch_size)
            found += generate(exact, voice, texts[part], seeds[part], sampling)
        for one, (codes, latents) in zip(found, expected, strict=True):
            assert one.codes.tolist() == codes.tolist()
            torch.testing.assert_close(one.latents, latents, rtol=0, atol=1e-5)
    if kind != "greedy":
        assert len({len(codes) for codes, _ in expected}) > 2


def test_float32_gives_the_same(library):
    """Rounding may tip a choice between codes: not here, and in none of 70,000 codes once drawn."""
    from steplens.speech.engines.xtts_batch import generate
    from steplens.speech.engines.xtts_sampling import Sampling

    generator = np.random.default_rng(3)
    voice = torch.from_numpy(generator.standard_normal((1, 32, 64))).float()
    texts = random_texts(generator, library.gpt, 8)
    seeds = generator.integers(2**63, size=len(texts)).tolist()
    found = generate(library.gpt, voice, texts, seeds, Sampling())
    for one, text, seed in zip(found, texts, seeds, strict=True):
        codes, latents = one_at_a_time(library.gpt, voice, text, seed, Sampling())
        assert one.codes.tolist() == codes.tolist()
        torch.testing.assert_close(one.latents, latents, rtol=0, atol=1e-5)


def test_each_row_is_drawn_as_multinomial_draws_it(generator):
    """Ties, forbidden codes and rows that leave included."""
    from steplens.speech.engines.xtts_sampling import RowSampler, Sampling

    sampling = Sampling()
    seeds = generator.integers(2**63, size=5).tolist()
    logits = torch.from_numpy(generator.standard_normal((6, 5, 300)).astype(np.float32)).round(
        decimals=1
    )
    before = torch.from_numpy(generator.integers(300, size=(5, 20)))
    sampler = RowSampler(sampling, seeds, torch.device("cpu"))
    found = [sampler.draw(before, step) for step in logits[:3]]
    sampler.keep([0, 3])
    found += [sampler.draw(before[[0, 3]], step[[0, 3]]) for step in logits[3:]]
    for row, seed in enumerate(seeds):
        torch.manual_seed(seed)
        for number in range(6 if row in (0, 3) else 3):
            scores = sampling.processors()(before[row : row + 1], logits[number, row : row + 1])
            expected = torch.multinomial(scores.softmax(-1), 1).item()
            place = row if number < 3 else (0, 3).index(row)
            assert found[number][place].item() == expected


def test_waves_are_those_of_the_library_s_inference(german, library, monkeypatch):
    """Through the whole engine, from text to 16 kHz, batched and one by one."""
    from scipy.signal import resample_poly

    requests = [Request(number, text, 0) for number, text in enumerate(TEXTS)]
    expected = []
    for request in requests:
        torch.manual_seed(german.seed_of(request, 0))
        spoken = library.synthesize(request.text, speaker=SPEAKERS[0], language="de")["wav"]
        expected.append(resample_poly(spoken, 2, 3))
    for batch_size in (1, 3):
        monkeypatch.setattr(german, "batch_size", batch_size)
        for take, wave in zip(german.speak(requests), expected, strict=True):
            np.testing.assert_allclose(take.wave, wave, atol=2e-5)


def test_takes_come_batch_by_batch(german, monkeypatch):
    """In order; a text of several parts may lie in two batches. What was not asked for is not made."""
    from steplens.speech.engines import xtts

    sizes = []
    generate = xtts.generate

    def counting(gpt, voice, texts, *others):
        sizes.append(len(texts))
        return generate(gpt, voice, texts, *others)

    monkeypatch.setattr(xtts, "generate", counting)
    monkeypatch.setattr(german, "batch_size", 3)
    long = " ".join(["Am Montag kauft der alte Lehrer im Dorf einen roten Apfel."] * 5)
    assert len(german.parts(long)) == 3
    texts = ("Ja.", long, "Nein.", "Es regnet.", "Gut.")
    takes = german.speak([Request(number, text, 0) for number, text in enumerate(texts)])
    assert next(takes).origin == "1 part"
    assert sizes == [3]
    assert next(takes).origin == "3 parts"
    assert sizes == [3, 3]
    assert next(takes).origin == next(takes).origin == "1 part"
    assert sizes == [3, 3]
    assert len(list(takes)) == 1
    assert sizes == [3, 3, 1]


def test_a_batch_that_does_not_fit_is_halved(german, monkeypatch):
    from steplens.speech.engines import xtts

    requests = [Request(number, text, 0) for number, text in enumerate(TEXTS)]
    requests.append(Request(9, "Nein.", 1))
    assert german.batch_size == 16
    expected = list(german.speak(requests))
    generate, sizes = xtts.generate, []

    def small(gpt, voice, texts, *others):
        sizes.append(len(texts))
        if len(texts) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generate(gpt, voice, texts, *others)

    monkeypatch.setattr(xtts, "generate", small)
    found = list(german.speak(requests))
    assert sizes == [4, 2, 1, 1, 1, 1]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.wave, other.wave, atol=2e-5)


SENTENCES = (
    "Ja.", "Heute kauft der Koch Brot.", "Es regnet.", "Der alte Lehrer geht gern ins Dorf.", "Wo?",
)  # fmt: skip


@pytest.fixture
def stage(german, checkpoint, tmp_path, monkeypatch):
    """Stage speech of some sentences with the small XTTS in batches of two, two to a window.

    Those of short sentences are too long, as random weights make them, and made twice.
    """
    from contextlib import nullcontext

    from steplens.speech import speak

    monkeypatch.setattr(speak, "_WINDOW", 2)
    monkeypatch.setattr(german, "batch_size", 2)
    # In this process, which has it open already.
    monkeypatch.setattr(speak, "open_speaker", lambda *_: nullcontext(german))
    checks = {
        "max_attempts": 2, "min_seconds_per_character": 0.0, "max_seconds_per_character": 0.04,
        "max_silent_share": 1.0, "max_clipped_share": 1.0,
    }  # fmt: skip

    # For the text front end, which reads the checkpoint's configuration and vocabulary.
    settings = {"path": str(checkpoint), "revision": None, "accept_cpml": True}

    def run(folder, n=None):
        texts = SENTENCES[:n]
        corpus = pd.DataFrame({"utterance": range(len(texts)), "raw_transcription": texts})
        write_parquet(corpus.assign(recordings="[]"), tmp_path / "corpus.parquet")
        output = folder / "deu.parquet"
        speak.synthesize_corpus(
            tmp_path / "corpus.parquet", DEU, "xtts", settings, checks, {}, 1, 1, output
        )
        return files(folder)

    return run


def files(folder):
    """Content of the table and of all audio, by name."""
    return {
        path.name: path.read_bytes() for path in (folder / "deu.parquet", *folder.glob("deu/*.wav"))
    }


def test_an_interrupted_synthesis_ends_with_the_bytes_of_an_undisturbed_one(
    stage, tmp_path, monkeypatch
):
    """Stopped in a batch, after any number of takes, and where the last line of the journal is torn."""
    from steplens.speech import speak

    undisturbed = stage(tmp_path / "undisturbed")
    attempts = pd.read_parquet(tmp_path / "undisturbed" / "deu.parquet")["attempt"]
    assert set(attempts) == {0, 1}
    add = speak.Journal.add
    for stop in (4, len(attempts) + 1):
        folder, left = tmp_path / str(stop), [stop]

        def stopping(journal, take, left=left):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            add(journal, take)

        monkeypatch.setattr(speak.Journal, "add", stopping)
        with pytest.raises(KeyboardInterrupt):
            stage(folder)
        monkeypatch.setattr(speak.Journal, "add", add)
        journal = folder / "deu" / "takes.jsonl"
        if stop == 4:
            journal.write_bytes(journal.read_bytes()[:-9])
        assert stage(folder) == undisturbed


def test_a_larger_corpus_leaves_the_speech_of_the_smaller_one_as_it_is(stage, tmp_path):
    """To the byte and to the file time."""
    stage(tmp_path, n=3)
    folder = tmp_path / "deu"
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.glob("*.wav")}
    stage(tmp_path)
    assert len(before) == 3
    for path, (time, content) in before.items():
        assert (path.stat().st_mtime_ns, path.read_bytes()) == (time, content)


def test_the_cache_gives_what_the_library_s_gives(generator, monkeypatch):
    """While it grows, and while rows leave it."""
    from transformers import DynamicCache
    from transformers.cache_utils import Cache

    from steplens.batches import growing_cache

    monkeypatch.setattr(growing_cache, "CACHE_BLOCK", 3)
    ours, theirs = Cache(layer_class_to_replicate=growing_cache.GrowingLayer), DynamicCache()
    n_rows = 5
    for step, n_new in enumerate((7, 1, 1, 1, 1, 1, 1)):
        new = torch.from_numpy(generator.standard_normal((2, 2, n_rows, 4, n_new, 6)))
        for layer, (keys, values) in enumerate(new):
            found = ours.update(keys, values, layer)
            for one, other in zip(found, theirs.update(keys, values, layer), strict=True):
                torch.testing.assert_close(one, other, rtol=0, atol=0)
        assert ours.get_seq_length() == theirs.get_seq_length()
        if step in (1, 4):
            rows = torch.tensor([0, 2, 3] if step == 1 else [1])
            n_rows = len(rows)
            ours.batch_select_indices(rows)
            theirs.batch_select_indices(rows)
