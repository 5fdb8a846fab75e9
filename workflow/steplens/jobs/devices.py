"""Gives a job a GPU of its own where nobody else does: on a workstation with several.

Snakemake counts ``gpu`` and never says which, so that all jobs would meet on the first. Here a job
locks one of the devices that it may see and hides the others from itself. The lock belongs to the
process: the kernel releases it however the process ends. All runs of a user on a host share the locks.
Where the job sees one device only, as under SLURM, it keeps that one and locks nothing.

Neither torch nor CUDA is needed, and CUDA must not have been initialised yet.
"""

import logging
import os
import re
import subprocess
import time
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

from steplens.jobs.locks import try_lock

VISIBLE = "CUDA_VISIBLE_DEVICES"
_POLL_SECONDS = 0.5
_log = logging.getLogger(__name__)
_held: list[int] = []  # descriptors of the locks; never closed before the process ends


def visible_devices() -> list[str]:
    """Devices that CUDA would show to this process, as names that ``CUDA_VISIBLE_DEVICES`` takes.

    Returns
    -------
    list of str
        From ``CUDA_VISIBLE_DEVICES`` (indices, UUIDs, MIG names) where it is set, else the UUIDs of all
        GPUs, or of all MIG devices; empty without a GPU.
    """
    named = os.environ.get(VISIBLE)
    if named is None:
        return _usable(_installed())
    names = []
    for name in named.split(","):
        if name.strip() in ("", "-1"):  # CUDA ignores what follows
            break
        names.append(name.strip())
    return list(dict.fromkeys(names))


def take_one(folder: Path | None = None) -> str | None:
    """Keep one visible device to this process until it ends; wait while all are taken.

    Parameters
    ----------
    folder : Path, optional
        Where the locks are; by default one place a user and host.

    Returns
    -------
    str or None
        The device, which is now all that ``CUDA_VISIBLE_DEVICES`` names; None where there was no choice.

    Raises
    ------
    PermissionError
        If the folder of the locks belongs to somebody else.
    """
    devices = visible_devices()
    if len(devices) < 2:
        return None
    locks = _locks(devices, folder or _lock_folder())
    waiting_since = None
    while True:
        for device, lock in locks.items():
            if _lock(lock):
                if waiting_since is not None:
                    seconds = time.monotonic() - waiting_since
                    _log.info("waited %.0f s for a GPU", seconds)
                _log.info("GPU %s of %s", device, ", ".join(devices))
                os.environ[VISIBLE] = device
                return device
        if waiting_since is None:
            waiting_since = time.monotonic()
            _log.info("all %d GPUs are taken by other jobs; waiting for one", len(devices))
        time.sleep(_POLL_SECONDS)


def _lock(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if not try_lock(descriptor):
        os.close(descriptor)
        return False
    _held.append(descriptor)
    return True


def _lock_folder() -> Path:
    # Not TMPDIR, in which two runs may differ: they would not see each other's locks.
    folder = Path("/tmp") / f"steplens-devices-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user; remove it")
    return folder


def _locks(devices: list[str], folder: Path) -> dict[str, Path]:
    """Lock file of every device, the same whether a run names it by index or by UUID."""
    installed = _installed() if any(device.isdigit() for device in devices) else []
    uuids = {str(index): uuid for index, uuid in enumerate(_gpus(installed))}
    # Within a job of a cluster, index 0 is another device than in the next job.
    allocation = os.environ.get("SLURM_JOB_ID", "") if VISIBLE in os.environ else ""
    return {
        device: folder / (quote(allocation + "@" + uuids.get(device, device), safe="") + ".lock")
        for device in devices
    }


def _installed() -> list[str]:
    """UUIDs of all GPUs, each followed by those of its MIG devices; empty without a driver."""
    try:
        listing = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return _from_driver(Path("/proc/driver/nvidia/gpus"))
    return re.findall(r"\(UUID: ([^)\s]+)\)", listing)


def _from_driver(folder: Path) -> list[str]:
    """The same where nvidia-smi is missing, without MIG; a container may see fewer than it lists."""
    uuids = []
    for path in sorted(folder.glob("*/information")):
        text = path.read_text(encoding="utf-8")
        uuid = re.search(r"^GPU UUID:\s*(GPU-[0-9a-f-]+)$", text, flags=re.M)
        minor = re.search(r"^Device Minor:\s*(\d+)$", text, flags=re.M)
        if uuid and minor and os.access(f"/dev/nvidia{minor[1]}", os.R_OK | os.W_OK):
            uuids.append(uuid[1])
    return uuids


def _gpus(installed: list[str]) -> list[str]:
    return [uuid for uuid in installed if not uuid.startswith("MIG-")]


def _usable(installed: list[str]) -> list[str]:
    """A GPU that is divided into MIG devices can only be used through them."""
    divided = {
        one
        for one, next_one in pairwise(installed)
        if next_one.startswith("MIG-") and not one.startswith("MIG-")
    }
    return [uuid for uuid in installed if uuid not in divided]
