"""Where every file of a run lies, and what it is (``snakemake verify``).

A path within ``results/<run>`` fits one pattern at most. A store or ranking is one entry: its folder. What
lies under ``other_speech/`` is the speech half once more.
"""

import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from steplens.files.table_metadata import END
from steplens.planning.work import OTHER_SPEECH
from steplens.tasks import TASKS

NO_RESULT = "no result"  # logs, benchmarks, locks: nothing is computed from them
REST = "rest"  # of an interrupted write: nobody reads it

_TASK = "|".join(TASKS)
_WILDCARDS = {
    "language": "[a-z]{3}",
    "task": _TASK,
    "step": r"\d\d+",
    "modality": "speech|text",
    "encoder": "speech_encoder|text_encoder",
    "module": "speech_encoder|text_encoder|decoder",
    "number": r"\d+",
    "key": "[0-9a-f]{32}",
    "any": ".+",
}
_STEP_TABLES = (
    "overlap|overlap_summary|spearman|spearman_summary|sensitivity|stability|null_ratio|"
    "learning_curve"
)
_PARTS = ("{key}/part-{number}.parquet", "generated.json")

# What it is, as ``verify.py`` has checks for it, and the patterns; alternatives stand in brackets.
_SPEECH_HALF = {
    "speech": ["speech/{language}.parquet"],
    "audio": ["speech/{language}/{number}.wav"],
    "takes": ["speech/{language}/takes.jsonl"],
    "first attempts": ["speech/{language}/first_attempts.json"],
    "encoder": ["encoder/{modality}/{language}.zarr"],
    "decoding": ["decoding/{task}/{language}.parquet"],
    "decoder": ["decoder/{task}/{language}/step-{step}.zarr"],
    "encoder ranking": ["ranking/{encoder}.zarr"],
    "decoder ranking": ["ranking/decoder/{task}/step-{step}.zarr"],
    "table": ["tables/(speech_quality).csv"],
}
LAYOUT = _SPEECH_HALF | {
    "corpus": ["corpus/{language}.parquet"],
    "modality ranking": ["ranking/modality/{task}/step-{step}/{modality}.zarr"],
    "medians": ["causal/medians/{encoder}.zarr"],
    "steered": ["steering/texts/{task}/{language}/step-{step}.parquet"],
    "ties": ["tie_sensitivity/texts/{task}/{language}.parquet"],
    "causal": ["causal/texts/{module}/{language}/{task}.parquet"],
    "encoder inequality": ["inequality/encoder/{modality}/{language}.parquet"],
    "decoder inequality": ["inequality/decoder/{task}/{language}/step-{step}.parquet"],
    "encoder similarity": ["similarity/pairs/encoder.parquet"],
    "decoder similarity": ["similarity/pairs/decoder/{task}/step-{step}.parquet"],
    "part": [
        f"{folder}/{name}"
        for folder in (
            "steering/texts/{task}/{language}/.parts",
            "tie_sensitivity/texts/{task}/.parts/{language}",
            "causal/texts/{module}/{language}/.parts/{task}",
        )
        for name in _PARTS
    ],
    "table": [
        "tables/(table1|table2|table3|table4|table5|recognition|speech_quality).csv",
        f"comparison/({_STEP_TABLES}|location|valid_counts|speech_sources|speech_sources_overlap).csv",
        f"comparison/steps/step-{{step}}/({_STEP_TABLES}).csv",
        "comparison/speech_sources/({encoder}/step-00|{task}/step-{step})/(summary|overlap).csv",
        "steering/(control_rates|effects|effect_ratios|mean_effect_ratios|quality|ties).csv",
        "steering/(language_probabilities).csv",
        "tie_sensitivity/(ranges|diagonal_ratio|control_rates|effect_ratios).csv",
        "modality/(neurons|location|overlap|probes).csv",
        "modality/probes/({encoder}|{task}/step-{step}).csv",
        "inequality/(gini|shares|lorenz|scripts|paired).csv",
        "similarity/(pairs|gaps|lengths|languages|resources).csv",
        "causal/(effects|by_language|ties).csv",
    ],
    "figure": ["figures/figure{number}.(svg|png)"],
    "report": ["report.html"],
    NO_RESULT: ["logs/{any}.log", "benchmarks/{any}.tsv", ".lock"],
}


class Place(NamedTuple):
    """What lies at a path."""

    what: str  # of ``LAYOUT``, or ``REST``
    wildcards: dict[str, str]
    other_speech: bool = False


def place_of(path: str) -> Place | None:
    """What lies at a path within a run; None where nothing of steplens does.

    Parameters
    ----------
    path : str
        With slashes. Of a store the folder; of metadata the file that they are of.
    """
    name = PurePosixPath(path).name
    if name.startswith(".partial-") or name.endswith(".partial"):
        return Place(REST, {})
    inside = path.removeprefix(f"{OTHER_SPEECH}/")
    half = inside != path
    found = [
        Place(what, {key: value for key, value in match.groupdict().items() if value}, half)
        for what, patterns in (_SPEECH_HALF if half else LAYOUT).items()
        for pattern in patterns
        if (match := _regex(pattern).fullmatch(inside))
    ]
    return found[0] if len(found) == 1 else None


def described_by(path: str) -> str:
    """The file that a file of metadata is of; another path as it is."""
    return path.removesuffix(END)


def walk(
    folder: Path, whole: Callable[[Path], bool] = lambda path: False, above: tuple = ()
) -> Iterator[Path]:
    """All files below a folder, sorted, with what lies in linked folders.

    Parameters
    ----------
    folder : path
    whole : callable
        Whether a folder is given itself. So is one that cannot be listed, or leads to a folder that it lies
        in.
    above : tuple
        Device and inode of the folders that this one lies in.
    """
    try:
        status = folder.stat()
        inside = sorted(os.listdir(folder))
    except OSError:
        yield folder
        return
    own = (status.st_dev, status.st_ino)
    if own in above:
        yield folder
        return
    for path in (folder / name for name in inside):
        if path.is_dir() and not whole(path):
            yield from walk(path, whole, (*above, own))
        else:
            yield path


def entries(results: Path) -> Iterator[Path]:
    """All that lies in a run: files, stores as a whole, folders in the places of files; links followed."""

    def whole(path: Path) -> bool:
        within = described_by(path.relative_to(results).as_posix())
        return path.suffix == ".zarr" or place_of(within) is not None

    if results.exists():
        yield from walk(results, whole)


@cache
def _regex(pattern: str) -> re.Pattern:
    def group(match: re.Match) -> str:
        return f"(?P<{match[1]}>{_WILDCARDS[match[1]]})"

    return re.compile(re.sub(r"\{(\w+)\}", group, pattern.replace(".", r"\.")))
