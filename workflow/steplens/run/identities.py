"""What results depend on, said in the parameters of rules so that a job runs again for that and no more.

A checkpoint is its content, not the folder that it lies in; a library is its minor version, not its
patch release. Snakemake compares parameters with those of the last run (docs/running/reruns.md).
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from steplens.files.hub import is_hub_name
from steplens.models.source import known_dtype
from steplens.project import project_path

FETCHED = Path("resources") / "fetched"


def checkpoint_identity(path: str, revision: str | None, digest: str) -> str:
    """A local checkpoint's digest, wherever it lies; of one on the hub name and revision."""
    return digest or f"{path}@{revision}"


def model_identity(section: Mapping[str, Any], digest: str) -> dict[str, str]:
    """Which weights, and the precision that they compute in.

    Parameters
    ----------
    section : mapping
        ``model`` of the configuration.
    digest : str
        Of a local checkpoint; empty for a name on the hub.
    """
    return {
        "checkpoint": checkpoint_identity(section["path"], section["revision"], digest),
        "dtype": known_dtype(section["dtype"], section["device"]),
    }


def voice_identity(section: Mapping[str, Any], digest: str) -> dict[str, Any]:
    """What of ``speech.xtts`` is heard: neither where the checkpoint lies nor the device."""
    known = {"path": section["path"], "revision": section["revision"]}
    return ({"digest": digest} if digest else known) | {"speaker": section["speaker"]}


def fleurs_folder(corpus: Mapping[str, Any]) -> Path:
    """Where FLEURS is read: where it lies, or where ``fetch`` puts it."""
    if is_hub_name(corpus["path"]):
        return FETCHED / "fleurs" / str(corpus["revision"])
    return project_path(corpus["path"])


def pinned(environment: Path, *names: str) -> dict[str, str]:
    """Major and minor version of some packages, as an environment of a rule pins them.

    Not of what is installed: jobs may run in that environment while Snakemake itself does not.

    Parameters
    ----------
    environment : path
        ``envs/<name>.yaml``.
    *names : str

    Raises
    ------
    ValueError
        It does not pin one of them.
    """
    pins = _pins(environment)
    missing = [name for name in names if name not in pins]
    if missing:
        raise ValueError(
            f"{environment}: expected a pin of {', '.join(missing)} under pip, got none; "
            "run python tools/environments.py"
        )
    return {name: ".".join(pins[name].split(".")[:2]) for name in names}


@cache
def _pins(environment: Path) -> dict[str, str]:
    content = yaml.safe_load(environment.read_text(encoding="utf-8"))
    (lines,) = (one["pip"] for one in content["dependencies"] if isinstance(one, dict))
    return dict(line.split("==", 1) for line in lines)
