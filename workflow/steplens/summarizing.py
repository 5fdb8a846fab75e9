"""Stage ``summarize``: steering outcomes as CSVs; counts and recognition quality of the run."""

from pathlib import Path

import numpy as np
import pandas as pd
from rapidfuzz.distance import Levenshtein

from . import outcomes as measures
from .atomic import write_csv
from .corpus import read_sentences
from .languages import load_languages
from .store import open_store
from .tasks import TRANSLATIONS


def summarize_steering(
    steered: list[Path],
    unsteered: dict[tuple[str, str], Path],
    n_resamples: int,
    seed: int,
    min_source_rate: float,
    degenerate_tokens: int,
    folder: Path,
) -> None:
    """Write ``steering/*.csv``: control rates, effects, effect ratios, probabilities, quality."""
    languages = load_languages()
    outcomes = measures.gather(steered, unsteered)
    draws = measures.Draws(outcomes, n_resamples, seed)
    rated = measures.rate_draws(outcomes, languages, draws)
    tables = {
        "control_rates": measures.control_rates(rated),
        "effects": measures.effects(rated, languages),
        "effect_ratios": measures.ratios(rated, min_source_rate),
        "language_probabilities": measures.probabilities(outcomes, languages, draws),
        "quality": measures.quality(outcomes, draws, degenerate_tokens),
    }
    for name, table in tables.items():
        write_csv(table, folder / f"{name}.csv")


def count_valid(stores: dict[tuple[str, str, int], Path], output: Path) -> None:
    """Write ``comparison/valid_counts.csv``: valid utterances by task, language and step (D3)."""
    rows = []
    for (task, language, step), path in stores.items():
        valid = open_store(path)["valid"].to_numpy()
        rows.append(
            {
                "task": task, "language": language, "step": step,
                "n_utterances": len(valid), "n_valid": int(valid.sum()),
            }
        )  # fmt: skip
    write_csv(pd.DataFrame(rows), output)


def score_decoding(
    corpora: dict[str, Path],
    decodings: dict[tuple[str, str], Path],
    folder: Path,
    splits: list[str],
    output_language: str,
    output: Path,
) -> None:
    """Write ``tables/recognition.csv``: exact match and character error rate of every task.

    Translations are scored against the same sentence in the output language, where FLEURS has it.
    """
    target = read_sentences(folder, load_languages()[output_language], splits)
    translated = target.set_index("utterance")["text"]
    rows = []
    for (task, language), path in decodings.items():
        own = pd.read_parquet(corpora[language]).set_index("utterance")["text"]
        references = translated if task in TRANSLATIONS else own
        decoded = pd.read_parquet(path).set_index("utterance")["text"]
        both = pd.DataFrame({"text": decoded, "reference": references.reindex(decoded.index)})
        both = both.dropna()
        edits = [
            Levenshtein.distance(r, t) for r, t in zip(both["reference"], both["text"], strict=True)
        ]
        characters = both["reference"].str.len().sum()
        rows.append(
            {
                "task": task,
                "language": language,
                "n": len(both),
                "exact_match": (both["text"] == both["reference"]).mean() if len(both) else np.nan,
                "cer": sum(edits) / characters if characters else np.nan,
            }
        )
    write_csv(pd.DataFrame(rows), output)
