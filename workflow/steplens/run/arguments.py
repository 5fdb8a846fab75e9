"""What scripts hand to stages, out of Snakemake's job object: a model, a condition, how neurons are chosen.

No result depends on these functions beyond what the rule's parameters say already.
"""

from typing import Any

from steplens.models.source import ModelSource
from steplens.settings import Selection


def model_source(snakemake: Any) -> ModelSource:
    """The checkpoint of the configuration.

    Not of the rule's parameters, which only say what results depend on: where it lies is none of that.
    """
    model = snakemake.config["model"]
    return ModelSource(model["path"], model["revision"], model["dtype"], model["device"])


def model_arguments(snakemake: Any) -> dict[str, Any]:
    """The checkpoint, and what outputs keep of it and of the code: ``source`` and ``made_by`` of a stage."""
    params = snakemake.params
    return {
        "source": model_source(snakemake),
        "made_by": {"model": dict(params.model), "code": params.code},
    }


def fixing_arguments(snakemake: Any) -> dict[str, Any]:
    """What stages share that generate with neurons fixed, beside ``model_arguments``."""
    names = ("n_utterances", "n_random", "seed", "max_new_tokens")
    settings = {name: snakemake.params[name] for name in names}
    return model_arguments(snakemake) | settings | {"selection": selection_of(snakemake)}


def selection_of(snakemake: Any) -> Selection:
    """How the rule chooses neurons."""
    return Selection(**snakemake.params.selection)


def condition_of(snakemake: Any) -> dict[str, str | int]:
    """What the stores of a job must say of themselves: an encoder, or the decoder's task and step."""
    wildcards = snakemake.wildcards
    if wildcards.get("encoder"):
        return {"module": wildcards.encoder}
    return {"module": "decoder", "task": wildcards.task, "step": int(wildcards.tt)}
