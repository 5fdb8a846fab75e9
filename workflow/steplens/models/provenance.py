"""What a store says about where it comes from (D9), and whether what meets belongs together."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from steplens.errors import StoreError
from steplens.files.atomic import table_digest
from steplens.models.checkpoint import require_unchanged
from steplens.models.files import ModelFiles
from steplens.models.seamless.loading import ATTENTION
from steplens.models.source import ModelSource


def provenance(
    source: ModelSource, made_by: Mapping[str, Any], inputs: Mapping[str, str], **stage: Any
) -> dict[str, Any]:
    """Root attributes of a store.

    Parameters
    ----------
    source : ModelSource
    made_by : mapping
        ``model``, which weights at which precision, and ``code``, the digest of the stage's code.
    inputs : mapping
        Name to digest of what the stage read.
    **stage
        Module, modality or task, language and step.
    """
    return {
        "model": source.path,
        "revision": source.revision or "",
        "config_digest": config_digest(source),
        "compute_dtype": str(source.torch_dtype).removeprefix("torch."),
        "attention": ATTENTION,
        "device": source.torch_device.type,
        "torch": version("torch"),
        "transformers": version("transformers"),
        "made_by": dict(made_by),
        "inputs": dict(inputs),
    } | stage


def config_digest(source: ModelSource) -> str:
    """Digest of the checkpoint's config.json."""
    return table_digest(ModelFiles(source.path, source.revision).get("config.json"))


def require_same_model(
    attributes: Mapping[str, Any], source: ModelSource, made_by: Mapping[str, Any], where: Path
) -> None:
    """Raise StoreError unless the checkpoint that is about to be used made this store.

    And CheckpointError where its files were changed since the run began.

    Parameters
    ----------
    attributes : mapping
        Of the store, as ``provenance`` gave them.
    source : ModelSource
    made_by : mapping
        Of the stage that wants to read the store.
    where : path
        The store.
    """
    require_unchanged(source.path, made_by["model"]["checkpoint"])
    told = {
        "model": attributes.get("made_by", {}).get("model"),
        "config.json": attributes.get("config_digest"),
    }
    here = {"model": made_by["model"], "config.json": config_digest(source)}
    for what, expected in here.items():
        if told[what] != expected:
            raise StoreError(
                f"{where}: {what}: expected a store made by {source.path} ({expected}), got one made by "
                f"{attributes.get('model')} ({told[what]}); put the checkpoint back, or delete the store "
                "and run the workflow again"
            )
