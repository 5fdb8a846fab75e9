"""Random halves of the sentences, and shuffled language labels: draws that serve speech and text alike.

An example is one valid utterance of a condition, that is a sentence in a language. Speech and text hold
mostly the same ones; where they do, both get the same half and the same shuffled label.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from steplens.errors import TooFewUtterances

MIN_A_HALF = 2  # utterances of every language
_ATTEMPTS = 1000


@dataclass(frozen=True)
class Examples:
    """The valid utterances of one condition.

    Attributes
    ----------
    name : str
        For messages: ``"speech"`` or ``"text"``.
    languages : list of str
    sentences : (n_examples,) int array of sentence ids
    labels : (n_examples,) int array of indices of languages
    """

    name: str
    languages: list[str]
    sentences: np.ndarray
    labels: np.ndarray


def draw_halves(
    conditions: Sequence[Examples], n_splits: int, seed: int, stream: str = "halves"
) -> list[np.ndarray]:
    """Halve the sentences at random, once a split: for all languages and all conditions together.

    Parameters
    ----------
    conditions : sequence of Examples
    n_splits, seed : int
    stream : str, optional
        Names an independent stream of random numbers.

    Returns
    -------
    list of (n_splits, n_examples) bool arrays, one a condition
        Whether an example is in the first half. Halves differ in size where sentences are not valid in
        every language; each holds at least two utterances of every language.

    Raises
    ------
    TooFewUtterances
        A language has too few valid utterances for that.
    """
    for one in conditions:
        counts = np.bincount(one.labels, minlength=len(one.languages))
        if counts.min() < 2 * MIN_A_HALF:
            raise _too_few(one, int(counts.argmin()), int(counts.min()))
    known = np.unique(np.concatenate([one.sentences for one in conditions]))
    places = [np.searchsorted(known, one.sentences) for one in conditions]
    generator = random_generator(seed, stream)
    splits = [_draw_half(conditions, places, len(known), generator) for _ in range(n_splits)]
    return [np.array(halves) for halves in zip(*splits, strict=True)]


def _draw_half(conditions, places, n_sentences, generator) -> list[np.ndarray]:
    """One split that leaves enough of every language in both halves."""
    for _ in range(_ATTEMPTS):
        first = np.zeros(n_sentences, dtype=bool)
        first[generator.permutation(n_sentences)[: (n_sentences + 1) // 2]] = True
        halves = [first[place] for place in places]
        short = [
            (one, counts)
            for one, half in zip(conditions, halves, strict=True)
            for part in (half, ~half)
            if (counts := np.bincount(one.labels[part], minlength=len(one.languages))).min()
            < MIN_A_HALF
        ]
        if not short:
            return halves
    one, counts = short[0]
    language = int(counts.argmin())
    raise _too_few(one, language, int((one.labels == language).sum()))


def _too_few(one: Examples, language: int, count: int) -> TooFewUtterances:
    return TooFewUtterances(
        f"split halves: {one.name}: {one.languages[language]} has {count} valid utterances, too few "
        f"for halves of at least {MIN_A_HALF} of every language: its sentences end before this step, "
        "or badly spoken ones are left out (tables/speech_quality.csv); drop the step or the "
        "language, or raise corpus.n_utterances"
    )


def shuffle_labels(conditions: Sequence[Examples], n_shuffles: int, seed: int) -> list[np.ndarray]:
    """Shuffle language labels within every sentence; both conditions by the same permutation.

    The same sentence in several languages says the same: only the languages are exchangeable, not the
    sentences. Sentences that stand in one language alone are shuffled among each other.

    An utterance that is valid in one condition and not in the other is skipped in the other: whoever
    would get its label gets the one that it gets. What is left is a random permutation of the valid
    ones, and every language keeps its number of utterances.

    Parameters
    ----------
    conditions : sequence of Examples
    n_shuffles, seed : int

    Returns
    -------
    list of (n_shuffles, n_examples) int arrays, one a condition
        Indices of languages.
    """
    n_languages = len(conditions[0].languages)
    # An utterance's key: its sentence, then its language.
    keys = [one.sentences * n_languages + one.labels for one in conditions]
    known = np.unique(np.concatenate(keys))
    sentences, labels = known // n_languages, known % n_languages
    _, place, size = np.unique(sentences, return_inverse=True, return_counts=True)
    stratum = np.where(size[place] > 1, place, -1)
    in_order = np.argsort(stratum, kind="stable")
    places = [np.searchsorted(known, key) for key in keys]
    generator = random_generator(seed, "shuffles")
    found = [np.empty((n_shuffles, len(key)), dtype=np.int64) for key in keys]
    for draw in range(n_shuffles):
        following = np.empty(len(known), dtype=np.int64)
        following[in_order] = np.lexsort((generator.random(len(known)), stratum))
        for shuffled, place in zip(found, places, strict=True):
            shuffled[draw] = labels[_next_valid(following, place)]
    return found


def _next_valid(following: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """What follows each valid place in its cycle of the permutation, places that are not valid skipped."""
    is_valid = np.zeros(len(following), dtype=bool)
    is_valid[valid] = True
    reached = following[valid]
    while not is_valid[reached].all():
        reached = np.where(is_valid[reached], reached, following[reached])
    return reached


def random_generator(seed: int, stream: str) -> np.random.Generator:
    """Random numbers of a named stream, independent of those of other names."""
    return np.random.default_rng([seed, zlib.crc32(stream.encode())])
