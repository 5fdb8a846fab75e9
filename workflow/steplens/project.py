"""The folder of the project, to which relative paths of a configuration belong.

Whatever folder Snakemake works in (``--directory``): a configuration means the same files everywhere.
"""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]  # where the Snakefile lies


def project_path(path: str | Path) -> Path:
    """A path of the configuration on disk: ``~`` is the user's folder, a relative one is the project's."""
    return PROJECT / os.path.expanduser(path)
