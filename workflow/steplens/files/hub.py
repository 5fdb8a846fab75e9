"""Files of the Hugging Face hub, by repository and pinned revision.

They come through the hub's own client and its cache (``HF_HOME``); with ``HF_HUB_OFFLINE=1`` only the
cache is used. An error says what was wanted, whether the network was asked, and what to do.
"""

import os
import re
from pathlib import Path

from steplens.errors import HubError
from steplens.project import project_path

_NAME = re.compile(r"(?=.{3,96}\Z)[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", flags=re.ASCII)


def is_hub_name(path: str) -> bool:
    """Whether ``path`` reads like ``owner/name`` and the project has no such folder."""
    return bool(_NAME.fullmatch(path)) and not os.path.isdir(project_path(path))


def list_name(repository: str, revision: str | None) -> str:
    """Name of the file that ``fetch`` leaves once a repository's files are in the cache."""
    return f"{'--'.join(Path(repository).parts)}@{revision}.json"


def is_offline() -> bool:
    """Whether ``HF_HUB_OFFLINE`` keeps the client from the network."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def hub_file(repository: str, name: str, revision: str | None, kind: str = "model") -> Path:
    """One file of a repository, from the cache or, unless offline, from the hub.

    Parameters
    ----------
    repository : str
        ``owner/name``.
    name : str
        Path within the repository.
    revision : str or None
        Commit; ``None`` is the newest, which cannot be repeated.
    kind : {"model", "dataset"}

    Raises
    ------
    HubError
        No such repository, revision or file; not in the cache while offline; or no network.
    """
    import httpx
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repository, name, revision=revision, repo_type=kind))
    except (OSError, httpx.HTTPError, ValueError, RuntimeError) as error:
        raise _explained(error, repository, revision, kind, name) from error


def hub_files(repository: str, revision: str | None, kind: str = "model") -> list[str]:
    """Names of all files of a repository; while offline, of those in the cache.

    Raises
    ------
    HubError
        No such repository or revision; nothing of it in the cache while offline; or no network.
    """
    import httpx
    from huggingface_hub import HfApi, snapshot_download

    try:
        if is_offline():
            folder = Path(
                snapshot_download(
                    repository, revision=revision, repo_type=kind, local_files_only=True
                )
            )
            return sorted(
                path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
            )
        return sorted(HfApi().list_repo_files(repository, revision=revision, repo_type=kind))
    except (OSError, httpx.HTTPError, ValueError, RuntimeError) as error:
        raise _explained(error, repository, revision, kind, "its list of files") from error


def _explained(
    error: Exception, repository: str, revision: str | None, kind: str, wanted: str
) -> HubError:
    """What the client's error means, in one line."""
    from huggingface_hub import constants, errors

    where = f"{kind} {repository} at revision {revision or 'main'}"
    if isinstance(error, errors.HFValidationError):
        return HubError(f"{where}: no repository can have that name, and no such folder is there")
    if isinstance(error, errors.GatedRepoError):
        return HubError(
            f"{where}: access to {wanted} must be asked for on its page, and a token given: hf auth login"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return HubError(f"{where}: the hub has no such revision; check the commit")
    if isinstance(error, errors.RepositoryNotFoundError):
        return HubError(
            f"{where}: the hub has no such {kind}, or it is private (hf auth login), and no such folder "
            "is there"
        )
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return HubError(f"{where}: the hub has no file {wanted} there")
    if is_offline():
        why = "HF_HUB_OFFLINE is set and it is not in the cache"
    else:
        cause = error.__cause__ if isinstance(error, errors.LocalEntryNotFoundError) else error
        why = f"the hub ({constants.ENDPOINT}) did not give it: {_short(cause or error)}"
    return HubError(
        f"{where}: expected {wanted}: {why}; run `snakemake fetch` on a machine with network and the "
        "same HF_HOME, or give a local folder instead of the name"
    )


def _short(error: BaseException) -> str:
    """The first line of an error that has text: the client's messages run over several."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
