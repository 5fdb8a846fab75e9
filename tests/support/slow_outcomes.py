"""Made-up steered outputs and their control rates, the slow way."""

import numpy as np
import pandas as pd

from steplens.control import control_rate
from steplens.languages.table import load_languages
from steplens.steering import outcomes as measures

LANGUAGES = load_languages()


SCRIPTS = {"deu": "Latin", "fra": "Latin", "jpn": "CJK"}


N_RESAMPLES, SEED = 60, 3


SENTENCES = {"deu": [4, 7, 9, 12, 20, 31], "fra": [4, 9, 12, 50], "jpn": [7, 9, 31]}


WORDS = {"Latin": ["ja", "das ist", "nein"], "CJK": ["本", "日本語", "行く"]}


def made_up(seed=1):
    """Outcomes of every pair, task, step and control; random in two seeds, some without a token."""
    generator = np.random.default_rng(seed)
    # The more steered, the more of the target's script.
    shares = {"unsteered": 0.05, "random": 0.15, "other_language": 0.3, "steered": 0.7}
    rows = []
    for task, step, source, target in [
        (task, step, source, target)
        for task in ("asr", "tr") for step in (6, 1)
        for source in SENTENCES for target in SENTENCES if source != target
    ]:  # fmt: skip
        for control, share in shares.items():
            for number in (0, 1) if control == "random" else (0,):
                for utterance in SENTENCES[source]:
                    words = [
                        generator.choice(WORDS[SCRIPTS[target if hit else source]])
                        for hit in generator.random(generator.integers(0, 6)) < share
                    ]
                    reference = " ".join(generator.choice(WORDS[SCRIPTS[source]], 3))
                    rows.append(
                        (task, step, source, target, control, number, utterance,
                         bool(generator.random() < 0.8), int(generator.integers(0, 20)),
                         " ".join(words), reference)
                    )  # fmt: skip
    columns = [*measures.CONDITION, "seed", "utterance", "ended", "longest_repeat", "text"]
    return pd.DataFrame(rows, columns=[*columns, "reference"])


OUTCOMES = made_up()


def condition(task, step, source, target, control):
    """The outcomes of one condition."""
    wanted = dict(zip(measures.CONDITION, (task, step, source, target, control), strict=True))
    return OUTCOMES[(OUTCOMES[list(wanted)] == pd.Series(wanted)).all(axis=1)]


def slow_rate(part):
    if part.empty:
        return np.nan
    source, target = part[["source", "target"]].iloc[0]
    return control_rate(part["text"], SCRIPTS[target], SCRIPTS[source])
