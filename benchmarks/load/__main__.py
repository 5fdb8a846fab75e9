"""Whether stores of the paper's size and a study of many languages can be carried on this machine.

    python -m benchmarks.load store --folder /some/where    # 10 GB: rank and compare within 6 GB of memory
    python -m benchmarks.load study --folder /some/where    # 30 languages, 8 steps, to the report

``store`` ends with status 1 if a stage takes more memory than allowed. Stores stay in the folder for another
call; remove it in the end. ``study`` wants a folder that is empty or not there.
"""

import argparse
import sys
from pathlib import Path

from .store import LIMIT_GB, STAGES, Size, load_store
from .study import load_study


def main(arguments: list[str] | None = None) -> int:
    """Write, run and print; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.load", description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )  # fmt: skip
    parts = parser.add_subparsers(dest="part", required=True)
    store = parts.add_parser("store", help="made-up stores of one step: rank, compare, reliability")
    store.add_argument("--folder", type=Path, required=True)
    store.add_argument("--neurons", type=int, default=Size.neurons)
    store.add_argument("--utterances", type=int, default=Size.utterances, help="a language")
    store.add_argument("--languages", type=int, default=Size.languages)
    store.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    store.add_argument("--resamples", type=int, default=20, help="of compare; the paper's run: 200")
    store.add_argument("--draws", type=int, default=2, help="splits and shuffles of reliability")
    store.add_argument("--threads", type=int, default=2)
    store.add_argument(
        "--limit", type=float, default=LIMIT_GB, dest="limit_gb", help="of memory, in GB"
    )
    study = parts.add_parser("study", help="a whole run on made-up sentences and random weights")
    study.add_argument("--folder", type=Path, required=True)
    study.add_argument("--languages", type=int, default=30)
    study.add_argument("--steps", type=int, default=8)
    study.add_argument("--utterances", type=int, default=4, help="a language")
    study.add_argument("--steered", type=int, default=1, help="of them")
    study.add_argument("--cores", type=int, default=2)
    options = vars(parser.parse_args(arguments))
    part, folder = options.pop("part"), options.pop("folder").absolute()
    if part == "store":
        size = Size(**{name: options.pop(name) for name in ("neurons", "utterances", "languages")})
        return load_store(folder, size, **options)
    if folder.exists() and any(folder.iterdir()):
        parser.error(f"--folder: expected an empty folder, got {folder} with files in it")
    return load_study(folder, **{f"n_{key}": options[key] for key in ("languages", "steps",
                      "utterances", "steered")}, cores=options["cores"])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
