"""Is the decoder more concentrated on what was heard than on what was read? Paired tests, by sentence.

Of a sentence that is valid in both, the Gini coefficient under a task in speech minus that under its twin in
text. The test flips the signs of these differences: if modality made no difference, both would be equally
likely. Speech and text encoder have neurons of their own, so that nothing is paired between them.
"""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from steplens.studies.inequality.groups import (
    STEP_DEPENDENT,
    Measured,
    Resampler,
    intervals,
    over_languages,
)
from steplens.tasks import ALL, TEXT_TWIN

EXACT_UP_TO = 16  # sentences: all 65,536 patterns of signs
N_FLIPS = 99_999
_FLIPS_AT_A_TIME = 4096
_ROUNDING = 1e-12  # of the sum of magnitudes: sums of the same terms in another order are equal


class Differences(NamedTuple):
    """Speech minus text of one language at one step."""

    sentences: np.ndarray  # (n_pairs,) ids
    values: np.ndarray  # (n_pairs, n_columns)
    speech: np.ndarray  # (n_pairs, n_columns)
    text: np.ndarray


def paired_table(
    measured: Sequence[Measured], languages: Sequence[str], resampler: Resampler, seed: int
) -> pd.DataFrame:
    """``paired.csv``: speech against text of the same sentence.

    Parameters
    ----------
    measured : sequence of Measured
    languages : sequence of str
    resampler : Resampler
        Over the sentences of all languages.
    seed : int
        Of the signs.

    Returns
    -------
    DataFrame
        A row a pair of tasks, step, language and layer: ``n_pairs`` sentences; ``gini_speech``,
        ``gini_text`` and ``difference``, their means over these, with the interval ``ci_low``,
        ``ci_high``; ``p`` of the sign-flip test, two-sided; ``p_holm``, corrected within its ``family``
        (``families``). Language ``all`` is the mean over languages, its test flips whole sentences.
        Layer ``all`` is the module, ``step-dependent`` the same without step-invariant submodules.

    Raises
    ------
    ValueError
        The two stores of a language have no sentence in common.
    """
    stores = {(one.task, one.step, one.language): one for one in measured}
    found: dict[tuple[str, str, int], dict[str, Differences]] = {}
    for (task, step, language), speech in stores.items():
        twin = TEXT_TWIN.get(task, "")
        text = stores.get((twin, step, language))
        if text is not None:
            of_step = found.setdefault((task, twin, step), {})
            of_step[language] = _differences(speech, text)
    order = {pair: place for place, pair in enumerate(TEXT_TWIN.items())}
    found = dict(sorted(found.items(), key=lambda item: (order[item[0][:2]], item[0][2])))
    groups = {language: [language] for language in languages} | {ALL: list(languages)}
    decoder = [one for one in measured if one.module == "decoder"]
    rows = [
        row
        for group, members in groups.items()
        for row in _rows(group, members, found, decoder, resampler, seed)
    ]
    columns = [
        "speech_task", "text_task", "step", "language", "layer", "n_pairs", "gini_speech", "gini_text",
        "difference", "ci_low", "ci_high", "p",
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    table["family"] = families(table)
    table["p_holm"] = table.groupby("family")["p"].transform(holm)
    return table


def _differences(speech: Measured, text: Measured) -> Differences:
    if not len(np.intersect1d(speech.stored, text.stored)):
        raise ValueError(
            f"{text.path}: sentences: expected those of {speech.path}, got none of them: nothing can be "
            "paired; delete both tables, and the stores behind them, and run the workflow again"
        )
    sentences, one, other = np.intersect1d(
        speech.sentences, text.sentences, assume_unique=True, return_indices=True
    )
    values = speech.gini[one] - text.gini[other]
    known = np.isfinite(values)  # both sides, so that the means and their difference agree
    sides = (np.where(known, side, np.nan) for side in (speech.gini[one], text.gini[other]))
    return Differences(sentences, values, *sides)


def _rows(
    group: str,
    members: list[str],
    found: dict[tuple[str, str, int], dict[str, Differences]],
    decoder: list[Measured],
    resampler: Resampler,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Rows of a language, or of all of them, without what is corrected over rows."""
    stored = [one.stored for one in decoder if one.language in members]
    if not stored or not found:
        return
    sentences = np.unique(np.concatenate(stored))
    stream = members[0] if group != ALL else "sentences"
    generator = np.random.default_rng([seed, zlib.crc32(f"signs of {stream}".encode())])
    own = {
        condition: [of_step[language] for language in members if language in of_step]
        for condition, of_step in found.items()
    }
    own = {condition: differences for condition, differences in own.items() if differences}
    summands = [_summands(differences, sentences) for differences in own.values()]
    # The same flips for all conditions: one product of matrices.
    tests = np.split(sign_flip_p(np.concatenate(summands, axis=1), generator), len(summands))
    layers = decoder[0].layers
    for (condition, differences), p in zip(own.items(), tests, strict=True):
        estimate, draws, n = over_languages(
            [(one.values, one.sentences) for one in differences], resampler
        )
        sides = [
            over_languages([(one[place], one.sentences) for one in differences], resampler)[0]
            for place in (Differences._fields.index(name) for name in ("speech", "text"))
        ]
        ends = intervals(draws, n)
        for column, layer in enumerate(layers):
            yield {
                "speech_task": condition[0], "text_task": condition[1], "step": condition[2],
                "language": group, "layer": layer, "n_pairs": n[column],
                "gini_speech": sides[0][column], "gini_text": sides[1][column],
                "difference": estimate[column],
                "ci_low": ends[column, 0], "ci_high": ends[column, 1],
                "p": p[column] if n[column] else np.nan,
            }  # fmt: skip


def _summands(differences: Sequence[Differences], sentences: np.ndarray) -> np.ndarray:
    """What each sentence adds to the mean over languages: (n_sentences, n_columns)."""
    kept = [one for one in differences if len(one.sentences)]
    total = np.zeros((len(sentences), differences[0].values.shape[1]))
    for one in kept:
        known = np.isfinite(one.values)
        share = np.where(known, one.values, 0) / np.maximum(known.sum(axis=0), 1)
        total[np.searchsorted(sentences, one.sentences)] += share / len(kept)
    return total


def sign_flip_p(
    differences: np.ndarray, generator: np.random.Generator, n_flips: int = N_FLIPS
) -> np.ndarray:
    """Two-sided p of the hypothesis that differences are as likely positive as negative.

    Parameters
    ----------
    differences : (n_sentences, n_columns) array
        0 where a sentence has none: its sign changes nothing.
    generator : Generator
    n_flips : int
        Random patterns of signs where not all are taken.

    Returns
    -------
    (n_columns,) float64 array
        Share of patterns of signs whose sum is at least as far from 0 as the observed one. Of up to 16
        sentences all 2^n patterns; of more, (1 + patterns that reach it) / (1 + n_flips).
    """
    n = len(differences)
    limit = np.abs(differences.sum(axis=0)) - _ROUNDING * np.abs(differences).sum(axis=0)
    exact = n <= EXACT_UP_TO
    n_patterns = 2**n if exact else n_flips
    reached = np.zeros(differences.shape[1])
    for start in range(0, n_patterns, _FLIPS_AT_A_TIME):
        numbers = np.arange(start, min(start + _FLIPS_AT_A_TIME, n_patterns))
        if exact:
            flipped = numbers[:, None] >> np.arange(n) & 1
        else:
            flipped = generator.integers(0, 2, (len(numbers), n), dtype=np.int8)
        sums = (1.0 - 2.0 * flipped) @ differences
        reached += (np.abs(sums) >= limit).sum(axis=0)
    return reached / n_patterns if exact else (1 + reached) / (1 + n_patterns)


def families(table: pd.DataFrame) -> pd.Series:
    """Which tests are corrected together; each pair of tasks by itself.

    Of the module: all languages at all steps; the means over languages at all steps by themselves; the
    same of its step-dependent neurons. Of single layers: all languages at one step; the means over
    languages by themselves.
    """
    names = []
    wholes = {ALL: "module", STEP_DEPENDENT: "step-dependent neurons"}
    for row in table.itertuples():
        of = wholes.get(row.layer, f"layers at step {row.step}")
        over = "mean over languages" if row.language == ALL else "languages"
        names.append(f"{row.speech_task} and {row.text_task}: {of}, {over}")
    return pd.Series(names, index=table.index, dtype=object)


def holm(p: pd.Series) -> pd.Series:
    """Holm's correction of the p of one family; what is missing is no test.

    References
    ----------
    Holm, "A simple sequentially rejective multiple test procedure" (1979).
    """
    ordered = p.dropna().sort_values()
    factors = np.arange(len(ordered), 0, -1)
    corrected = np.minimum(np.maximum.accumulate(ordered.to_numpy() * factors), 1)
    return pd.Series(corrected, index=ordered.index).reindex(p.index)
