"""Target ``tie_sensitivity``: how far results move when ties of AP are broken in another way.

Control rates, effect ratios and the diagonal ratio under every rule of ``ranking.ties``, lots drawn with
five seeds. An interval over sentences does not say this: which of the tied neurons are taken is the same
in every resample.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from steplens.comparison.compare_step import most_tied, overlap_of
from steplens.comparison.measures import diagonal_ratio
from steplens.control import effect_ratios, pooled_rate, script_counts
from steplens.files.atomic import write_csv
from steplens.languages.table import load_languages
from steplens.languages.writing_systems import Tokens
from steplens.ranking.table import open_ranking
from steplens.settings import Selection, tie_rules
from steplens.steering.outcomes import without
from steplens.store.conditions import read_condition
from steplens.store.left_out import read_left_out
from steplens.tasks import REPRESENTATION_TASKS

log = logging.getLogger(__name__)

RULE = ["ties", "ties_seed"]
PAIR = ["task", "step", "source", "target"]


def tie_sensitivity(
    texts: Mapping[tuple[str, str], Path],
    rankings: Mapping[int, tuple[Path, Path]],
    outputs: Mapping[str, Path],
    k: int,
    selection: Selection,
    min_source_rate: float,
    rate_tokens: Tokens = "script_runs",
    left_out: Path | None = None,
) -> None:
    """Write four tables.

    ``diagonal_ratio``, ``control_rates`` and ``effect_ratios`` have a row per condition and rule;
    ``ranges`` has a row per condition: the value under the run's own rule, the lowest and the highest under
    any, and how many of the rules have a value.

    Parameters
    ----------
    texts : mapping
        (task, source) to the table of ``steer_ties``.
    rankings : mapping of int to (path, path)
        By step, of s2t and of t2t.
    outputs : mapping of name to CSV
        Where those tables go.
    k : int
        Of the overlap.
    selection : Selection
        The run's own.
    min_source_rate : float
    rate_tokens : {"script_runs", "characters"}
    left_out : path, optional
        ``tables/speech_quality.csv``.
    """
    shared = _ratios(rankings, k, selection)
    rates = _rates(texts, rate_tokens, left_out)
    effects = [
        effect_ratios(part, min_source_rate).assign(ties=ties, ties_seed=seed)
        for (ties, seed), part in rates.groupby(RULE, sort=False)
    ]
    effects = pd.concat(effects) if effects else pd.DataFrame(columns=["source", "target", "step"])
    own = (selection.ties, selection.seed)
    ranges = [
        _range(shared, ["step"], "diagonal_ratio", own),
        _range(rates, PAIR, "rate", own),
        _range(effects, PAIR[1:], "ratio", own),
    ]
    write_csv(shared, outputs["diagonal_ratio"])
    write_csv(rates, outputs["control_rates"])
    write_csv(effects, outputs["effect_ratios"])
    table = pd.concat(ranges)[["measure", *PAIR, "value", "low", "high", "n_rules"]]
    write_csv(table, outputs["ranges"])
    for measure, part in table.groupby("measure", sort=False):
        widest = (part["high"] - part["low"]).max()
        log.info(
            "%s: %d conditions, the widest range over the rules is %.3f", measure, len(part), widest
        )


def _ratios(rankings, k: int, own: Selection) -> pd.DataFrame:
    rows = []
    for step, paths in rankings.items():
        opened = [
            open_ranking(path, task=task, step=step)
            for task, path in zip(REPRESENTATION_TASKS, paths, strict=True)
        ]
        for rule in tie_rules(own):
            scores = [ranking.scores(rule) for ranking in opened]
            rows.append(
                {
                    "ties": rule.ties, "ties_seed": rule.seed, "step": step, "k": k,
                    "diagonal_ratio": diagonal_ratio(overlap_of(*scores, k)),
                }
                | most_tied(scores, k)
            )  # fmt: skip
    return pd.DataFrame(rows)


def _rates(
    texts: Mapping[tuple[str, str], Path], tokens: Tokens, left_out: Path | None
) -> pd.DataFrame:
    """Control rates of pairs in different scripts, a row per condition and rule."""
    languages = load_languages()
    unique = [*RULE, "step", "target", "utterance"]
    outcomes = pd.concat(
        [
            read_condition(path, unique, task=task, source=source)
            for (task, source), path in texts.items()
        ]
    )
    outcomes = without(outcomes.reset_index(drop=True), read_left_out(left_out))
    rows = []
    for key, part in outcomes.groupby([*RULE, *PAIR], sort=False):
        named = dict(zip([*RULE, *PAIR], key, strict=True))
        target, other = (languages[named[one]].script for one in ("target", "source"))
        if target != other:
            counts = script_counts(part["text"], target, other, tokens)
            rows.append(named | {"rate": float(pooled_rate(counts)), "n_texts": len(part)})
    return pd.DataFrame(rows, columns=[*RULE, *PAIR, "rate", "n_texts"])


def _range(
    table: pd.DataFrame, keys: list[str], measure: str, own: tuple[str, int]
) -> pd.DataFrame:
    """The run's own value of each condition, and the range over all rules."""
    rows = []
    for key, part in table.groupby(keys, sort=False) if len(table) else ():
        values = part[measure].to_numpy(dtype=float)
        mine = part[(part["ties"] == own[0]) & (part["ties_seed"] == own[1])]
        rows.append(
            dict(zip(keys, key, strict=True))
            | {
                "measure": measure,
                "value": mine[measure].iloc[0] if len(mine) else np.nan,
                "low": np.fmin.reduce(values), "high": np.fmax.reduce(values),
                "n_rules": int(np.isfinite(values).sum()),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=["measure", *PAIR, "value", "low", "high", "n_rules"])
