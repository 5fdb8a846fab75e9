"""Target ``tie_sensitivity``: how far results move when ties of AP are broken in another way.

Control rates, effect ratios and the diagonal ratio under every rule of ``ranking.ties``, lots drawn with
five seeds. An interval over sentences does not say this: which of the tied neurons are taken is the same
in every resample.
"""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .atomic import read_parquet, write_csv, write_parquet
from .comparing import most_tied, overlap_of
from .comparison import diagonal_ratio
from .control import effect_ratios, pooled_rate, script_counts
from .fixed_generation import generate_fixed, missing_jobs
from .intervention import control_columns, replacement
from .languages import load_languages
from .left_out import read_left_out
from .model_source import ModelSource
from .outcomes import without
from .rankings import open_ranking
from .settings import Selection
from .steered_outputs import COLUMNS, SteeredOutputs
from .store import open_store, read_states
from .tasks import IDENTIFICATION_TASK, MODALITY_OF, REPRESENTATION_TASKS
from .writing import Tokens

log = logging.getLogger(__name__)

SEEDS = (1, 2, 3, 4, 5)  # of the lots
RULE = ["ties", "ties_seed"]
PAIR = ["task", "step", "source", "target"]


def rules(own: Selection) -> list[Selection]:
    """Every way to break ties, within the run's scope: the run's own, by separation, column and five lots."""
    found = [
        own,
        Selection("separation", own.scope),
        Selection("column", own.scope),
        *(Selection("random", own.scope, seed) for seed in SEEDS),
    ]
    return list(dict.fromkeys(found))


def steer_ties(
    source: ModelSource,
    task: str,
    language: str,
    rankings: Mapping[int, Path],
    steered: Mapping[int, Path],
    encoder_store: Path,
    output: Path,
    k: int,
    n_utterances: int,
    max_new_tokens: int,
    batch_size: int,
    targets: Collection[str],
    selection: Selection,
    made_by: Mapping[str, Any],
) -> None:
    """Write ``tie_sensitivity/texts/<task>/<language>.parquet``: steered outputs under every rule.

    Columns: ties, ties_seed, task, step, source, target, fixed (digest of the neurons and values),
    utterance, n_tokens, ended, longest_repeat, text. Where rules choose the same neurons they share an
    output; the run's own rule takes those that ``steer`` wrote.

    Parameters
    ----------
    source : ModelSource
    task : {"asr", "tr"}
    language : str
        The source language.
    rankings, steered : mappings of int to path
        Of every step: the ranking of asr, and the table of ``steer``.
    encoder_store, output : paths
    k, n_utterances, max_new_tokens, batch_size : int
    targets : collection of str
    selection : Selection
        The run's own.
    made_by : mapping
        As in ``steer``.
    """
    ranked = {
        step: open_ranking(path, task=IDENTIFICATION_TASK, step=step)
        for step, path in rankings.items()
    }
    plan, fixed = [], {}
    for rule in rules(selection):
        for step, ranking in ranked.items():
            for target in targets:
                columns = control_columns(ranking, target, k, rule)
                one = replacement(ranking, columns, target)
                fixed[one.digest] = one
                plan.append((rule, step, target, one.digest))
    data = open_store(encoder_store, modality=MODALITY_OF[task], language=language)
    utterances = data["utterance"].to_numpy()[:n_utterances].tolist()
    determined_by = {
        "encoder_store": data.attrs["digest"],
        "language": language,
        "max_new_tokens": max_new_tokens,
        **made_by,
    }
    known = SteeredOutputs(output.parent / ".parts" / output.stem, determined_by)
    for step, path in steered.items():
        known.add(_written(path, ranked[step], k, selection, known))
    missing = missing_jobs(fixed, utterances, [known])
    if missing:
        from .provenance import require_same_model

        require_same_model(data.attrs, source, made_by, encoder_store)
        states = read_states(data)[:n_utterances]
        generate_fixed(
            source, f"ties {task} {language}", language, missing, fixed, states, utterances,
            max_new_tokens, batch_size, known,
        )  # fmt: skip
    rows = [
        {"ties": rule.ties, "ties_seed": rule.seed, "task": task, "step": step, "source": language,
         "target": target} | known[digest, utterance]
        for rule, step, target, digest in plan
        for utterance in utterances
    ]  # fmt: skip
    write_parquet(pd.DataFrame(rows), output)
    known.close()
    log.info("%s %s: %d sets of neurons, %d outputs generated, the others were there", task, language,
             len(fixed), len(missing))  # fmt: skip


def _written(path, ranking, k: int, selection: Selection, known: SteeredOutputs) -> list[dict]:
    """Outputs of ``steer`` that are not known yet, by the digest of what was fixed."""
    table = read_parquet(path)
    table = table[table["control"] == "steered"]
    rows = []
    for target, part in table.groupby("target"):
        columns = control_columns(ranking, target, k, selection)
        digest = replacement(ranking, columns, target).digest
        found = part.assign(fixed=digest)[COLUMNS].to_dict("records")
        rows += [row for row in found if (digest, row["utterance"]) not in known]
    return rows


def tie_sensitivity(
    texts: list[Path],
    rankings: Mapping[int, tuple[Path, Path]],
    folder: Path,
    k: int,
    selection: Selection,
    min_source_rate: float,
    rate_tokens: Tokens = "script_runs",
    left_out: Path | None = None,
) -> None:
    """Write ``tie_sensitivity/*.csv``.

    ``diagonal_ratio.csv``, ``control_rates.csv`` and ``effect_ratios.csv`` have a row per condition and
    rule; ``ranges.csv`` has a row per condition: the value under the run's own rule, the lowest and the
    highest under any, and how many of the rules have a value.

    Parameters
    ----------
    texts : list of path
        Of ``steer_ties``.
    rankings : mapping of int to (path, path)
        By step, of s2t and of t2t.
    folder : path
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
    write_csv(shared, folder / "diagonal_ratio.csv")
    write_csv(rates, folder / "control_rates.csv")
    write_csv(effects, folder / "effect_ratios.csv")
    table = pd.concat(ranges)[["measure", *PAIR, "value", "low", "high", "n_rules"]]
    write_csv(table, folder / "ranges.csv")
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
        for rule in rules(own):
            scores = [ranking.scores(rule) for ranking in opened]
            rows.append(
                {
                    "ties": rule.ties, "ties_seed": rule.seed, "step": step, "k": k,
                    "diagonal_ratio": diagonal_ratio(overlap_of(*scores, k)),
                }
                | most_tied(scores, k)
            )  # fmt: skip
    return pd.DataFrame(rows)


def _rates(texts: list[Path], tokens: Tokens, left_out: Path | None) -> pd.DataFrame:
    """Control rates of pairs in different scripts, a row per condition and rule."""
    languages = load_languages()
    outcomes = pd.concat([read_parquet(path) for path in texts])
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
