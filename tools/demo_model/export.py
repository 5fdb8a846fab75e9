"""Writes the checkpoint folder in the layout of ``facebook/seamless-m4t-v2-large``."""

import json
from pathlib import Path

from safetensors.torch import save_file
from transformers import GenerationConfig, SeamlessM4TFeatureExtractor

from .card import write_card
from .corpus import N_TEST, write_tsv
from .grammar import LANGUAGES


def export(model, tokenizer, n_samples, output: Path, recipe: dict, scores: dict) -> None:
    """Weights (float16), tokenizer, feature extractor, generation config, scores and corpus.

    Without ``n_samples`` (audio samples by language and sentence) no corpus is written.
    """
    folder = output / "seamless-m4t-v2-demo"
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / "model.safetensors"
    save_file(model.checkpoint(), weights, metadata={"format": "pt"})
    weights.chmod(0o644)  # safetensors keeps its files to the owner
    config = model.from_speech.config
    config.architectures = ["SeamlessM4Tv2Model"]
    config.dtype = "float16"
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    SeamlessM4TFeatureExtractor().save_pretrained(folder)
    tags = {lang: tokenizer.convert_tokens_to_ids(f"__{lang}__") for lang in LANGUAGES}
    GenerationConfig(
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
        decoder_start_token_id=3,
        max_new_tokens=48,
        text_decoder_lang_to_code_id=tags,
    ).save_pretrained(folder)
    (folder / "training.json").write_text(
        json.dumps({"recipe": recipe, "n_unseen": N_TEST, "exact_match_unseen": scores}, indent=2)
        + "\n"
    )
    if scores:
        write_card(folder)
    if n_samples is not None:
        write_tsv(output / "fleurs", n_samples)
