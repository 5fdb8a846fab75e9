"""Checkpoints of either family with random weights at a tiny size, in the published layout."""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from steplens.models.seamless.loading import family_class

SIZES = {
    "hidden_size": 32,
    "encoder_layers": 2, "decoder_layers": 2, "speech_encoder_layers": 2,
    "encoder_ffn_dim": 48, "decoder_ffn_dim": 40, "speech_encoder_intermediate_size": 56,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "speech_encoder_attention_heads": 4,
    "max_position_embeddings": 256, "max_source_positions": 256,
    "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "speech_encoder_layerdrop": 0.0,
}  # fmt: skip
FAMILIES = ("seamless_m4t", "seamless_m4t_v2")
PARTS = ("shared", "speech_encoder", "text_encoder", "text_decoder")


def tiny_config(model_type: str, vocab_size: int):
    """A config of the family; the adapter shortens by 8 as in the published models."""
    sizes = dict(SIZES)
    if model_type == "seamless_m4t_v2":
        del sizes["max_source_positions"]
    return family_class({"model_type": model_type}, "Config")(vocab_size=vocab_size, **sizes)


def random_weights(config, seed: int = 7) -> dict[str, torch.Tensor]:
    """All that a whole model has of the two tasks, by published names, the embedding once."""
    torch.manual_seed(seed)
    merged = {}
    for name in ("ForTextToText", "ForSpeechToText"):
        model = family_class(config, name)(config)
        with torch.no_grad():  # the initial weights are so small that every sentence decodes alike
            for key, tensor in (*model.named_parameters(), *model.named_buffers()):
                if key.endswith("running_var"):
                    tensor.uniform_(0.5, 2.0)
                elif key.endswith("running_mean"):
                    tensor.normal_(0.0, 0.2)
                elif tensor.ndim > 1 and "conv" not in key:
                    tensor.mul_(4.0)
        merged |= {key: tensor.clone() for key, tensor in model.state_dict().items()}
    tied = ("lm_head.", "text_decoder.embed_tokens.", "text_encoder.embed_tokens.")
    # A whole model has more, which no stage reads.
    more = {"t2u_model.lm_head.weight": torch.ones(8, 4), "vocoder.conv_post.bias": torch.ones(3)}
    return {key: value for key, value in merged.items() if not key.startswith(tied)} | more


def write_weights(folder: Path, weights: dict[str, torch.Tensor], sharded: bool) -> None:
    """One file, or a shard for every part of the model with an index."""
    for old in folder.glob("model*.safetensors*"):
        old.unlink()
    if not sharded:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return
    shards: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in weights.items():
        part = next((part for part in PARTS if name.startswith(f"{part}.")), "others")
        shards.setdefault(f"model-{part}.safetensors", {})[name] = tensor
    for file, tensors in shards.items():
        save_file(tensors, folder / file, metadata={"format": "pt"})
    weight_map = {name: file for file, tensors in shards.items() for name in tensors}
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def write_checkpoint(
    folder: Path, like: Path, model_type: str, sharded: bool = False, dtype=torch.float32
) -> dict[str, torch.Tensor]:
    """A checkpoint of the family with the tokenizer and the tags of another; returns its weights."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in like.glob("*.json"):
        shutil.copy(path, folder)
    vocab_size = json.loads((like / "config.json").read_text())["vocab_size"]
    config = tiny_config(model_type, vocab_size)
    config.save_pretrained(folder)
    weights = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in random_weights(config).items()
    }
    write_weights(folder, weights, sharded)
    return weights
