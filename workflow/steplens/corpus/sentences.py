"""Stage ``corpus``: sentences of one language out of FLEURS (D14).

FLEURS is published as ``data/<fleurs code>/<split>.tsv``: no header, seven columns (id, file,
raw_transcription, transcription, characters, samples, gender), quotes meaning nothing. A sentence
id is shared by all languages; one id may have several recordings and stand in two splits.
"""

import hashlib
import json
import logging
import os
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Collection, Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import regex

from steplens.errors import shown
from steplens.files.atomic import write_parquet
from steplens.files.input_files import instead_of_content, open_regular
from steplens.languages.table import Language
from steplens.languages.text_forms import read_form, refusal
from steplens.languages.writing_systems import letter_pattern

log = logging.getLogger(__name__)

COLUMNS = ("id", "file", "raw_transcription", "transcription", "characters", "samples", "gender")
MALFORMED_SHARE = 0.01
_MAX_SPLIT_BYTES = 128 * 2**20  # the largest of FLEURS has two million
# Fewer of its letters than this in the script of its language: a sentence is in another one.
MIN_SCRIPT_SHARE = 0.5
_LETTER = regex.compile(r"\p{L}")
_SHOWN = 10  # sentence ids in a message
_MOST = 2**63 - 1  # stores and tables hold ids, and numbers of samples, as int64
_CJK = r"[\p{Han}\p{Hiragana}\p{Katakana}ー]"
_SPACE_BETWEEN_CJK = regex.compile(rf"(?<={_CJK})\s+(?={_CJK})")


