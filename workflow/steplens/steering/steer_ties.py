"""Stage ``steer_ties``: steered outputs under every way to break ties of AP (``tie_sensitivity.py``)."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from steplens.files.atomic import write_parquet
from steplens.models.source import ModelSource
from steplens.ranking.table import open_ranking
from steplens.settings import Selection, tie_rules
from steplens.steering.choice import control_columns, replacement
from steplens.steering.fixed_generation import generate_fixed, missing_jobs
from steplens.steering.kept_outputs import COLUMNS, TRIAL, SteeredOutputs
from steplens.store.conditions import of_condition, read_condition
from steplens.store.reading import open_store, read_states
from steplens.tasks import IDENTIFICATION_TASK, MODALITY_OF

log = logging.getLogger(__name__)


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
    for rule in tie_rules(selection):
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
        table = read_condition(path, TRIAL, task=task, source=language, step=step)
        known.add(_written(table, ranked[step], k, selection, known))
    missing = missing_jobs(fixed, utterances, [known])
    if missing:
        from steplens.models.provenance import require_same_model

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
    table = pd.DataFrame(rows)
    inputs = {"encoder_store": encoder_store}
    for step in rankings:
        inputs |= {f"ranking {step}": rankings[step], f"steered {step}": steered[step]}
    settings = {
        "k": k, "n_utterances": n_utterances, "max_new_tokens": max_new_tokens,
        "selection": asdict(selection),
    }  # fmt: skip
    condition = {"module": "decoder", "task": task, "source": language}
    table.attrs = of_condition(condition, {**made_by, **settings}, inputs)
    write_parquet(table, output)
    known.close()
    log.info("%s %s: %d sets of neurons, %d outputs generated, the others were there", task, language,
             len(fixed), len(missing))  # fmt: skip


def _written(table, ranking, k: int, selection: Selection, known: SteeredOutputs) -> list[dict]:
    """Outputs of ``steer`` that are not known yet, by the digest of what was fixed."""
    table = table[table["control"] == "steered"]
    rows = []
    for target, part in table.groupby("target"):
        columns = control_columns(ranking, target, k, selection)
        digest = replacement(ranking, columns, target).digest
        found = part.assign(fixed=digest)[COLUMNS].to_dict("records")
        rows += [row for row in found if (digest, row["utterance"]) not in known]
    return rows
