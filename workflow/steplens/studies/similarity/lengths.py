"""Sentences in bins of similar length: length alone makes pooled states of two sentences alike."""

from pathlib import Path

import numpy as np
import pandas as pd

from steplens.files.atomic import read_parquet

BY = {"characters": "characters of text", "seconds": "seconds of speech"}


def sentence_lengths(corpora: dict[str, Path], speech: dict[str, Path]) -> dict[str, pd.DataFrame]:
    """Lengths of every sentence in every language.

    Parameters
    ----------
    corpora, speech : dict
        Language to its table of sentences (column ``text``) and of audio (column ``seconds``).

    Returns
    -------
    dict
        ``characters`` and ``seconds``: DataFrame of sentence id x language, NaN where a language lacks
        the sentence.
    """
    characters = {
        language: read_parquet(path, ["utterance", "text"]).set_index("utterance")["text"].str.len()
        for language, path in corpora.items()
    }
    seconds = {
        language: read_parquet(path, ["utterance", "seconds"]).set_index("utterance")["seconds"]
        for language, path in speech.items()
    }
    return {"characters": pd.DataFrame(characters), "seconds": pd.DataFrame(seconds)}


def length_bins(lengths: pd.DataFrame, utterances: np.ndarray, n_bins: int) -> list[np.ndarray]:
    """Divide sentences into bins of equal size, from the shortest to the longest.

    A sentence is as long as its mean rank over the languages that have it says: characters of Chinese
    and of German, or seconds of two voices, are not comparable, ranks are. All languages then have the same
    bins, and pairs stay parallel.

    Parameters
    ----------
    lengths : DataFrame
        Sentence id x language.
    utterances : (n,) int array
        The sentences to divide.
    n_bins : int

    Returns
    -------
    list of (n,) bool arrays
        Sizes differ by 1 at most; sentences of equal length are ordered by id.

    Raises
    ------
    ValueError
        A sentence without a length in any language.
    """
    known = lengths.reindex(utterances)
    missing = known.index[known.isna().all(axis=1)]
    if len(missing):
        raise ValueError(
            f"lengths: expected one for every sentence, got none for {missing[0]} and "
            f"{len(missing) - 1} others: corpus or speech tables are not those of the stores; run the "
            "workflow again"
        )
    score = known.rank(pct=True).mean(axis=1).to_numpy()
    order = np.lexsort((utterances, np.round(score, 12)))
    bins = []
    for part in np.array_split(order, n_bins):
        inside = np.zeros(len(utterances), dtype=bool)
        inside[part] = True
        bins.append(inside)
    return bins
