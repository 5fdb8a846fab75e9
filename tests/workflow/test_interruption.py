"""A stage that is killed, fails or runs out of disk at any file operation loses and spoils nothing.

Every stage runs in forks that stop at file operations chosen by chance (crash_points.py). The seed is
printed; STEPLENS_CRASH_POINTS and STEPLENS_CRASH_SEED make more of them, or the same again.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

# Stages of one process, and faults of each kind: a fork takes as long as the stage, which is longer with a
# model; those with one share its libraries.
POINTS = {
    ("store",): 5,
    ("rank",): 2,
    ("show",): 2,
    ("speech",): 4,
    ("encode", "decode", "capture", "steer"): 2,
}


@pytest.mark.parametrize("stages", POINTS, ids=" ".join)
def test_faults_at_any_moment_leave_nothing_that_only_looks_whole(stages, checkpoint, tmp_path):
    """And the next run ends with the bytes of an undisturbed one."""
    (tmp_path / "checkpoint").symlink_to(checkpoint)
    points = os.environ.get("STEPLENS_CRASH_POINTS", str(POINTS[stages]))
    script = ROOT / "tests" / "support" / "crash_points.py"
    command = [sys.executable, str(script), str(tmp_path), *stages, "--points", points]
    if "STEPLENS_CRASH_SEED" in os.environ:
        command += ["--seed", os.environ["STEPLENS_CRASH_SEED"]]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(tmp_path)
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for stage in stages:
        assert re.search(rf"^{stage}: \d+ faults, 0 violations$", result.stdout, flags=re.M)
