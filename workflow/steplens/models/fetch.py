"""Stage ``fetch``: what comes from the Hugging Face hub, at pinned revisions.

Everything passes through the hub's own cache (``HF_HOME``). ``snakemake fetch`` gets all that a
configuration needs, so that the jobs after it need no network.
"""

import logging
import os
import shutil
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from steplens.errors import HubError, shown
from steplens.files.atomic import atomic_path, write_json
from steplens.files.hub import hub_file, hub_files
from steplens.files.input_files import read_json_object
from steplens.models.files import is_shard_name

log = logging.getLogger(__name__)

CORPUS_LICENCE = "FLEURS is published under CC-BY 4.0."


def fetch_sentences(repository: str, revision: str, name: str, output: Path) -> None:
    """Copy one TSV of FLEURS out of the cache: up to some megabytes."""
    source = hub_file(repository, name, revision, "dataset")
    with atomic_path(output) as partial:
        shutil.copyfile(source, partial)
    log.info("%s %s. %s", repository, name, CORPUS_LICENCE)


def fetch_recordings(repository: str, revision: str, name: str, output: Path) -> None:
    """Link to one archive of FLEURS in the cache: up to some gigabytes, not copied."""
    source = hub_file(repository, name, revision, "dataset").resolve()
    with atomic_path(output) as partial:
        os.symlink(source, partial)
    log.info("%s %s. %s", repository, name, CORPUS_LICENCE)


def fetch_model(
    repository: str, revision: str, wanted: list[str], required: list[str], output: Path
) -> None:
    """Fetch those files of a model into the cache, and list them.

    Parameters
    ----------
    repository, revision : str
    wanted : list of str
        Names, or patterns such as ``*.json``, of files at the top of the repository.
    required : list of str
        Names or patterns of which each must match a file that is wanted.
    output : path
        JSON: the repository, the revision, and the size of every file in bytes.

    Raises
    ------
    HubError
        A required file, or a shard that the index of the weights names, is not there.
    """
    there = [name for name in hub_files(repository, revision) if "/" not in name]
    names = [name for name in there if any(fnmatchcase(name, one) for one in wanted)]
    missing = [one for one in required if not any(fnmatchcase(name, one) for name in names)]
    if missing:
        hint = "; weights in another format can be converted once: python tools/to_safetensors.py --help"
        raise HubError(
            f"model {repository} at revision {revision}: expected {', '.join(missing)}, there is "
            f"{', '.join(there) or 'nothing'}{hint if '*.safetensors' in missing else ''}"
        )
    sizes = {}
    for name in names:
        log.info("fetching %s", name)
        path = hub_file(repository, name, revision)
        sizes[name] = path.stat().st_size
        # A cache that was filled in part has an index and not every shard: offline, nobody else says.
        if name.endswith(".safetensors.index.json"):
            shards = _shards(path, f"model {repository} at revision {revision}: {name}")
            wrong = next((shard for shard in shards if not is_shard_name(shard)), None)
            if wrong is not None:
                raise HubError(
                    f"model {repository} at revision {revision}: {name}: expected names of safetensors files "
                    f"beside it, got {shown(wrong)}; do not use this checkpoint"
                )
            names.extend(sorted(set(shards) - set(names)))
    content = {"repository": repository, "revision": revision, "files": dict(sorted(sizes.items()))}
    write_json(output, content)


def _shards(index: Path, where: str) -> list[Any]:
    """What an index names as the files of its tensors, each once."""
    try:
        weight_map = read_json_object(index).get("weight_map", {})
    except ValueError as error:
        raise HubError(f"{where}: {error}") from error
    if not isinstance(weight_map, dict):
        raise HubError(
            f"{where}: expected a weight_map from tensors to files, got {shown(weight_map)}; do not use this "
            "checkpoint"
        )
    # Lists and objects cannot be looked up in a set; they are refused one by one.
    return [*{one: None for one in weight_map.values() if isinstance(one, str)},
            *(one for one in weight_map.values() if not isinstance(one, str))]  # fmt: skip
