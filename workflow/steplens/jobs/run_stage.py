"""What every script does around its stage: logging, threads, a GPU, and one clear line when it fails.

``run_stage`` is called by the scripts of the workflow with Snakemake's own job object.
"""

import importlib
import logging
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steplens.files import table_metadata
from steplens.files.table_metadata import Origin, code_of, settings_of, sources_of
from steplens.jobs import devices, locks, warm_start, workers


@dataclass(frozen=True)
class Job:
    """One call of ``module:function`` of steplens, with its log and its share of the processor."""

    stage: str
    arguments: dict[str, Any]
    log: Path
    threads: int
    uses_gpu: bool = False
    origin: Origin | None = None
    outputs: list[Path] = field(default_factory=list)

    def __call__(self) -> int:
        """Run it; 0, or 1 after an error, which then stands in the log and on the terminal."""
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
            os.environ.setdefault(name, str(self.threads))
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        locks.end_with_parent()
        locks.lock_job(self.log)
        if "torch" in sys.modules:  # loaded before the environment was set
            sys.modules["torch"].set_num_threads(self.threads)
        _log_to(self.log)
        module, function = self.stage.split(":")
        try:
            if self.uses_gpu:  # before the stage imports anything that looks for one
                devices.take_one()
            if self.origin is not None:
                table_metadata.begin(self.origin)
            getattr(importlib.import_module(f"steplens.{module}"), function)(**self.arguments)
            self._describe_outputs()
        except Exception as error:
            logging.getLogger("steplens").exception("%s failed", self.stage)
            print(f"{self.stage}: {type(error).__name__}: {error}", file=sys.stderr)
            print(f"the whole trace is in {self.log}", file=sys.stderr)
            return 1
        return 0

    def _describe_outputs(self) -> None:
        """Metadata of tables and stores; that of CSV is written with them."""
        for path in filter(table_metadata.is_kept, self.outputs):
            if path.suffix != ".csv":
                from steplens.files.atomic import (
                    write_json,  # here: jobs that only fetch import no pandas
                )

                content = table_metadata.metadata_of(path, table_metadata.file_sha256(path))
                write_json(table_metadata.metadata_path(path), content)


def origin_of(snakemake: Any) -> Origin | None:
    """How and of what a Snakemake job makes its results, to be kept beside them; None outside a run."""
    if "run" not in snakemake.config:
        return None
    results = Path("results") / snakemake.config["run"]
    return Origin(
        results,
        snakemake.rule,
        settings_of(snakemake.params),
        code_of(snakemake.params),
        sources_of(snakemake.input, results),
    )


def run_stage(snakemake: Any, stage: str, own_process: bool = False, **arguments: Any) -> None:
    """Run ``module:function`` of steplens for a Snakemake job; exits with 1 if it fails.

    Parameters
    ----------
    snakemake : Snakemake's job object
        Gives the log file, the threads, and whether the job asked for a GPU.
    stage : str
        For example ``"recording.encode:encode"``.
    own_process : bool
        Never in a fork of the warm process: for stages that fork themselves, and want to be small.
    **arguments
        For the function.
    """
    locks.end_with_parent()
    uses_gpu = bool(snakemake.resources.get("gpu", 0))
    job = Job(
        stage,
        arguments,
        Path(snakemake.log[0]),
        snakemake.threads,
        uses_gpu,
        origin_of(snakemake),
        list(map(Path, snakemake.output)),
    )
    status = None
    if warm_start.wanted() and not own_process:
        status = warm_start.run_in_fork(job, str(snakemake.config.get("run", "")))
    if status is None:
        status = job()
    if status < 0:  # it could not say so itself
        died = f"{stage}: the process of the job {workers.ended(status)}"
        print(died, file=sys.stderr)
        with job.log.open("a", encoding="utf-8") as file:
            file.write(f"{died}\n")
    if status:
        sys.exit(1)


def _log_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for noisy in ("matplotlib", "fontTools", "numba", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
