"""What steering did: control rates, differences, ratios, language and quality, with intervals.

An outcome is one output text under one condition (task, step, source, target, control). The unsteered
output of a sentence stands beside every step and target. Random controls are pooled over their seeds,
utterance by utterance; the lowest and the highest seed stand beside the pooled value. One draw of
sentence ids serves all conditions and source languages, so that every difference and ratio is a paired
one and a mean over pairs counts what sentences do to all languages at once (D12).
"""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from rapidfuzz.distance import Levenshtein

from steplens.control import (
    ALL_PAIRS,
    PAIRS_OF_THE_PAPER,
    PAPERS_PAIRS,
    effect_ratios,
    pooled_rate,
    script_counts,
)
from steplens.languages.identification import language_probabilities
from steplens.languages.repetition import longest_repeat
from steplens.languages.table import Language
from steplens.languages.writing_systems import Tokens
from steplens.statistics.bootstrap import SentenceDraws, percentile_interval
from steplens.steering.kept_outputs import TRIAL
from steplens.store.conditions import read_condition

CONTROLS = ("unsteered", "random", "other_language", "steered")
CONDITION = ["task", "step", "source", "target", "control"]


def gather(
    steered: dict[tuple[str, str, int], Path], unsteered: dict[tuple[str, str], Path]
) -> pd.DataFrame:
    """All outcomes of a run.

    Parameters
    ----------
    steered : dict
        (task, source, step) to ``steering/texts/…``.
    unsteered : dict
        (task, source) to ``decoding/<task>/<source>.parquet``.

    Returns
    -------
    DataFrame
        The columns of ``CONDITION``, seed, utterance, ended, longest_repeat, text, and the
        unsteered text of the same sentence as ``reference``.

    Raises
    ------
    TableError
        A table is of another condition than its key says, or has an output twice.
    """
    plain_of = {
        (task, source): read_condition(path, ["utterance"], task=task, language=source)
        for (task, source), path in unsteered.items()
    }
    parts = []
    for (task, source, step), path in steered.items():
        texts = read_condition(path, TRIAL, task=task, source=source, step=step)
        plain = plain_of[task, source].set_index("utterance")
        texts["reference"] = plain["text"].loc[texts["utterance"]].to_numpy()
        parts.append(texts)
        used = plain.loc[texts["utterance"].unique()].reset_index()
        repeats = [longest_repeat(list(tokens)) for tokens in used["tokens"]]
        for target in texts["target"].unique():
            parts.append(
                used[["utterance", "ended", "text"]].assign(
                    task=task, step=step, source=source, target=target, control="unsteered",
                    seed=0, longest_repeat=repeats, reference=used["text"],
                )
            )  # fmt: skip
    columns = [*CONDITION, "seed", "utterance", "ended", "longest_repeat", "text", "reference"]
    return pd.concat(parts)[columns].reset_index(drop=True)


def without(outcomes: pd.DataFrame, left_out: dict[str, np.ndarray]) -> pd.DataFrame:
    """Outcomes but those of sentences that are left out, by source language."""
    out = np.zeros(len(outcomes), dtype=bool)
    for source, utterances in left_out.items():
        out |= ((outcomes["source"] == source) & outcomes["utterance"].isin(utterances)).to_numpy()
    return outcomes[~out].reset_index(drop=True)


