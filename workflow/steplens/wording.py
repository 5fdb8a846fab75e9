"""How shares, tasks and languages read in figures and in the report."""

from collections.abc import Iterable

import pandas as pd

TASK_NAMES = {
    "s2t": "speech translation (s2t)",
    "t2t": "text translation (t2t)",
    "asr": "speech recognition (asr)",
    "tr": "text repetition (tr)",
}


def in_order(values: Iterable) -> list:
    """The distinct values, in order of first appearance."""
    return list(dict.fromkeys(values))


def full_name(code: str, names: dict[str, str]) -> str:
    """``German (deu)``, or the code alone where it has no name."""
    return f"{names[code]} ({code})" if code in names else code


def percent(share: float, unit: str = " %") -> str:
    """A share of one in percent with one decimal; a dash for a missing value, ∞ for an infinite one."""
    return "–" if pd.isna(share) else infinity(f"{100 * share:.1f}{unit}")


def infinity(text: str) -> str:
    """A formatted number with the sign of infinity where Python writes ``inf``."""
    return text.replace("inf", "∞")
