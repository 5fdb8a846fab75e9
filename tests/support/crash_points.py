"""Runs stages again and again in forks that die, or fail, at a chosen file operation.

    python tests/support/crash_points.py <folder> <stage> [<stage> …] [--points 12] [--seed 1]

Of a stage all file operations within its folder are counted once (opening, renaming, removing, making a
folder). Then forks run it on fresh copies of its inputs and stop at one of them:

kill   the process ends there at once, as after a SIGKILL
soon   it ends up to ten milliseconds later, in the middle of whatever it then does
error  the operation raises "No space left on device"
limit  files may not grow beyond a size: a write fails in the middle of a file

After each, whatever looks whole must be whole, and running the stage again without a fault must give
the bytes of an undisturbed run. Exit status 1, and a line for each violation, where it does not.
"""

import argparse
import errno
import gc
import importlib
import os
import random
import resource
import shutil
import signal
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow"))

EVENTS = {
    "open",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.mkdir",
    "os.link",
    "os.symlink",
    "os.truncate",
}
_hook = {"folder": "", "count": 0, "at": None, "mode": "count", "delay": 0.0}


def _watch(event, arguments):
    if event not in EVENTS or _hook["mode"] == "off":
        return
    path = arguments[0]
    if not isinstance(path, str | bytes | os.PathLike) or not os.fspath(path):
        return
    if event == "open" and not _writes(arguments):
        return
    if not os.path.abspath(os.fsdecode(path)).startswith(_hook["folder"]):
        return
    _hook["count"] += 1
    if _hook["count"] == _hook["at"]:
        if _hook["mode"] == "kill":
            os._exit(137)
        if _hook["mode"] == "soon":  # the signal's default is to end the process
            signal.setitimer(signal.ITIMER_REAL, _hook["delay"])
        if _hook["mode"] == "error":
            _hook["mode"] = "off"  # once: cleaning up may work again
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fsdecode(path))


def _writes(arguments):
    mode, flags = arguments[1], arguments[2]
    return any(c in mode for c in "wax+") if isinstance(mode, str) else bool(flags & os.O_ACCMODE)


def in_fork(work, folder, mode="count", at=None, limit=None):
    """Exit status of ``work(folder)`` in a fork, and how many file operations it came to."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(read)
            _hook.update(folder=str(folder), mode=mode, at=at, count=0)
            sys.addaudithook(_watch)
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            status = int(work(folder) or 0)
        except BaseException:
            if mode == "count":
                traceback.print_exc()
        finally:
            sys.stdout.flush()
            _hook["mode"] = "off"
            os.write(write, str(_hook["count"]).encode())
            os._exit(status)
    os.close(write)
    _, status = os.waitpid(pid, 0)
    count = os.read(read, 100)
    os.close(read)
    return os.waitstatus_to_exitcode(status), int(count or 0)


def contents(folder, ignored=()):
    """Bytes of every file by its path, apart from bookkeeping."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(one in path.parts for one in ignored)
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("stages", nargs="+", metavar="stage")
    parser.add_argument("--points", type=int, default=12)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "little"))
    options = parser.parse_args()
    import crash_stages

    from steplens.jobs import warm_start

    stages = {name: crash_stages.STAGES[name] for name in options.stages}
    modules = {module for stage in stages.values() for module in stage.imports}
    # Once, and nothing is computed before a fork.
    if "recording.encode" in modules:
        # The warm process is a script: its folder comes first on the path, until this takes it off.
        sys.path.insert(0, str(Path(warm_start.__file__).parent))
        warm_start._preload()
    for module in sorted(modules):
        importlib.import_module(f"steplens.{module}")
    gc.freeze()  # as the warm process does: forks leave what is loaded alone
    wrong = 0
    for name, stage in stages.items():
        folder = options.folder.resolve() / name
        wrong += _violations(name, stage, folder, options.points, options.seed)
    return int(wrong > 0)


def _violations(name, stage, folder, n_points, seed):
    """How often a stage lost or spoilt something."""
    folder.mkdir(parents=True)
    status, _ = in_fork(lambda where: stage.prepare(where), folder / "inputs")
    assert status == 0, "the inputs could not be made"

    def fresh(kind, like="inputs"):
        where = folder / kind
        shutil.rmtree(where, ignore_errors=True)
        shutil.copytree(folder / like, where)
        return where

    whole = fresh("whole")
    status, n_operations = in_fork(stage.run, whole)
    assert status == 0, "the undisturbed run failed"
    expected = contents(whole, stage.ignored)
    generator = random.Random(seed)
    print(f"{name}: {n_operations} file operations, seed {seed}")
    sizes = [len(one) for one in expected.values()]
    points = [("kill", at, None) for at in _some(generator, n_operations, n_points)]
    points += [("soon", at, None) for at in _some(generator, n_operations, n_points)]
    points += [("error", at, None) for at in _some(generator, n_operations, n_points)]
    points += [
        ("limit", None, generator.randrange(max(sizes))) for _ in range(max(1, n_points // 3))
    ]
    wrong = 0
    for number, (mode, at, limit) in enumerate(points):
        # Every other time over results that are there already.
        begin = "whole" if number % 2 else "inputs"
        fault = f"{name}: {mode} at {at or limit}, from {begin}"
        where = fresh("broken", begin)
        _hook["delay"] = generator.uniform(1e-4, 1e-2)
        status, _ = in_fork(stage.run, where, mode, at, limit)
        if status == 0 and contents(where, stage.ignored) != expected:
            print(f"{fault}: ended well with another result")
            wrong += 1
        status, _ = in_fork(stage.check, where)
        # A second fault, somewhere: what was kept of the first run must not confuse the second.
        in_fork(stage.run, where, "soon", generator.randint(1, n_operations))
        status = status or in_fork(stage.check, where)[0]
        if status != 0:
            print(f"{fault}: something looks whole and is not")
            wrong += 1
        status, _ = in_fork(stage.run, where)
        found = contents(where, stage.ignored)
        if status != 0 or found != expected:
            different = sorted(
                key for key in {*found, *expected} if found.get(key) != expected.get(key)
            )
            print(f"{fault}: run again: status {status}, other than undisturbed: {different[:5]}")
            wrong += 1
    print(f"{name}: {len(points)} faults, {wrong} violations")
    return wrong


def _some(generator, n, wanted):
    """The last operation, where the mark is set, and others by chance."""
    return sorted({n, *generator.sample(range(1, n), min(wanted - 1, n - 1))})


if __name__ == "__main__":
    sys.exit(main())
