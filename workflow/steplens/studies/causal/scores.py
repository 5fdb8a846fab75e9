"""Scores of output texts, from sums over sentences, so that thousands of resamples cost little.

Every measure is a function of the sum, over sentences, of a few numbers: edits and characters, n-grams
that match and that there are, texts that are in a language and texts. Those of sacrebleu's metrics come
from sacrebleu, sentence by sentence; the formulas from sums to a score are its own, over many sums at
once, and equal ``corpus_score`` (a test holds that).
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

from steplens.languages.error_rate import character_edits, plain_text
from steplens.languages.identification import language_probabilities
from steplens.languages.table import load_languages

_N_GRAMS = 4
_CHRF_BETA = 2


@cache
def _metrics() -> tuple[BLEU, CHRF]:
    return BLEU(), CHRF()  # 13a tokens, up to 4-grams, smoothing exp; characters up to 6-grams


def edit_sums(texts: Sequence[str], references: Sequence[str | None]) -> np.ndarray:
    """(n_texts, 2): edits and characters of the reference (``languages/error_rate.py``); else zeros."""
    return np.array(
        [
            (0, 0) if reference is None else character_edits(reference, text)
            for text, reference in zip(texts, references, strict=True)
        ],
        dtype=np.float64,
    ).reshape(-1, 2)


def chrf_sums(texts: Sequence[str], references: Sequence[str | None]) -> np.ndarray:
    """(n_texts, 18): n-grams of text, of reference and of both, for n = 1 to 6, on plain text."""
    return _sums(_metrics()[1], 18, texts, references)


def bleu_sums(texts: Sequence[str], references: Sequence[str | None]) -> np.ndarray:
    """(n_texts, 10): tokens of text and of reference, n-grams of both, n-grams of text (n = 1 to 4)."""
    return _sums(_metrics()[0], 10, texts, references)


def _sums(metric, width: int, texts, references) -> np.ndarray:
    found = np.zeros((len(texts), width))
    known = [number for number, one in enumerate(references) if one is not None]
    if known:
        # No public call gives these by sentence; sacrebleu's own bootstrap starts from them.
        found[known] = metric._extract_corpus_statistics(
            [plain_text(texts[number]) for number in known],
            [[plain_text(references[number]) for number in known]],
        )
    return found


def language_sums(texts: Sequence[str], expected: str) -> tuple[np.ndarray, np.ndarray]:
    """Whether texts are in the expected language, by fastText.

    Parameters
    ----------
    texts : sequence of str
    expected : str
        A code of ``resources/languages.tsv``.

    Returns
    -------
    detected : (n_texts, 2) array
        1 where that language is the likeliest of the table's, else 0, also for a text without a
        letter; and 1.
    probability : (n_texts, 2) array
        Its probability, and 1; both 0 for a text without a letter. NaN throughout, in both, where
        fastText does not know the language.
    """
    known = load_languages()
    own = known[expected].fasttext
    unknown = np.full((len(texts), 2), np.nan)
    if not own:
        return unknown, unknown
    labels = sorted({one.fasttext for one in known.values() if one.fasttext})
    different = list(dict.fromkeys(texts))
    found = language_probabilities(different, labels)
    row = {text: found[number] for number, text in enumerate(different)}
    values = np.array([row[text] for text in texts]).reshape(-1, len(labels))
    written = np.isfinite(values[:, 0])
    column = labels.index(own)
    likeliest = np.nan_to_num(values).argmax(1) == column
    detected = np.array([likeliest & written, np.ones(len(texts))]).T
    probability = np.array([np.where(written, values[:, column], 0.0), written]).T
    return detected.astype(np.float64), probability.astype(np.float64)


def quotient(sums: np.ndarray) -> np.ndarray:
    """First over second of the last axis; NaN where the second is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sums[..., 1] > 0, sums[..., 0] / sums[..., 1], np.nan)


def chrf(sums: np.ndarray) -> np.ndarray:
    """Corpus chrF (0 to 100) from sums of ``chrf_sums``, (..., 18); NaN without a reference."""
    counts = sums.reshape(*sums.shape[:-1], -1, 3)
    ours, theirs, both = counts[..., 0], counts[..., 1], counts[..., 2]
    used = (ours > 0) & (theirs > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        orders = used.sum(-1)
        precision = np.where(used, both / ours, 0.0).sum(-1) / orders
        recall = np.where(used, both / theirs, 0.0).sum(-1) / orders
        factor = _CHRF_BETA**2
        score = 100 * (1 + factor) * precision * recall / (factor * precision + recall)
    score = np.where((orders > 0) & (precision + recall > 0), score, 0.0)
    return np.where(theirs.sum(-1) > 0, score, np.nan)


def bleu(sums: np.ndarray) -> np.ndarray:
    """Corpus BLEU (0 to 100) from sums of ``bleu_sums``, (..., 10); NaN without a reference."""
    ours, theirs = sums[..., 0], sums[..., 1]
    correct, total = sums[..., 2 : 2 + _N_GRAMS], sums[..., 2 + _N_GRAMS :]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # Each n without a match counts half as much as the one before (sacrebleu's "exp").
        halvings = np.cumsum(correct == 0, axis=-1)
        precision = np.where(correct > 0, correct, 0.5**halvings) / total
        log_mean = np.log(precision).mean(-1)
        brevity = np.where(ours < theirs, np.exp(1 - theirs / ours), 1.0)
        score = 100 * brevity * np.exp(log_mean)
    score = np.where((correct.sum(-1) > 0) & (total > 0).all(-1), score, 0.0)
    return np.where(theirs > 0, score, np.nan)


FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cer": quotient,
    "chrf": chrf,
    "bleu": bleu,
    "expected_share": quotient,
    "p_expected": quotient,
    "degenerate_share": quotient,
}
