"""What a store says about where it comes from (D9)."""

from importlib.metadata import version
from typing import Any

from .model_source import ModelSource
from .models import ATTENTION


def provenance(source: ModelSource, **stage: Any) -> dict[str, Any]:
    """Root attributes of a store: model, revision, precision, versions and the stage's own keys."""
    return {
        "model": source.path,
        "revision": source.revision or "",
        "compute_dtype": str(source.torch_dtype).removeprefix("torch."),
        "attention": ATTENTION,
        "device": source.torch_device.type,
        "torch": version("torch"),
        "transformers": version("transformers"),
    } | stage