class Draws:
    """Bootstrap draws of the sentences of all source languages together.

    Parameters
    ----------
    outcomes : DataFrame
        With a column ``utterance``.
    n_resamples, seed : int
    """

    def __init__(self, outcomes: pd.DataFrame, n_resamples: int, seed: int):
        self._draws = SentenceDraws(outcomes["utterance"].to_numpy(), n_resamples, seed)

    def weighted_sums(self, utterances: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Sums of ``values`` (n, …) over each resample of the sentences: (n_resamples, …)."""
        sentences, place = np.unique(utterances, return_inverse=True)
        per_sentence = np.zeros((len(sentences), *values.shape[1:]))
        np.add.at(per_sentence, place, values)
        return np.tensordot(self._draws.of(sentences), per_sentence, axes=1)


def _conditions(outcomes: pd.DataFrame) -> Iterator[tuple[dict, pd.DataFrame]]:
    order = pd.CategoricalDtype(list(CONTROLS), ordered=True)
    frame = outcomes.assign(control=outcomes["control"].astype(order))
    for key, part in frame.groupby(CONDITION, sort=True, observed=True):
        yield dict(zip(CONDITION, key, strict=True)), part


def rate_draws(
    outcomes: pd.DataFrame,
    languages: dict[str, Language],
    draws: Draws,
    tokens: Tokens = "script_runs",
) -> list[tuple[dict, np.ndarray]]:
    """Control rates of every condition between languages of different script, with their draws.

    Parameters
    ----------
    outcomes : DataFrame
        As ``gather`` gives them.
    languages : dict
    draws : Draws
    tokens : {"script_runs", "characters"}
        As in ``control_rate``.

    Returns
    -------
    list of (row, (n_resamples,) array)
        ``row`` has the columns of ``CONDITION``, rate, n_texts, n_without_script, and ``by_seed``: the
        rate of each seed by itself.
    """
    found = []
    for key, part in _conditions(outcomes):
        target, other = languages[key["target"]].script, languages[key["source"]].script
        if target == other:
            continue
        counts = script_counts(part["text"], target, other, tokens)  # (n_texts, 2)
        sums = draws.weighted_sums(part["utterance"].to_numpy(), counts)
        row = key | {
            "rate": float(pooled_rate(counts)),
            "n_texts": len(part),
            "n_without_script": int((counts.sum(1) == 0).sum()),
            "by_seed": {
                seed: float(pooled_rate(counts[(part["seed"] == seed).to_numpy()]))
                for seed in sorted(part["seed"].unique())
            },
        }
        found.append((row, pooled_rate(sums[:, None, :])))
    return found


def control_rates(rated: list[tuple[dict, np.ndarray]]) -> pd.DataFrame:
    """Table of control rates with intervals (table 1).

    ``n_seeds`` draws of random neurons are pooled; ``seed_low`` and ``seed_high`` are the lowest and the
    highest rate of one of them by itself. The other controls have one.
    """
    rows = []
    for row, drawn in rated:
        low, high = percentile_interval(drawn)
        rows.append(row | {"ci_low": low, "ci_high": high} | _over_seeds(row["by_seed"]))
    columns = [*CONDITION, "rate", "ci_low", "ci_high", "n_texts", "n_without_script"]
    return pd.DataFrame(rows, columns=[*columns, "n_seeds", "seed_low", "seed_high"])


def _over_seeds(values: dict[int, float]) -> dict[str, float]:
    """How many seeds, and the range of what each gives; NaN left out."""
    found = np.array(list(values.values()))
    return {
        "n_seeds": len(found),
        "seed_low": np.fmin.reduce(found),
        "seed_high": np.fmax.reduce(found),
    }


def effects(rated: list[tuple[dict, np.ndarray]], languages: dict[str, Language]) -> pd.DataFrame:
    """By how much steering raises the target-script rate, averaged over the pairs of a direction.

    Returns
    -------
    DataFrame
        task, step, direction, baseline (unsteered, random, other_language), difference (steered
        minus baseline, in rate), its interval, and the number of pairs. A pair without a rate in
        either condition is left out of the mean, and out of that of a resample without one.
        ``n_seeds``, ``seed_low`` and ``seed_high``: the range of the difference against each seed of the
        baseline by itself; pooled seeds weigh by their tokens, so that ``difference`` may lie outside.
    """
    by_key = {tuple(row[name] for name in CONDITION): (row, drawn) for row, drawn in rated}
    groups: dict[tuple, list[tuple[float, np.ndarray, dict[int, float]]]] = {}
    for (task, step, source, target, control), (row, drawn) in by_key.items():
        if control != "steered":
            continue
        direction = f"{languages[source].script} to {languages[target].script}"
        for baseline in ("unsteered", "random", "other_language"):
            if (task, step, source, target, baseline) in by_key:
                other, other_drawn = by_key[task, step, source, target, baseline]
                pairs = groups.setdefault((task, step, direction, baseline), [])
                by_seed = {seed: row["rate"] - one for seed, one in other["by_seed"].items()}
                pairs.append((row["rate"] - other["rate"], drawn - other_drawn, by_seed))
    rows = []
    for (task, step, direction, baseline), pairs in groups.items():
        values = np.array([value for value, _, _ in pairs])
        known = np.isfinite(values)
        drawn = np.array([one for (_, one, _), keep in zip(pairs, known, strict=True) if keep])
        by_seed = pd.DataFrame([seeds for _, _, seeds in pairs]).mean().to_dict()
        low, high = percentile_interval(_known_means(drawn)) if known.any() else (np.nan, np.nan)
        rows.append(
            {
                "task": task, "step": step, "direction": direction, "baseline": baseline,
                "difference": values[known].mean() if known.any() else np.nan,
                "ci_low": low, "ci_high": high, "n_pairs": int(known.sum()),
            }
            | _over_seeds(by_seed)
        )  # fmt: skip
    measured = ["difference", "ci_low", "ci_high", "n_pairs", "n_seeds", "seed_low", "seed_high"]
    return pd.DataFrame(rows, columns=["task", "step", "direction", "baseline", *measured])


def ratios(rated: list[tuple[dict, np.ndarray]], min_source_rate: float) -> pd.DataFrame:
    """Cross-modal effect ratios of the steered condition with intervals (table 3, D11)."""
    steered = [(row, drawn) for row, drawn in rated if row["control"] == "steered"]
    table = effect_ratios(
        pd.DataFrame([row for row, _ in steered], columns=[*CONDITION, "rate"]), min_source_rate
    )
    drawn_of = {
        (row["source"], row["target"], row["step"], row["task"]): drawn for row, drawn in steered
    }
    intervals = []
    for row in table.itertuples():
        asr, tr = (drawn_of[row.source, row.target, row.step, task] for task in ("asr", "tr"))
        with np.errstate(divide="ignore", invalid="ignore"):
            intervals.append(percentile_interval(tr / asr))
    low, high = zip(*intervals, strict=True) if intervals else ((), ())
    return table.assign(ci_low=low, ci_high=high)


def mean_ratios(rated: list[tuple[dict, np.ndarray]], min_source_rate: float) -> pd.DataFrame:
    """The mean effect ratio over pairs at each step, with its interval.

    Returns
    -------
    DataFrame
        step; ``pairs``, over which the mean is: ``all``, or those of the ``paper``'s mean (without
        Spanish); the means of asr, tr and ratio; the interval; ``n_pairs`` that have a ratio
        (``ratios``). Without any there is no row. Resamples keep these pairs, and average those of them
        that have a ratio there: a mean with an infinite one is infinite.
    """
    pairs = ratios(rated, min_source_rate).dropna(subset="ratio")
    of_the_paper = pd.MultiIndex.from_frame(pairs[["source", "target"]]).isin(PAIRS_OF_THE_PAPER)
    chosen = {ALL_PAIRS: pairs, PAPERS_PAIRS: pairs[of_the_paper]}
    drawn_of = {
        tuple(row[name] for name in CONDITION[:4]): drawn
        for row, drawn in rated
        if row["control"] == "steered"
    }
    rows = []
    for step, name in product(sorted(pairs["step"].unique()), chosen):
        part = chosen[name][chosen[name]["step"] == step]
        if part.empty:
            continue
        keys = [(step, row.source, row.target) for row in part.itertuples()]
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = np.array([drawn_of["tr", *key] / drawn_of["asr", *key] for key in keys])
            low, high = percentile_interval(_known_means(drawn))
        row = {"step": step, "pairs": name} | part[["asr", "tr", "ratio"]].mean().to_dict()
        rows.append(row | {"ci_low": low, "ci_high": high, "n_pairs": len(part)})
    columns = ["step", "pairs", "asr", "tr", "ratio", "ci_low", "ci_high", "n_pairs"]
    return pd.DataFrame(rows, columns=columns)


def _known_means(drawn: np.ndarray) -> np.ndarray:
    """(n_pairs, n_resamples) -> (n_resamples,) means over the pairs with a value; NaN without any."""
    known = ~np.isnan(drawn)
    with np.errstate(invalid="ignore"):
        return np.where(known, drawn, 0).sum(0) / known.sum(0)


def probabilities(
    outcomes: pd.DataFrame, languages: dict[str, Language], draws: Draws
) -> pd.DataFrame:
    """Mean fastText probability of source and target language, with intervals (table 4)."""
    codes = list(dict.fromkeys([*outcomes["source"], *outcomes["target"]]))
    texts = outcomes["text"].unique()
    found = language_probabilities(texts, [languages[code].fasttext for code in codes])
    of_text = dict(zip(texts, found, strict=True))
    rows = []
    for key, part in _conditions(outcomes):
        row = dict(key)
        for name, code in (("p_source", key["source"]), ("p_target", key["target"])):
            # By itself: fastText may know one language of the pair and not the other.
            values = np.array([of_text[text][codes.index(code)] for text in part["text"]])
            known = np.isfinite(values)
            pair = np.array([values[known], np.ones(known.sum())]).T
            sums = draws.weighted_sums(part["utterance"].to_numpy()[known], pair)
            with np.errstate(invalid="ignore"):
                low, high = percentile_interval(sums[:, 0] / sums[:, 1])
            mean = values[known].mean() if known.any() else np.nan
            row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def quality(outcomes: pd.DataFrame, draws: Draws, degenerate_tokens: int) -> pd.DataFrame:
    """How far outputs moved from the unsteered ones, and how many collapsed.

    Returns
    -------
    DataFrame
        The columns of ``CONDITION``; ``cer``, the character error rate against the unsteered output
        (edits over its characters, may exceed 1), with its interval; ``degenerate_share``, outputs
        with an immediate repetition of at least ``degenerate_tokens`` tokens;
        ``unfinished_share``, outputs that reached the limit of tokens; ``n_texts``.
    """
    rows = []
    for key, part in _conditions(outcomes):
        edits = [
            Levenshtein.distance(*pair)
            for pair in zip(part["reference"], part["text"], strict=True)
        ]
        counts = np.array([edits, part["reference"].str.len()]).T.astype(float)
        sums = draws.weighted_sums(part["utterance"].to_numpy(), counts)
        with np.errstate(divide="ignore", invalid="ignore"):  # no rate without a character
            low, high = percentile_interval(
                np.where(sums[:, 1] > 0, sums[:, 0] / sums[:, 1], np.nan)
            )
        total = counts.sum(0)
        degenerate = (part["longest_repeat"] >= degenerate_tokens).to_numpy(dtype=float)
        pair = np.array([degenerate, np.ones(len(part))]).T
        collapsed = draws.weighted_sums(part["utterance"].to_numpy(), pair)
        with np.errstate(invalid="ignore"):
            shares = collapsed[:, 0] / collapsed[:, 1]
        degenerate_low, degenerate_high = percentile_interval(shares)
        rows.append(
            key
            | {
                "cer": total[0] / total[1] if total[1] else np.nan,
                "cer_low": low,
                "cer_high": high,
                "degenerate_share": degenerate.mean(),
                "degenerate_low": degenerate_low,
                "degenerate_high": degenerate_high,
                "unfinished_share": 1 - part["ended"].mean(),
                "n_texts": len(part),
            }
        )
    return pd.DataFrame(rows)
