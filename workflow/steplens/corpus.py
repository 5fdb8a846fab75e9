"""Stage ``corpus``: sentences of one language out of FLEURS (D14).

FLEURS is published as ``data/<fleurs code>/<split>.tsv``: no header, seven columns (id, file,
raw_transcription, transcription, characters, samples, gender), quotes meaning nothing. A sentence
id is shared by all languages; one id may have several recordings and stand in two splits.
"""

import csv
import hashlib
import logging
from pathlib import Path

import pandas as pd
import regex

from .atomic import write_parquet
from .languages import Language

log = logging.getLogger(__name__)

COLUMNS = ("id", "file", "raw_transcription", "transcription", "characters", "samples", "gender")
_CJK = r"[\p{Han}\p{Hiragana}\p{Katakana}ー]"
_SPACE_BETWEEN_CJK = regex.compile(rf"(?<={_CJK})\s+(?={_CJK})")


def read_split(path: Path) -> pd.DataFrame:
    """Read one FLEURS TSV: a row a recording, columns as published.

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        A line does not have seven fields, or an id is no number.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: expected a FLEURS split here; check corpus.folder and corpus.splits"
        )
    rows = []
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
            if len(row) != len(COLUMNS):
                raise ValueError(
                    f"{path}:{number}: expected {len(COLUMNS)} fields separated by tabs, "
                    f"got {len(row)}"
                )
            if not row[0].isdigit():
                raise ValueError(f"{path}:{number}: id: expected a number, got {row[0]!r}")
            rows.append(row)
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.assign(id=frame["id"].astype("int64"))


def join_cjk(text: str) -> str:
    """Remove the spaces that FLEURS puts between Chinese (and Japanese) characters."""
    return _SPACE_BETWEEN_CJK.sub("", text)


def read_sentences(folder: Path, language: Language, splits: list[str]) -> pd.DataFrame:
    """Every sentence of one language once: the first recording in the first split that has it.

    Returns
    -------
    DataFrame
        utterance (the sentence id), split, file, raw_transcription, text (normalised, CJK joined).
    """
    parts = []
    for split in splits:
        part = read_split(folder / "data" / language.fleurs / f"{split}.tsv")
        parts.append(part.assign(split=split))
    rows = pd.concat(parts).drop_duplicates("id")
    empty = rows["transcription"].str.strip().eq("") | rows["raw_transcription"].str.strip().eq("")
    if empty.any():
        log.warning("%s: left out %d sentences without text", language.code, empty.sum())
        rows = rows[~empty]
    return pd.DataFrame(
        {
            "utterance": rows["id"],
            "split": rows["split"],
            "file": rows["file"],
            "raw_transcription": rows["raw_transcription"].str.strip(),
            "text": rows["transcription"].str.strip().map(join_cjk),
        }
    ).reset_index(drop=True)


def seeded_order(ids: pd.Series, seed: int) -> pd.Series:
    """A sort key that shuffles sentence ids by the seed and by nothing else.

    Each id has its own pseudo-random key, so that the order of two sentences does not depend on
    which others there are: another language, or a larger corpus, moves none of them.
    """
    return ids.map(lambda number: hashlib.sha256(f"{seed}:{number}".encode()).hexdigest())


def choose_sentences(
    folder: Path,
    language: Language,
    splits: list[str],
    n_utterances: int,
    seed: int,
    parallel_over: list[Language],
) -> pd.DataFrame:
    """The first ``n_utterances`` sentences of one language in the seeded order.

    Parameters
    ----------
    folder : path
        Holds ``data/<fleurs code>/<split>.tsv``.
    language : Language
    splits : list of str
    n_utterances, seed : int
    parallel_over : list of Language
        Only sentences that all of these have; empty for no restriction.

    Raises
    ------
    ValueError
        Fewer sentences than asked for; says how many there are.
    """
    sentences = read_sentences(folder, language, splits)
    for other in parallel_over:
        if other.code != language.code:
            shared = read_sentences(folder, other, splits)["utterance"]
            sentences = sentences[sentences["utterance"].isin(shared)]
    if len(sentences) < n_utterances:
        among = (
            f" that {', '.join(one.code for one in parallel_over)} share" if parallel_over else ""
        )
        raise ValueError(
            f"corpus.n_utterances: expected at most {len(sentences)}, the sentences of "
            f"{language.code} in {', '.join(splits)}{among}, got {n_utterances}"
        )
    order = seeded_order(sentences["utterance"], seed).sort_values(kind="stable").index
    return sentences.loc[order].head(n_utterances).reset_index(drop=True)


def write_corpus(
    folder: Path,
    language: Language,
    splits: list[str],
    n_utterances: int,
    seed: int,
    parallel_over: list[Language],
    output: Path,
) -> None:
    """Write ``corpus/<language>.parquet``; parameters as ``choose_sentences``."""
    chosen = choose_sentences(folder, language, splits, n_utterances, seed, parallel_over)
    write_parquet(chosen, output)
    log.info("%s: %d sentences from %s", language.code, len(chosen), ", ".join(splits))
