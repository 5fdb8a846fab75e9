"""What a checkpoint's generation config may ask for, and what steplens decodes by: the likeliest token.

Kept free of torch, so that a checkpoint can be refused before any job starts.
"""

from typing import Any

from steplens.errors import CheckpointError, shown
from steplens.models.seamless.family import config_value

# What of a generation config would change which token is chosen, with the values that change nothing.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "bad_words_ids": (),
    "begin_suppress_tokens": (),
    "encoder_no_repeat_ngram_size": (0,),
    "encoder_repetition_penalty": (1,),
    "exponential_decay_length_penalty": (),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
    "guidance_scale": (1,),
    "max_time": (),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "no_repeat_ngram_size": (0,),
    "remove_invalid_values": (False,),
    "repetition_penalty": (1,),
    "sequence_bias": (),
    "stop_strings": (),
    "suppress_tokens": (),
    "watermarking_config": (),
}
# How a search would go on from the same scores; published models differ in them, and a run does not.
_SEARCH: dict[str, tuple[Any, ...]] = {
    "do_sample": (False,),
    "num_beams": (1,),
    "num_beam_groups": (1,),
    "penalty_alpha": (0,),
}


def require_plain_greedy(generation_config: Any, config: Any, where: str) -> None:
    """Raise CheckpointError for a generation config that asks for other scores than the model's.

    Parameters
    ----------
    generation_config, config : transformers' configs, or mappings
        Of generation and of the model.
    where : str
        Whose they are, for the message.
    """
    for name, neutral in _NEUTRAL.items():
        value = config_value(generation_config, name)
        if value is not None and value not in neutral:
            raise CheckpointError(
                f"{where}: generation_config.json: {name}: expected none, got {shown(value)}; steplens takes "
                "the likeliest token at every step, so remove the key"
            )
    for name in ("eos_token_id", "decoder_start_token_id"):
        value, expected = config_value(generation_config, name), config_value(config, name)
        if expected is not None and value not in (None, expected, [expected]):
            raise CheckpointError(
                f"{where}: {name}: expected {shown(expected)} as in config.json, got {shown(value)} in "
                "generation_config.json; they are of different models, so copy both from one"
            )


def other_search(generation_config: Any) -> dict[str, Any]:
    """Keys that ask for beams or sampling: steplens decodes greedily whatever they say (D3)."""
    found = {name: config_value(generation_config, name) for name in _SEARCH}
    return {
        name: value
        for name, value in found.items()
        if value is not None and value not in _SEARCH[name]
    }
