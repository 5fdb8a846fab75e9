"""A real XTTS v2 at a tiny size, with random weights, in the files in which XTTS v2 is published."""

from collections.abc import Sequence
from pathlib import Path

SPEAKERS = ("Ana Florence", "Viktor Menelaos")
LANGUAGES = ("en", "de", "es", "fr", "zh-cn", "ja")


def write_small_xtts(folder: Path, languages: Sequence[str] = (), **sizes: int) -> Path:
    """Write model.pth, config.json, vocab.json and speakers_xtts.pth; returns the folder.

    ``languages`` are XTTS's codes, ``LANGUAGES`` unless given; ``sizes`` are further arguments of
    XttsArgs, or others.
    """
    languages = languages or LANGUAGES
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from TTS.tts.configs.xtts_config import XttsArgs, XttsConfig
    from TTS.tts.models.xtts import Xtts

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[STOP]", "[UNK]", "[SPACE]", "[START]", *(f"[{lang}]" for lang in languages)]
    trainer = trainers.BpeTrainer(
        vocab_size=80,
        special_tokens=special,
        initial_alphabet=list("abcdefghijklmnopqrstuvwxyz1234,."),
    )
    tokenizer.train_from_iterator(["the quick brown fox jumps over the lazy dog"], trainer)
    tokenizer.save(str(folder / "vocab.json"))

    torch.manual_seed(5)
    small = {
        "gpt_layers": 2,
        "gpt_n_model_channels": 64,
        "gpt_n_heads": 4,
        "gpt_max_audio_tokens": 12,
        "gpt_max_text_tokens": 120,
        "gpt_max_prompt_tokens": 10,
        "gpt_number_text_tokens": tokenizer.get_vocab_size(),
        "gpt_start_text_token": tokenizer.token_to_id("[START]"),
        "gpt_stop_text_token": tokenizer.token_to_id("[STOP]"),
        "gpt_use_perceiver_resampler": True,
        "decoder_input_dim": 64,
        "d_vector_dim": 64,
    }
    arguments = XttsArgs(**small | sizes)
    config = XttsConfig(model_args=arguments, languages=list(languages))
    model = Xtts(config)
    torch.save({"model": model.state_dict()}, folder / "model.pth")
    config.save_json(str(folder / "config.json"))
    latents = {
        name: {
            "gpt_cond_latent": torch.randn(1, 32, 64),
            "speaker_embedding": torch.randn(1, 64, 1),
        }
        for name in SPEAKERS
    }
    torch.save(latents, folder / "speakers_xtts.pth")
    return folder
