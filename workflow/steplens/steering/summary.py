"""Stage ``summarize``: steering outcomes as CSVs; counts and recognition quality of the run."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from steplens.corpus.sentences import read_sentences
from steplens.files.atomic import write_csv
from steplens.languages.error_rate import character_edits
from steplens.languages.table import load_languages
from steplens.languages.writing_systems import Tokens
from steplens.statistics.bootstrap import SentenceDraws, percentile_interval
from steplens.steering import outcomes as measures
from steplens.store.conditions import read_condition
from steplens.store.groups import reading
from steplens.store.left_out import read_left_out
from steplens.store.reading import open_store
from steplens.tasks import TRANSLATIONS

log = logging.getLogger(__name__)

TOKEN_COUNTS = ("n_input_tokens", "n_unknown_input", "n_output_tokens", "n_unknown_output")


def summarize_steering(
    steered: dict[tuple[str, str, int], Path],
    unsteered: dict[tuple[str, str], Path],
    n_resamples: int,
    seed: int,
    min_source_rate: float,
    degenerate_tokens: int,
    outputs: Mapping[str, Path],
    left_out: Path | None = None,
    rate_tokens: Tokens = "script_runs",
) -> None:
    """Write control rates, effects, effect ratios, probabilities and quality, a CSV each.

    ``outputs`` are these tables by name, such as ``control_rates``; ``steered`` and ``unsteered`` as in
    ``outcomes.gather``. Outputs of sentences that ``left_out`` (``tables/speech_quality.csv``) leaves out do
    not count. ``rate_tokens`` says what counts as a token for the control rate (``control.control_rate``).
    """
    languages = load_languages()
    gathered = measures.gather(steered, unsteered)
    draws = measures.Draws(gathered, n_resamples, seed)
    outcomes = measures.without(gathered, read_left_out(left_out))
    rated = measures.rate_draws(outcomes, languages, draws, rate_tokens)
    tables = {
        "control_rates": measures.control_rates(rated),
        "effects": measures.effects(rated, languages),
        "effect_ratios": measures.ratios(rated, min_source_rate),
        "mean_effect_ratios": measures.mean_ratios(rated, min_source_rate),
        "language_probabilities": measures.probabilities(outcomes, languages, draws),
        "quality": measures.quality(outcomes, draws, degenerate_tokens),
    }
    for name, table in tables.items():
        write_csv(table, outputs[name])


def count_valid(
    stores: dict[tuple[str, str, int], Path], output: Path, left_out: Path | None = None
) -> None:
    """Write ``comparison/valid_counts.csv``: valid utterances by task, language and step (D3).

    ``n_left_out`` are those that ``tables/speech_quality.csv`` leaves out; ``n_valid`` is without them.
    """
    skipped = read_left_out(left_out)
    rows = []
    for (task, language, step), path in stores.items():
        store = open_store(path, task=task, language=language, step=step)
        out = np.isin(store["utterance"].to_numpy(), skipped.get(language, []))
        with reading(path):
            valid = store["valid"].to_numpy() & ~out
        rows.append(
            {
                "task": task, "language": language, "step": step, "n_utterances": len(valid),
                "n_left_out": int(out.sum()), "n_valid": int(valid.sum()),
            }
        )  # fmt: skip
    write_csv(pd.DataFrame(rows), output)


def score_decoding(
    corpora: dict[str, Path],
    decodings: dict[tuple[str, str], Path],
    folder: Path,
    splits: list[str],
    output_language: str,
    n_resamples: int,
    seed: int,
    output: Path,
    left_out: Path | None = None,
) -> None:
    """Write ``tables/recognition.csv``: exact match and character error rate, with intervals.

    Both on text without case and punctuation (``languages.error_rate.plain_text``). Translations are scored
    against the same sentence in the output language, where FLEURS has it. One draw of sentence ids serves
    all tasks and languages.

    Beside them, over all sentences but those that are left out: ``n_output_tokens`` generated and
    ``n_input_tokens`` read (empty for speech), and how many of each are the unknown token,
    ``n_unknown_output`` and ``n_unknown_input``.
    """
    skipped = read_left_out(left_out)
    target = read_sentences(folder, load_languages()[output_language], splits)
    translated = target.set_index("utterance")["text"]
    own = {
        language: read_condition(path, language=language).set_index("utterance")["text"]
        for language, path in corpora.items()
    }
    sentences = np.concatenate([texts.index for texts in own.values()])
    draws = SentenceDraws(sentences, n_resamples, seed)
    rows = []
    for (task, language), path in decodings.items():
        references = translated if task in TRANSLATIONS else own[language]
        table = read_condition(path, ["utterance"], task=task, language=language)
        table = table.set_index("utterance")
        table = table.drop(index=skipped.get(language, []), errors="ignore")
        decoded = table["text"]
        both = pd.DataFrame({"text": decoded, "reference": references.reindex(decoded.index)})
        both = both.dropna()
        edits, lengths = (
            np.array(
                [
                    character_edits(*pair)
                    for pair in zip(both["reference"], both["text"], strict=True)
                ],
                dtype=float,
            )
            .reshape(-1, 2)
            .T
        )
        # Per sentence: exact or not, edits, characters of the reference, one.
        values = np.array(
            [
                edits == 0,
                edits,
                lengths,
                np.ones(len(both)),
            ],
            dtype=float,
        ).T
        drawn = draws.of(both.index.to_numpy(dtype=int)) @ values
        total = values.sum(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            exact_low, exact_high = percentile_interval(drawn[:, 0] / drawn[:, 3])
            cer_low, cer_high = percentile_interval(drawn[:, 1] / drawn[:, 2])
            row = {
                "task": task, "language": language, "n": len(both),
                "exact_match": total[0] / total[3],
                "exact_match_low": exact_low, "exact_match_high": exact_high,
                "cer": total[1] / total[2], "cer_low": cer_low, "cer_high": cer_high,
            }  # fmt: skip
        rows.append(row | _token_counts(task, language, table))
    counts = dict.fromkeys(TOKEN_COUNTS, "Int64")
    write_csv(pd.DataFrame(rows).astype(counts), output)


def _token_counts(task: str, language: str, decoded: pd.DataFrame) -> dict[str, Any]:
    """Tokens that were read and written, and the unknown ones among them; a missing value where not known."""
    table = decoded.rename(columns={"n_tokens": "n_output_tokens"}).reindex(columns=TOKEN_COUNTS)
    counts = {name: table[name].sum(min_count=1) for name in TOKEN_COUNTS}
    for side in ("input", "output"):
        unknown = counts[f"n_unknown_{side}"]
        if not pd.isna(unknown) and unknown:
            log.warning("%s of %s: expected characters of the model's vocabulary, got %d unknown tokens of "
                        "%d in its %s",
                        task, language, unknown, counts[f"n_{side}_tokens"], side)  # fmt: skip
    return counts
