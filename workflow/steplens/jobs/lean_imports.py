"""Imports transformers without the optional packages that it would load only because they are there.

scikit-learn (with SciPy), torchaudio and the like cost seconds at the start of every job, for functions
such as assisted generation and audio losses that no stage uses.
"""

import contextlib
import os
import sys
from collections.abc import Iterator

_OPTIONAL = ("sklearn", "scipy", "pandas", "torchaudio", "librosa", "torchvision", "tensorboard")


@contextlib.contextmanager
def lean_transformers() -> Iterator[None]:
    """Within this block, transformers finds none of the optional packages (unless already loaded)."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    hidden = [name for name in _OPTIONAL if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # what find_spec takes for "not installed"
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
