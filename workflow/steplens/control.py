"""Control rates (D10) and cross-modal effect ratios (D11): how much of the output changed its script."""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import pandas as pd
import regex

# Japanese mixes three scripts and Chinese uses one of them: one class, counted by character.
CJK_SCRIPTS = ("Han", "Hiragana", "Katakana")
_BY_CHARACTER = frozenset({"CJK", *CJK_SCRIPTS})


@lru_cache(maxsize=64)
def _token_pattern(script: str) -> regex.Pattern:
    if script == "CJK":
        members = "".join(rf"\p{{Script={name}}}" for name in CJK_SCRIPTS)
    else:
        members = rf"\p{{Script={script}}}"
    repeat = "" if script in _BY_CHARACTER else "+"
    try:
        if not script.replace("_", "").isalpha():  # regex takes \p{Script=} for something
            raise regex.error("no name of a script")
        # Combining marks (script Inherited) belong to the letter before them; letters only, so that
        # neither digits nor punctuation of a script count.
        return regex.compile(rf"(?:[[{members}]&&\p{{L}}]\p{{M}}*){repeat}", regex.V1)
    except regex.error as error:
        raise ValueError(
            f"script: expected a Unicode script such as 'Latin', 'Cyrillic' or 'CJK', got {script!r}"
        ) from error


def count_script_tokens(text: str, script: str) -> int:
    """Tokens of one script in a text (D10).

    A token is a run of letters of the script; one character for ``"CJK"`` (Han, Hiragana,
    Katakana). Scripts are Unicode's; ``"Latin"``, ``"Cyrillic"``, ``"Devanagari"`` and so on.
    """
    return sum(1 for _ in _token_pattern(script).finditer(text))


def control_rate(texts: Iterable[str], target_script: str, other_script: str) -> float:
    """Share of tokens in the target's script among the tokens in either script (D10).

    Parameters
    ----------
    texts : iterable of str
        All tokens of all texts are pooled.
    target_script, other_script : str
        Unicode scripts, or ``"CJK"``.

    Returns
    -------
    float
        In [0, 1]; NaN with no token in either script.

    Raises
    ------
    ValueError
        The same script twice, or an unknown script.

    Examples
    --------
    >>> control_rate(["das ist 本"], "CJK", "Latin")
    0.3333333333333333
    """
    counts = script_counts(texts, target_script, other_script)
    return float(pooled_rate(counts))


def script_counts(texts: Iterable[str], target_script: str, other_script: str) -> np.ndarray:
    """Tokens in (target, other) script of each text: (n_texts, 2) int64."""
    if target_script == other_script:
        raise ValueError(f"scripts: expected two different scripts, got {target_script!r} twice")
    counts = [
        (count_script_tokens(text, target_script), count_script_tokens(text, other_script))
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
