"""What pairs of views say together: means by kind of pair, the language gap and the modality gap.

Intervals are bootstrap percentiles over languages, with sentences as they are. Pairs share languages and are
not independent, so that languages are drawn and not pairs; a sentence drawn twice would stand twice in both
views, which by itself makes them more alike (retrieval would find its double), so that sentences are not.
"""

import numpy as np
import pandas as pd

from steplens.statistics.bootstrap import draw_counts, percentile_interval

# Kinds of pairs, and what is derived from them.
GROUPS = (
    "cross_modal_same_language",
    "cross_lingual_speech",
    "cross_lingual_text",
    "cross_lingual_cross_modal",
)
GAPS = ("modality_gap", "language_gap", "modality_minus_language")
_KEYS = ["module", "task", "step", "by", "bin", "layer", "measure"]
_ENDS = ["language_1", "modality_1", "language_2", "modality_2"]
_NUMBERS = ("value", "baseline", "corrected")


def gaps_of(pairs: pd.DataFrame, n_resamples: int, seed: int) -> pd.DataFrame:
    """Means over pairs and gaps, at every layer and by every measure.

    Parameters
    ----------
    pairs : DataFrame
        As ``similarity`` writes it.
    n_resamples, seed : int

    Returns
    -------
    DataFrame
        The keys of a condition and layer, ``measure``, ``group`` (``GROUPS``, then ``GAPS``), ``value``,
        ``baseline`` and ``corrected`` with the ends of a 95 % interval over languages (NaN with fewer
        than three), ``n_languages``, ``n_pairs`` that have a value, and ``n_fewest``, the sentences of the
        pair with fewest.

    Notes
    -----
    The modality gap is 1 minus the mean over languages of speech against text of one language; the
    language gap is 1 minus the mean, over both modalities, of pairs of languages within one modality.
    """
    languages = list(dict.fromkeys(pairs["language_1"]))
    counts = np.ones((1 + n_resamples, len(languages)))
    counts[1:] = draw_counts(len(languages), n_resamples, seed, "similarity of languages")
    rows = []
    same_pairs, kinds = None, []
    for key, part in pairs.groupby(_KEYS, sort=False, dropna=False):
        ends = part[_ENDS].to_numpy()
        if same_pairs is None or not np.array_equal(ends, same_pairs):  # once, as a rule
            same_pairs, kinds = ends, _kinds(ends, languages, counts)
        drawn = {}
        for name in _NUMBERS:
            values = part[name].to_numpy()
            means = [_weighted_means(values[kind], weights) for kind, weights in kinds]
            drawn[name] = [*means, *_gaps(*means[:3])]
        known = np.isfinite(part["value"].to_numpy())
        n_pairs = [int(known[kind].sum()) for kind, _ in kinds]
        n_pairs += [n_pairs[0], n_pairs[1] + n_pairs[2], sum(n_pairs[:3])]
        for number, group in enumerate((*GROUPS, *GAPS)):
            row = dict(zip(_KEYS, key, strict=True)) | {"group": group}
            for name in _NUMBERS:
                draws = drawn[name][number]
                row[name] = draws[0]
                if name != "baseline":
                    row[f"{name}_low"], row[f"{name}_high"] = _interval(draws[1:], len(languages))
            row |= {"n_languages": len(languages), "n_pairs": n_pairs[number]}
            rows.append(row | {"n_fewest": int(part["n"].min())})
    return pd.DataFrame(rows)


def _kinds(ends: np.ndarray, languages: list[str], counts: np.ndarray) -> list[tuple]:
    """Which rows are of each of ``GROUPS``, and how much each weighs in each draw.

    A pair weighs as often as its languages are drawn together: the product of their counts; a language in
    both modalities as often as it is drawn.
    """
    place = {language: number for number, language in enumerate(languages)}
    one, other = (np.array([place[language] for language in ends[:, side]]) for side in (0, 2))
    same_language, same_modality = one == other, ends[:, 1] == ends[:, 3]
    speech = ends[:, 1] == "speech"
    chosen = [
        same_language & ~same_modality,
        ~same_language & same_modality & speech,
        ~same_language & same_modality & ~speech,
        ~same_language & ~same_modality,
    ]
    weights = [counts[:, one[kind]] for kind in chosen]
    weights[1:] = [
        part * counts[:, other[kind]] for part, kind in zip(weights, chosen, strict=True)
    ][1:]
    return list(zip(chosen, weights, strict=True))


def _weighted_means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean over what is finite, in each draw: (n,), (n_draws, n) -> (n_draws,); NaN without any."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return weights @ np.where(known, values, 0) / (weights @ known)


def _gaps(same_language, speech, text) -> list[np.ndarray]:
    modality = 1 - same_language
    language = 1 - (speech + text) / 2
    return [modality, language, modality - language]


def _interval(draws: np.ndarray, n_languages: int) -> tuple[float, float]:
    return percentile_interval(draws) if n_languages >= 3 else (np.nan, np.nan)
