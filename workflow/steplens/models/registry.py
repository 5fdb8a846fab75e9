"""Which architecture a checkpoint belongs to, and the model of it."""

import importlib
from typing import TYPE_CHECKING

from steplens.errors import CheckpointError, shown
from steplens.models.files import ModelFiles
from steplens.models.source import ModelSource

if TYPE_CHECKING:
    from steplens.models.seamless.model import SeamlessModel

# ``model_type`` of config.json to the class of its model, imported when it is needed.
_MODELS = {
    "seamless_m4t": "steplens.models.seamless.model:SeamlessModel",
    "seamless_m4t_v2": "steplens.models.seamless.model:SeamlessModel",
}


def load_model(
    path: str, revision: str | None = None, dtype: str = "auto", device: str = "auto"
) -> "SeamlessModel":
    """A checkpoint, whose parts are loaded when they are first asked for.

    Parameters
    ----------
    path : str
        A folder, or a name on the Hugging Face hub.
    revision : str, optional
        Commit on the hub; must be given for a name.
    dtype : {"auto", "float16", "float32"}
        Of weights and computation; ``"auto"`` is float16 on a GPU and float32 on a CPU.
    device : {"auto", "cpu", "cuda", "cuda:<n>"}
        ``"auto"`` is the GPU where there is one.

    Returns
    -------
    SeamlessModel

    Raises
    ------
    CheckpointError
        Its config.json is missing, or names an architecture that steplens does not know.

    Examples
    --------
    >>> model = load_model("resources/demo/seamless-m4t-v2-demo", device="cpu")
    >>> model
    SeamlessModel('resources/demo/seamless-m4t-v2-demo', auto on cpu; loaded: nothing yet)
    """
    source = ModelSource(path, revision, dtype, device)
    files = ModelFiles(source.path, source.revision)
    model_type = files.json("config.json").get("model_type")
    if model_type not in _MODELS:
        raise CheckpointError(
            f"{files}: model_type: expected {', '.join(_MODELS)}, got {shown(model_type)}; steplens knows "
            "no other architecture yet"
        )
    module, name = _MODELS[model_type].split(":")
    return getattr(importlib.import_module(module), name)(source)