def read_split(path: Path) -> pd.DataFrame:
    """Read one FLEURS TSV: a row per recording; the index, ``line``, counts from 1.

    Columns as published, texts composed (NFC).

    Raises
    ------
    FileNotFoundError
        No such file.
    ValueError
        The file is empty or something else, or is no UTF-8; or in more than one line of a hundred there
        are not seven fields, an id or a number of samples is no whole number that 64 bits hold, a
        recording's name is no plain file name, or a field holds a control character or an override of the
        direction of text. Fewer such lines are left out and logged.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: expected a FLEURS split here, got no such file; check corpus.path and corpus.splits"
        )
    instead = instead_of_content(path)
    if instead:
        raise ValueError(f"{path}: expected sentences; it is {instead}")
    try:
        text = _bytes_of(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        utf_16 = error.object.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
        raise ValueError(
            f"{path}:{number}: expected text in UTF-8, got byte {error.object[error.start]:#04x}"
            f"{' of UTF-16' * utf_16}; fetch the file again{', or save it as UTF-8' * utf_16}"
        ) from error
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise ValueError(f"{path}: expected sentences, got blank lines; fetch it again")
    rows, numbers, wrong = [], [], []
    for number, line in lines:
        try:
            rows.append(_fields(line, f"{path}:{number}"))
            numbers.append(number)
        except ValueError as error:
            wrong.append(error)
    if len(wrong) > MALFORMED_SHARE * len(lines):
        raise ValueError(
            f"{wrong[0]} ({len(wrong)} such lines of {len(lines)}); fetch the file again, or mend the lines"
        )
    for error in wrong:  # a published file cannot be mended by its reader
        log.warning("%s: left out", error)
    frame = pd.DataFrame(rows, pd.Index(numbers, name="line", dtype="int64"), list(COLUMNS))
    for name in ("raw_transcription", "transcription"):
        frame[name] = frame[name].map(read_form)
    return frame.astype({"id": "int64", "samples": "int64"})


def _bytes_of(path: Path) -> bytes:
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > _MAX_SPLIT_BYTES:
            raise ValueError(
                f"{path}: expected sentences in at most {_MAX_SPLIT_BYTES} bytes, got {size} bytes; fetch "
                "the file again"
            )
        return file.read(_MAX_SPLIT_BYTES)


def _fields(line: str, where: str) -> list[str]:
    # Split by hand: quotes mean nothing, and only a line feed ends a line.
    line = line.rstrip("\r")
    fields = line.split("\t")
    while len(fields) > len(COLUMNS) and not fields[-1].strip():  # tabs at the end
        fields.pop()
    if len(fields) != len(COLUMNS):
        why = ""
        if "\r" in line:
            why = ", with carriage returns among them: end each line with a line feed"
        elif len(fields) == 1 and max(line.count(","), line.count(";")) >= len(COLUMNS) - 1:
            why = ", with commas or semicolons in it: write tabs in their place, and no quotes"
        raise ValueError(
            f"{where}: expected {len(COLUMNS)} fields separated by tabs, got {len(fields)}{why}"
        )
    row = dict(zip(COLUMNS, fields, strict=True))
    for name in ("id", "samples"):
        text = row[name]
        if not (text.isascii() and text.isdecimal()):
            header = "; remove the header, FLEURS has none" if text == name else ""
            raise ValueError(f"{where}: {name}: expected a number, got {shown(text)}{header}")
        if len(text.lstrip("0")) > len(str(_MOST)) or int(text) > _MOST:
            anew = "; number the sentences anew, alike in all languages" if name == "id" else ""
            raise ValueError(
                f"{where}: {name}: expected a number up to {_MOST}, got {shown(text)}{anew}"
            )
    if row["file"] in ("", ".", "..") or "/" in row["file"] or "\\" in row["file"]:
        raise ValueError(f"{where}: file: expected a plain file name, got {shown(row['file'])}")
    for (
        name,
        text,
    ) in row.items():  # they change what is shown, spoken and tokenized, and nobody sees them
        if refused := refusal(text):
            raise ValueError(f"{where}: {name}: {refused}; remove these characters")
    return fields


def split_paths(folder: Path, language: Language, splits: list[str]) -> list[Path]:
    """The TSVs of a language."""
    return [folder / "data" / language.fleurs / f"{split}.tsv" for split in splits]


def join_cjk(text: str) -> str:
    """Remove the spaces that FLEURS puts between Chinese (and Japanese) characters."""
    return _SPACE_BETWEEN_CJK.sub("", text)


def share_in_script(text: str, script: str) -> float:
    """Share of a text's letters that are of a script; NaN for a text without letters.

    Parameters
    ----------
    text : str
    script : str
        As in ``resources/languages.tsv``.
    """
    n_letters = len(_LETTER.findall(text))
    return len(letter_pattern(script).findall(text)) / n_letters if n_letters else float("nan")


def read_sentences(folder: Path, language: Language, splits: list[str]) -> pd.DataFrame:
    """Every sentence of one language once: the first recording with text, split by split.

    Returns
    -------
    DataFrame
        utterance (the sentence id), split, file, raw_transcription, text (FLEURS's transcription, CJK
        joined: the reference, and what the model is given), both as read (``text_forms.read_form``),
        script_share (``share_in_script`` of the text), and recordings: every recording of that text as
        JSON, ``[{"split", "file", "n_samples"}, …]``, the one of ``split`` and ``file`` first. A row of
        the same id with another text, or with none, is not among them: nothing says that the sentence is
        spoken there.
    """
    parts = []
    for split, path in zip(splits, split_paths(folder, language, splits), strict=True):
        part = read_split(path)
        parts.append(part.assign(split=split, where=[f"{path}:{line}" for line in part.index]))
    rows = pd.concat(parts, ignore_index=True)
    rows["text"] = rows["transcription"].map(join_cjk)
    ids = rows["id"].unique()
    rows = rows[rows["text"].ne("") & rows["raw_transcription"].ne("")]
    first = rows.drop_duplicates("id")
    if len(first) < len(ids):
        without = ids[~np.isin(ids, first["id"])].tolist()
        log.warning("%s: expected text in every sentence, got none in %d of %d, which are left out: %s",
                    language.code, len(without), len(ids), _some(without))  # fmt: skip
    same = rows["text"] == rows["id"].map(first.set_index("id")["text"])
    if not same.all():
        other = rows[~same].iloc[0]
        kept = first.set_index("id").loc[other["id"]]
        log.warning("%s: expected one text an id, got another in %d recordings, which are left out: %s; the "
                    "first, %s: %s, where %s has %s",
                    language.code, (~same).sum(), _some(rows["id"][~same].unique().tolist()),
                    other["where"], shown(other["text"]), kept["where"], shown(kept["text"]))  # fmt: skip
    recordings: dict[int, list[dict]] = {}
    for one in rows[same].drop_duplicates(["id", "split", "file"]).itertuples():
        recording = {"split": one.split, "file": one.file, "n_samples": one.samples}
        recordings.setdefault(one.id, []).append(recording)
    return pd.DataFrame(
        {
            "utterance": first["id"],
            "split": first["split"],
            "file": first["file"],
            "raw_transcription": first["raw_transcription"],
            "text": first["text"],
            "script_share": [share_in_script(text, language.script) for text in first["text"]],
            "recordings": [json.dumps(recordings[number]) for number in first["id"]],
        }
    ).reset_index(drop=True)


def _some(ids: list[int]) -> str:
    return ", ".join(map(str, ids[:_SHOWN])) + ", …" * (len(ids) > _SHOWN)


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
        Fewer sentences than asked for; says how many there are. Or most of them are in another script
        than the language's.
    """
    sentences = read_sentences(folder, language, splits)
    _require_script(sentences, folder, language)
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
            f"{language.code} in {', '.join(splits)}{among}, got {n_utterances}; ask for fewer, or draw "
            "from more splits (corpus.splits)"
        )
    order = seeded_order(sentences["utterance"], seed).sort_values(kind="stable").index
    return sentences.loc[order].head(n_utterances).reset_index(drop=True)


