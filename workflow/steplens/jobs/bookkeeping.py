"""What Snakemake keeps of past jobs in ``.snakemake``, and whether it can still be read.

A record per output, ``.snakemake/metadata/<path in base64>``: the settings, code and inputs that made it.
Without one Snakemake knows nothing but file times, and takes an output as it is whatever the settings are.
Over some damaged records it stops with a traceback.
"""

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from steplens.errors import ConfigError

FOLDER = Path(".snakemake")
_SHOWN = 3  # records in a message


def check_bookkeeping(
    validate: Callable[[Any], Any], below: tuple[Path, ...], folder: Path = FOLDER
) -> list[str]:
    """Notes on damaged records of outputs that there are.

    Parameters
    ----------
    validate : callable
        Snakemake's own: raises ValueError for JSON that is no record.
    below : tuple of path
        Whose outputs count, those of this run.
    folder : path

    Returns
    -------
    list of str
        A line, where Snakemake takes outputs as they are because it cannot read their records.

    Raises
    ------
    ConfigError
        Snakemake itself would stop with a traceback.
    """
    empty, broken = {}, {}
    for kind in ("metadata", "incomplete"):
        for path in sorted((folder / kind).rglob("*")):
            output = recorded_output(path.relative_to(folder / kind))
            if output is None or not any(one in output.parents for one in below):
                continue
            if path.is_dir():
                continue
            found = _wrong_with(path, validate if kind == "metadata" else _marker)
            if found is None:
                continue
            wrong, is_read = found
            if not is_read:
                broken[path] = output, wrong
            elif kind == "metadata" and output.exists():
                empty[path] = output, wrong
    if broken:
        raise ConfigError(
            f"{_told(broken)}; Snakemake cannot go on over it: delete it, and the output with it where it "
            f"may be of other settings: rm {' '.join(map(str, [*broken][:_SHOWN]))}"
        )
    if not empty:
        return []
    outputs = " ".join(str(output) for output, _ in [*empty.values()][:_SHOWN])
    return [
        f"{_told(empty)}; what is there is taken as it is, with whatever settings it was made: delete the "
        f"output and it is made again (rm {outputs}), or take it for up to date (snakemake --touch {outputs})"
    ]


def recorded_output(record: Path) -> Path | None:
    """The output that a record is of; None for a file that is no record.

    Parameters
    ----------
    record : path
        Below ``.snakemake/metadata``: the output's path in base64; of long ones a folder a part, each
        but the last behind ``@``.
    """
    text = "".join(part.removeprefix("@") for part in record.parts)
    try:
        return Path(base64.b64decode(text, altchars=b"-_", validate=True).decode())
    except ValueError:
        return None


def _wrong_with(path: Path, validate: Callable[[Any], Any]) -> tuple[str, bool] | None:
    """What is wrong with a record, and whether Snakemake can read over it; None for a sound one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError:
        return ("an empty file" if path.stat().st_size == 0 else "broken JSON"), True
    except UnicodeDecodeError:
        return "bytes that are no text", False
    except RecursionError:
        return "JSON in countless layers", False
    except OSError as error:
        return f"{error.strerror}", False
    if not content:
        return "an empty record", True
    try:
        validate(content)
    except ValueError:
        return f"JSON of another kind ({type(content).__name__})", False
    return None


def _marker(content: Any) -> None:
    if not isinstance(content, Mapping):
        raise ValueError


def _told(found: Mapping[Path, tuple[Path, str]]) -> str:
    path, (output, wrong) = next(iter(found.items()))
    others = f", and {len(found) - 1} more such" if len(found) > 1 else ""
    return f"{path}: expected Snakemake's record of how {output} was made, got {wrong}{others}"
