"""XTTS v2: many texts at a time against the library's own inference, one at a time.

At the size of the published checkpoint, with random weights and a fixed number of codes. Seconds are
those of one second of speech.
"""

from collections.abc import Iterator
from functools import partial

import torch

from ..timing import Measurement, in_turns, measurement

CODES_PER_SECOND = 22050 / 1024
LETTERS_PER_SECOND, LETTERS_PER_TOKEN = 13, 3  # German, roughly
# What the published config.json says beyond the library's defaults.
PUBLISHED = {
    "gpt_num_audio_tokens": 1026, "gpt_start_audio_token": 1024, "gpt_stop_audio_token": 1025,
    "gpt_number_text_tokens": 6681, "gpt_start_text_token": 261, "gpt_stop_text_token": 0,
    "gpt_use_perceiver_resampler": True,
}  # fmt: skip
SAMPLING = {"temperature": 0.75, "repetition_penalty": 5.0, "top_k": 50, "top_p": 0.85}


def measure(full: bool = False, device: str = "cpu") -> Iterator[Measurement]:
    """Seconds of work for a second of speech, by batch size; with and without the vocoder.

    Without ``full`` the GPT has 2 of its 30 layers. On a CPU the texts are of half a second, a
    twentieth of a sentence: what goes before the first code weighs more than in a whole one, in both.
    """
    from steplens.speech.engines.xtts import settle_weights, vocode
    from steplens.speech.engines.xtts_batch import generate
    from steplens.speech.engines.xtts_sampling import Sampling

    n_layers = 30 if full else 2
    n_codes = 210 if device == "cuda" else 12
    seconds_each = n_codes / CODES_PER_SECOND
    model, tokens = _model(n_layers, n_codes, device)
    decoder = type(model.hifigan_decoder)().to(device).eval()
    settle_weights(decoder.waveform_decoder)
    latent = torch.randn(1, 32, 1024, device=device)
    speaker = torch.randn(1, 512, 1, device=device)
    sampling = Sampling(**SAMPLING)

    def gpt(size: int):
        spoken = generate(model.gpt, latent, [tokens] * size, range(size), sampling)
        if device == "cuda":
            torch.cuda.synchronize()
        return spoken

    one = gpt(1)
    sizes = (8, 16, 32) if full else (8, 16)
    seconds = in_turns(
        {
            "library": lambda: model.inference("text", "de", latent, speaker, **SAMPLING),
            "vocoder": lambda: vocode(decoder, one, speaker),
            **{size: partial(gpt, size) for size in sizes},
        },
        2 if full and device == "cpu" else 3,
    )
    library, vocoder = seconds["library"] / seconds_each, seconds["vocoder"] / seconds_each
    what = f"XTTS v2, {n_layers} layers, texts of {seconds_each:.1f} s, a second of speech"
    name = {} if device == "cpu" else {"device": torch.cuda.get_device_name()}
    for size in sizes:
        of_gpt = seconds[size] / (seconds_each * size)
        yield measurement(
            "speech", f"{what}, batch {size}", of_gpt + vocoder,  # waveforms are made one by one
            baseline="coqui-tts's inference, one at a time", baseline_seconds=library,
            limit="the vocoder alone", limit_seconds=vocoder,
            at_least=10 if device == "cuda" else None, **name,
        )  # fmt: skip
        yield measurement(
            "speech", f"{what}, batch {size}, without the vocoder", of_gpt,
            baseline="coqui-tts's inference without our vocoder's time",
            baseline_seconds=library - vocoder, **name,
        )  # fmt: skip


def _model(n_layers: int, n_codes: int, device: str):
    """An Xtts that never ends before so many codes, and the tokens of its text."""
    from TTS.tts.configs.xtts_config import XttsArgs, XttsConfig
    from TTS.tts.models.xtts import Xtts

    torch.manual_seed(1)
    model = Xtts(XttsConfig(model_args=XttsArgs(gpt_layers=n_layers, **PUBLISHED)))
    model.eval()  # which gives None
    model.to(device)
    with torch.no_grad():
        model.gpt.mel_head.bias[model.gpt.stop_audio_token] = -1e4
    model.gpt.max_gen_mel_tokens = n_codes
    n_tokens = round(n_codes / CODES_PER_SECOND * LETTERS_PER_SECOND / LETTERS_PER_TOKEN) + 1
    tokens = torch.randint(300, 6000, (n_tokens,)).tolist()
    model.tokenizer.encode = lambda text, lang: tokens  # there is no vocabulary
    return model, tokens
