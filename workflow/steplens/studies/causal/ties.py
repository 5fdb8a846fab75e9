"""Stage ``causal_ties``: how many of the neurons that the causal study fixes a tie decided (D6)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from steplens.files.atomic import write_csv
from steplens.ranking.table import open_ranking
from steplens.settings import DEFAULT_SELECTION, Selection
from steplens.steering.tie_counts import tie_rows
from steplens.tasks import ALL, MODALITY_OF


def causal_ties(
    encoders: Mapping[str, Path],
    decoders: Mapping[str, tuple[Path, Path]],
    step: int,
    ks: Sequence[int],
    output: Path,
    selection: Selection = DEFAULT_SELECTION,
) -> None:
    """Write ``causal/ties.csv``: a row per set of neurons that a language or modality has of its own.

    Parameters
    ----------
    encoders : mapping
        Module to its ranking.
    decoders : mapping
        Task to its rankings at ``step``, by language and by modality.
    step : int
    ks : sequence of int
    output : path
        Columns module, task (of an encoder its modality), step (0 for encoders), neurons (``language`` or
        ``modality``), ties (``ranking.ties``), and those of ``tie_rows``; ``language`` is ``all`` for a
        modality.
    selection : Selection
    """
    opened = [
        (
            (module, module.removesuffix("_encoder"), 0, "language"),
            open_ranking(path, module=module),
        )
        for module, path in encoders.items()
    ]
    for task, (by_language, by_modality) in decoders.items():
        label = MODALITY_OF[task]
        opened += [
            (("decoder", task, step, "language"), open_ranking(by_language, task=task, step=step)),
            (
                ("decoder", task, step, "modality"),
                open_ranking(by_modality, task=task, step=step, label=label),
            ),
        ]
    parts = []
    for key, ranking in opened:
        for k in ks:
            rows = tie_rows(ranking, k, selection)
            if key[-1] == "modality":
                rows = rows[rows["language"] == ALL]
            keys = pd.DataFrame([(*key, selection.ties)] * len(rows), rows.index, _KEYS)
            parts.append(pd.concat([keys, rows], axis=1))
    write_csv(pd.concat(parts), output)


_KEYS = ["module", "task", "step", "neurons", "ties"]
