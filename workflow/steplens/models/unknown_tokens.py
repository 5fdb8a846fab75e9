"""Unknown tokens: characters that the model's vocabulary lacks.

The tokenizer puts one token in their place, whatever they are, and the decoder may write that token, of
which a text shows nothing. Both are counted, in the log and in ``tables/recognition.csv``.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

log = logging.getLogger(__name__)

_SHOWN = 10  # characters in a message


def count_unknown(tokens: Sequence[Sequence[int]], unknown: int) -> np.ndarray:
    """(n_sentences,) int array: how many tokens of each sentence are the unknown one."""
    return np.array([sum(int(one) == unknown for one in row) for row in tokens], dtype=np.int64)


def unknown_characters(texts: Sequence[str], tokenizer: Any) -> Counter[str]:
    """How often each character is in a token that the vocabulary lacks.

    Parameters
    ----------
    texts : sequence of str
    tokenizer : transformers' tokenizer
        One that tells where its tokens stand in a text; of others nothing is known.
    """
    found: Counter[str] = Counter()
    if not getattr(tokenizer, "is_fast", False):
        return found
    for text in texts:
        encoded = tokenizer(text, return_offsets_mapping=True)
        for token, (start, end) in zip(encoded.input_ids, encoded.offset_mapping, strict=True):
            if token == tokenizer.unk_token_id:
                found.update(text[start:end].replace(" ", ""))
    return found


def log_unknown_input(
    what: str, texts: Sequence[str], tokens: Sequence[Sequence[int]], tokenizer: Any
) -> np.ndarray:
    """Warn of input that the model cannot read; ``count_unknown`` of it.

    Parameters
    ----------
    what : str
        For example ``"text of cmn"``.
    texts, tokens : sequences
        Sentences, and their tokens as the encoder gets them.
    tokenizer : transformers' tokenizer
    """
    counts = count_unknown(tokens, tokenizer.unk_token_id)
    if counts.any():
        characters = unknown_characters(texts, tokenizer).most_common()
        log.warning(
            "%s: expected characters of the model's vocabulary, got others: %s%s; the model reads one and "
            "the same unknown token in their place; write them otherwise, or leave those sentences out",
            what, _share(counts, tokens), _examples(characters),
        )  # fmt: skip
    return counts


def log_unknown_output(what: str, tokens: Sequence[Sequence[int]], unknown: int) -> np.ndarray:
    """Warn of unknown tokens that the model wrote; ``count_unknown`` of them.

    Parameters
    ----------
    what : str
        For example ``"asr of cmn"``.
    tokens : sequence of sequences of int
        Generated, a sentence each.
    unknown : int
        The unknown token.
    """
    counts = count_unknown(tokens, unknown)
    if counts.any():
        log.warning("%s: expected tokens that stand for a text, got the unknown token: %s; the texts show "
                    "nothing in its place, and their error rates count it as left out",
                    what, _share(counts, tokens))  # fmt: skip
    return counts


def _share(counts: np.ndarray, tokens: Sequence[Sequence[int]]) -> str:
    n_tokens = sum(map(len, tokens))
    return (
        f"{counts.sum()} of {n_tokens} tokens ({100 * counts.sum() / n_tokens:.2g} %) in "
        f"{np.count_nonzero(counts)} of {len(counts)} sentences"
    )


def _examples(characters: list[tuple[str, int]]) -> str:
    if not characters:
        return ""
    shown = ", ".join(f"{one!r} {n} times" for one, n in characters[:_SHOWN])
    more = len(characters) - _SHOWN
    return f" ({shown}{f' and {more} more characters' if more > 0 else ''})"
