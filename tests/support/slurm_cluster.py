"""A real SLURM of one node on the loopback, for as long as a test needs it, and no longer.

Key, configuration, state and logs lie in one temporary folder; nothing of the machine's own SLURM, if
it has one, is read or touched. The node has two processors and two devices that stand for GPUs: files
under /dev, so that jobs are given CUDA_VISIBLE_DEVICES and find no GPU behind it. No accounting, no
control groups.
"""

import getpass
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAMS = (
    "setpriv",
    "munged",
    "slurmctld",
    "slurmd",
    "sbatch",
    "srun",
    "squeue",
    "sinfo",
    "scontrol",
)
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
N_CPUS = 2
DEVICES = ("/dev/null", "/dev/zero")

SLURM_CONF = """\
ClusterName=steplens
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
# Scheduling is under test, not what the machine really has.
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
MailProg=/bin/true
ReturnToService=2
# squeue is all there is to ask for a job's end, and a test may ask late.
MinJobAge=3600
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} SocketsPerBoard=1 CoresPerSocket={cpus} \
ThreadsPerCore=1 RealMemory=64000 Gres=gpu:{gpus}
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Installs what is missing where that is possible; else says why no cluster can be had."""
    missing = _missing()
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        _install()
    missing = _missing()
    if not missing:
        return None
    reason = f"SLURM is not installed: no {', '.join(missing)}"
    if not shutil.which("apt-get"):
        return (
            f"{reason}, and this is no Debian where the packages slurm-wlm and munge could be had"
        )
    if os.geteuid() != 0:
        return f"{reason}, and only root can install them (apt-get install slurm-wlm munge)"
    return f"{reason}, and apt-get could not install slurm-wlm and munge"


def _missing() -> list[str]:
    return [name for name in PROGRAMS if shutil.which(name, path=SYSTEM_PATH) is None]


def _install() -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    patience = ["-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20"]
    for arguments in (
        ["update"],
        ["install", "--yes", "--no-install-recommends", "slurm-wlm", "munge"],
    ):
        try:
            subprocess.run(
                ["apt-get", "-qq", *patience, *arguments],
                env=environment, timeout=240, capture_output=True, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return


class SlurmCluster:
    """Starts on entering a ``with`` block; on leaving it, all jobs and daemons are gone.

    Attributes
    ----------
    environment : dict of str to str
        What a process needs to submit jobs to this cluster and to no other.
    """

    def __init__(self):
        # Not pytest's folder: the path of a socket may have 107 characters and no more.
        self.folder = Path(tempfile.mkdtemp(prefix="steplens-slurm-"))
        self.folder.chmod(0o755)  # munged refuses a socket that not everyone can reach
        self._daemons: list[subprocess.Popen] = []
        self._host = socket.gethostname().split(".")[0]
        programs = self.folder / "bin"
        self.environment = os.environ | {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": os.pathsep.join([str(programs), SYSTEM_PATH]),
        }
        for name in ("STEPLENS_WARM_START", "SNAKEMAKE_PROFILE", "CUDA_VISIBLE_DEVICES"):
            self.environment.pop(name, None)

    def __enter__(self) -> "SlurmCluster":
        try:
            self._write()
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_) -> None:
        self._stop()

    def ask(self, *command: str) -> str:
        """Output of a SLURM command."""
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True, timeout=30
        ).stdout

    def jobs(self) -> list[dict[str, str]]:
        """All jobs since the start, as ``scontrol show job`` has them: one dict of fields a job."""
        lines = self.ask("scontrol", "--oneliner", "--all", "show", "job").splitlines()
        return [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in lines if "JobId=" in line]

    def log(self) -> str:
        """What the controller wrote."""
        return (self.folder / "slurmctld.log").read_text(encoding="utf-8", errors="replace")

    def _write(self) -> None:
        for name in ("bin", "state", "spool"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        controller_port, node_port = _free_ports(2)
        (self.folder / "slurm.conf").write_text(
            SLURM_CONF.format(
                folder=self.folder, host=self._host, user=getpass.getuser(),
                controller_port=controller_port, node_port=node_port,
                cpus=N_CPUS, gpus=len(DEVICES),
            )
        )  # fmt: skip
        (self.folder / "gres.conf").write_text(
            "".join(f"NodeName={self._host} Name=gpu File={device}\n" for device in DEVICES)
        )
        # The executor clears SLURM_* before its inner srun, and with them where this cluster is.
        srun = self.folder / "bin" / "srun"
        real = shutil.which("srun", path=SYSTEM_PATH)
        srun.write_text(
            f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {real} "$@"\n', encoding="utf-8"
        )
        srun.chmod(0o755)

    def _start(self) -> None:
        folder = self.folder
        self._daemon(
            "munged",
            "--foreground",
            f"--key-file={folder}/munge.key",
            f"--socket={folder}/munge.socket",
            f"--pid-file={folder}/munged.pid",
            f"--log-file={folder}/munged.log",
            f"--seed-file={folder}/munge.seed",
        )
        _wait_for(folder / "munge.socket", seconds=30)
        self._daemon("slurmctld", "-D", "-f", f"{folder}/slurm.conf")
        self._daemon("slurmd", "-D", "-f", f"{folder}/slurm.conf", "-N", self._host)
        deadline = time.monotonic() + 60
        state = ""
        while time.monotonic() < deadline:
            try:
                state = self.ask("sinfo", "--noheader", "--format=%T").strip()
            except subprocess.SubprocessError:
                state = ""
            if state == "idle":
                return
            time.sleep(0.2)
        logs = [*sorted(folder.glob("*.out")), *sorted(folder.glob("slurm*.log"))]
        text = "\n".join(one.read_text(errors="replace")[-2000:] for one in logs)
        raise RuntimeError(f"the node did not become idle, but {state or 'nothing'}:\n{text}")

    def _daemon(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.out").open("w") as output:
            daemon = subprocess.Popen(
                # Its parent's end is its own: a test that is killed leaves none behind.
                ["setpriv", "--pdeathsig", "KILL", shutil.which(name, path=SYSTEM_PATH), *arguments],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        self._daemons.append(daemon)

    def _stop(self) -> None:
        try:
            self.ask("scancel", f"--user={getpass.getuser()}")
            deadline = time.monotonic() + 15
            while time.monotonic() < deadline and self.ask("squeue", "--noheader").strip():
                time.sleep(0.2)
        except (subprocess.SubprocessError, OSError):
            pass  # no controller to ask; the daemons are ended all the same
        for daemon in reversed(self._daemons):
            _end(daemon)
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _wait_for(path: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{path} did not appear within {seconds:.0f} s")
        time.sleep(0.05)


def _end(daemon: subprocess.Popen) -> None:
    """Asks it to end, and after ten seconds insists."""
    daemon.terminate()
    try:
        daemon.wait(10)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()
