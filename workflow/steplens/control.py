"""Control rates (D10) and cross-modal effect ratios (D11): how much of the output changed its script."""

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from typing import get_args

import numpy as np
import pandas as pd
import regex

from steplens.languages.writing_systems import Tokens, letter_pattern, members, share_letters

# What may stand in a word and is no letter: combining marks (vowel signs, viramas, points, accents),
# joiners and invisible formatting; not the zero-width space, which parts Khmer and Burmese words.
_CARRIED = r"\p{M}\p{WB=Format}\u200c\u200d"

# Over which pairs a mean effect ratio is: all of the run, or those of the paper's mean (table 3).
ALL_PAIRS, PAPERS_PAIRS = "all", "paper"
_SCRIPTS_OF_THE_PAPER = (("deu", "fra"), ("cmn", "jpn"))
PAIRS_OF_THE_PAPER = {*product(*_SCRIPTS_OF_THE_PAPER), *product(*reversed(_SCRIPTS_OF_THE_PAPER))}


@lru_cache(maxsize=128)
def _token_pattern(script: str, tokens: Tokens) -> regex.Pattern:
    letter = letter_pattern(script).pattern
    own = members(script)
    # Unicode counts two more kinds of characters inside words to no script, or to punctuation: letters
    # that scripts share (the Arabic tatweel, the turned comma of Uzbek), and Armenian intonation signs
    # and the Hebrew geresh. Alone they are no tokens.
    shared = rf"[\p{{L}}&&\p{{Script=Common}}&&[{members(script, 'scx')}\p{{scx=Common}}]]"
    signs = rf"[\p{{Po}}&&\p{{WB=ALetter}}&&[{own}]]"
    repeat = "" if tokens == "characters" or share_letters(script, "CJK") else "+"
    return regex.compile(rf"(?:{letter}[{_CARRIED}{shared}{signs}]*){repeat}", regex.V1)


def count_script_tokens(text: str, script: str, tokens: Tokens = "script_runs") -> int:
    """Tokens of one script in a text (D10).

    A token is a run of letters of the script with the marks that they carry; one character for
    ``"CJK"`` (Han, Hiragana, Katakana). With ``"characters"`` it is one letter with its marks in every
    script (of Hangul, a syllable). Scripts are Unicode's; ``"Latin"``, ``"Cyrillic"``,
    ``"Devanagari"`` and so on, in any case. Composed and decomposed text count alike.

    Notes
    -----
    Thai, Lao, Khmer and Burmese are written without spaces between words. A run there is what
    stands between spaces, a phrase or a sentence, and weighs as much as one word of another script.
    """
    _require_tokens(tokens)
    if tokens == "characters":  # the letters of a decomposed Hangul syllable are one
        text = unicodedata.normalize("NFC", text)
    return sum(1 for _ in _token_pattern(script, tokens).finditer(text))


def _require_tokens(tokens: str) -> None:
    if tokens not in get_args(Tokens):
        raise ValueError(f"tokens: expected {' or '.join(get_args(Tokens))}, got {tokens!r}")


def control_rate(
    texts: Iterable[str],
    target_script: str,
    other_script: str,
    tokens: Tokens = "script_runs",
) -> float:
    """Share of tokens in the target's script among the tokens in either script (D10).

    Parameters
    ----------
    texts : iterable of str
        All tokens of all texts are pooled.
    target_script, other_script : str
        Unicode scripts, or ``"CJK"``.
    tokens : {"script_runs", "characters"}
        What counts as one: a run of letters, and in Han and kana a character; or a letter with its
        marks in every script, so that a word of an alphabet weighs as many as it has.

    Returns
    -------
    float
        In [0, 1]; NaN with no token in either script.

    Raises
    ------
    ValueError
        The same script twice, two that share letters (``"CJK"`` and ``"Han"``), or an unknown one;
        unknown tokens; one text in place of a list.

    Examples
    --------
    >>> control_rate(["das ist 本"], "CJK", "Latin")
    0.3333333333333333
    >>> control_rate(["das ist 本"], "CJK", "Latin", tokens="characters")
    0.14285714285714285
    """
    counts = script_counts(texts, target_script, other_script, tokens)
    return float(pooled_rate(counts))


def script_counts(
    texts: Iterable[str],
    target_script: str,
    other_script: str,
    tokens: Tokens = "script_runs",
) -> np.ndarray:
    """Tokens in (target, other) script of each text: (n_texts, 2) int64."""
    if isinstance(texts, str):  # it would be taken letter by letter
        raise ValueError("texts: expected a list of texts, got one text; write [text]")
    _require_tokens(tokens)
    if target_script == other_script:
        raise ValueError(f"scripts: expected two different scripts, got {target_script!r} twice")
    if share_letters(target_script, other_script):
        raise ValueError(
            "scripts: expected two scripts without a letter in common, "
            f"got {target_script!r} and {other_script!r}"
        )
    counts = [
        tuple(count_script_tokens(text, script, tokens) for script in (target_script, other_script))
        for text in texts
    ]
    return np.array(counts, dtype=np.int64).reshape(-1, 2)


def pooled_rate(counts: np.ndarray) -> np.ndarray:
    """Control rate of pooled counts: (..., n_texts, 2) -> (...), NaN where nothing counts."""
    target, total = counts[..., 0].sum(-1), counts.sum((-1, -2))
    return np.divide(target, total, out=np.full(np.shape(total), np.nan), where=total > 0)


def effect_ratios(rates: pd.DataFrame, min_source_rate: float = 0.10) -> pd.DataFrame:
    """Cross-modal effect ratios: control rate in tr over control rate in asr (D11).

    Parameters
    ----------
    rates : DataFrame
        One row a (source, target, step, task) with its ``rate``; tasks other than asr and tr are
        left aside.
    min_source_rate : float
        Pairs whose asr rate is lower are left out: a ratio to nearly nothing says nothing.

    Returns
    -------
    DataFrame
        source, target, step, asr, tr, ratio; sorted by step, source and target as they first come.

    Raises
    ------
    ValueError
        A column is missing or a condition stands twice.
    """
    keys = ["source", "target", "step"]
    missing = [name for name in [*keys, "task", "rate"] if name not in rates.columns]
    if missing:
        raise ValueError(
            f"rates: expected the columns source, target, step, task, rate; no {missing}"
        )
    chosen = rates[rates["task"].isin(["asr", "tr"])]
    if chosen.duplicated([*keys, "task"]).any():
        row = chosen[chosen.duplicated([*keys, "task"])].iloc[0]
        raise ValueError(
            f"rates: expected one row a condition, got two for {dict(row[[*keys, 'task']])}"
        )
    order = chosen[keys].drop_duplicates()
    wide = (
        chosen.pivot(index=keys, columns="task", values="rate")
        .reindex(columns=["asr", "tr"])
        .reindex(pd.MultiIndex.from_frame(order))
        .reset_index()
    )
    wide = wide[(wide["asr"] >= min_source_rate) & wide["tr"].notna()]
    wide = wide.assign(ratio=wide["tr"] / wide["asr"]).sort_values("step", kind="stable")
    return wide[[*keys, "asr", "tr", "ratio"]].reset_index(drop=True).rename_axis(columns=None)
