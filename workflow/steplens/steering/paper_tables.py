"""The paper's tables 1 to 4 out of the steering results, in the form in which people read them."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from steplens.control import ALL_PAIRS
from steplens.files.atomic import read_csv, write_csv
from steplens.steering.kept_outputs import TRIAL
from steplens.steering.outcomes import CONTROLS
from steplens.store.conditions import read_condition

PAIR = ["task", "source", "target", "step"]
N_EXAMPLES = 2  # a pair and step


def control_rate_table(rates: pd.DataFrame, ties: pd.DataFrame) -> pd.DataFrame:
    """Table 1: a row per (task, source, target, step), the controls and their intervals side by side.

    Parameters
    ----------
    rates : DataFrame
        ``steering/control_rates.csv``.
    ties : DataFrame
        ``steering/ties.csv``. Of the target's neurons at both ends together, ``decided_by_tie`` says how
        many a tie decided, and ``tied`` among how many.
    """
    wide = _wide(rates, ["rate", "ci_low", "ci_high", "n_without_script"], {"rate": ""})
    counts = ties.groupby(["language", "step"])[["decided_by_tie", "tied"]].sum()
    return wide.join(counts, on=["target", "step"])


def probability_table(probabilities: pd.DataFrame) -> pd.DataFrame:
    """Table 4: fastText probability of source and target language, controls side by side."""
    values = [name for name in probabilities.columns if name.startswith("p_")]
    return _wide(probabilities, values, {})


def _wide(frame: pd.DataFrame, values: list[str], rename: dict[str, str]) -> pd.DataFrame:
    rows = frame.drop_duplicates(PAIR)[PAIR].reset_index(drop=True)
    for control in CONTROLS:
        part = frame[frame["control"] == control].set_index(PAIR)[values]
        part.columns = [
            "_".join(filter(None, (control, rename.get(name, name)))) for name in part.columns
        ]
        rows = rows.join(part, on=PAIR)
    return rows


def effect_ratio_table(ratios: pd.DataFrame, means: pd.DataFrame) -> pd.DataFrame:
    """Table 3: effect ratios of every pair, and their mean at each step in a row ``mean``."""
    means = means[means["pairs"] == ALL_PAIRS].assign(source="mean", target="mean")
    return pd.concat([ratios, means])[list(ratios.columns)].reset_index(drop=True)


def example_table(
    steered: dict[tuple[str, str, int], Path],
    unsteered: dict[tuple[str, str], Path],
    corpora: dict[str, Path],
    pairs: list[tuple[str, str]],
) -> pd.DataFrame:
    """Table 2: what was said, what the model wrote, and what it wrote when steered.

    The first sentences of each source language, not chosen by outcome.

    Parameters
    ----------
    steered : dict
        (task, source, step) to ``steering/texts/…``.
    unsteered : dict
        (task, source) to ``decoding/…``.
    corpora : dict
        Source to ``corpus/….parquet``.
    pairs : list of (source, target)
    """
    texts = {}
    for (task, source, step), path in steered.items():
        frame = read_condition(path, TRIAL, task=task, source=source, step=step)
        frame = frame[frame["control"] == "steered"]
        for target, part in frame.groupby("target", sort=False):
            texts[task, source, target, step] = part.set_index("utterance")["text"]
    plain = {
        (task, source): read_condition(path, task=task, language=source).set_index("utterance")[
            "text"
        ]
        for (task, source), path in unsteered.items()
    }
    references = {
        source: read_condition(path, language=source).set_index("utterance")["text"]
        for source, path in corpora.items()
    }
    rows = []
    for source, target in pairs:
        for step in sorted({key[3] for key in texts}):
            asr, tr = (texts[task, source, target, step] for task in ("asr", "tr"))
            for utterance in asr.index[:N_EXAMPLES]:
                rows.append(
                    {
                        "source": source, "target": target, "step": step, "utterance": utterance,
                        "reference": references[source][utterance],
                        "unsteered": plain["asr", source][utterance],
                        "steered_asr": asr[utterance],
                        "steered_tr": tr[utterance],
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def write_tables(
    summaries: Mapping[str, Path],
    steered: dict[tuple[str, str, int], Path],
    unsteered: dict[tuple[str, str], Path],
    corpora: dict[str, Path],
    pairs: list[tuple[str, str]],
    outputs: Mapping[str, Path],
) -> None:
    """Write ``table1`` to ``table4`` from the summaries of steering, by name, and the texts."""
    rates, ties = read_csv(summaries["control_rates"]), read_csv(summaries["ties"])
    write_csv(control_rate_table(rates, ties), outputs["table1"])
    write_csv(example_table(steered, unsteered, corpora, pairs), outputs["table2"])
    ratios, means = (read_csv(summaries[one]) for one in ("effect_ratios", "mean_effect_ratios"))
    write_csv(effect_ratio_table(ratios, means), outputs["table3"])
    probabilities = read_csv(summaries["language_probabilities"])
    write_csv(probability_table(probabilities), outputs["table4"])