def require_common_sentences(
    chosen: Mapping[str, Collection[int]], fewest: int, files: Mapping[str, list[Path]]
) -> None:
    """Raise ValueError unless every two languages have enough sentences in common.

    Parameters
    ----------
    chosen : mapping of language to sentence ids
        Those that a run takes.
    fewest : int
        Sentences that two languages need in common: ``similarity.sentences_per_component`` for that study,
        otherwise one, without which languages differ in content too.
    files : mapping of language to list of path
        Where its sentences come from, for the message.
    """
    n_common = {
        (one, other): len(set(chosen[one]) & set(chosen[other]))
        for one, other in combinations(chosen, 2)
    }
    short = {pair: n for pair, n in n_common.items() if n < fewest}
    if not short:
        return
    pair, n = min(short.items(), key=lambda item: item[1])
    one, other = (
        f"{code} ({len(chosen[code])} sentences, {', '.join(map(str, files[code]))})"
        for code in pair
    )
    why = " (similarity.sentences_per_component)" if fewest > 1 else ""
    raise ValueError(
        f"languages: expected at least {fewest} of a run's sentences in common to every two of them{why}, "
        f"got {n} of {one} and {other}, and too few in {len(short)} of {len(n_common)} pairs; give a "
        "sentence the same id in all languages, take more (corpus.n_utterances) or only common ones "
        "(corpus.parallel_over), or leave a language out"
    )


def _in_other_script(sentences: pd.DataFrame) -> list[int]:
    """Ids of sentences whose letters are mostly of another script."""
    return sentences.loc[sentences["script_share"] < MIN_SCRIPT_SHARE, "utterance"].tolist()


def _require_script(sentences: pd.DataFrame, folder: Path, language: Language) -> None:
    # A sentence may quote another language; a whole file in another script is another language's.
    others = _in_other_script(sentences)
    if len(others) > len(sentences) / 2:
        example = sentences.set_index("utterance").loc[others[0], "text"][:40]
        raise ValueError(
            f"corpus.path: {folder / 'data' / language.fleurs}: expected sentences of {language.name} "
            f"({language.code}) in {language.script} script, got {len(others)} of {len(sentences)} in "
            f"another one, the first {others[0]}: {example!r}; check the folder, or the language's row in "
            "resources/languages.tsv"
        )


def write_corpus(
    folder: Path,
    language: Language,
    splits: list[str],
    n_utterances: int,
    seed: int,
    parallel_over: list[Language],
    output: Path,
    compared_with: Collection[Language] = (),
    fewest_common: int = 1,
) -> None:
    """Write ``corpus/<language>.parquet``; parameters as ``choose_sentences``.

    Of the languages ``compared_with`` those count whose files are there: each needs ``fewest_common``
    sentences in common with this one. Of two that are fetched, the later one sees the other.
    """
    chosen = choose_sentences(folder, language, splits, n_utterances, seed, parallel_over)
    for other in compared_with:
        paths = {one.code: split_paths(folder, one, splits) for one in (language, other)}
        if other.code == language.code or not all(path.is_file() for path in paths[other.code]):
            continue
        its = choose_sentences(folder, other, splits, n_utterances, seed, parallel_over)
        require_common_sentences(
            {language.code: chosen["utterance"].tolist(), other.code: its["utterance"].tolist()},
            fewest_common,
            paths,
        )
    others = _in_other_script(chosen)
    if others:
        log.warning("%s: expected %s script, got another in %d of %d sentences, which are kept: %s; their "
                    "column script_share says how much",
                    language.code, language.script, len(others), len(chosen), _some(others))  # fmt: skip
    chosen.attrs = {
        "language": language.code, "splits": list(splits), "n_utterances": n_utterances, "seed": seed,
        "parallel_over": [one.code for one in parallel_over],
    }  # fmt: skip
    write_parquet(chosen, output)
    log.info("%s: %d sentences from %s", language.code, len(chosen), ", ".join(splits))
