"""Stage ``speech_quality``: which utterances are spoken badly, after the model has recognised them.

The checks of the audio itself are made while it is spoken (``checks.py``). What the model's own
asr makes of it shows the rest: words left out, words invented. A flagged utterance is reported, left
out of the statistics by config, and made again by ``snakemake resynthesise``.
"""

import logging
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from steplens.files.atomic import read_csv, write_csv
from steplens.languages.error_rate import character_error_rate
from steplens.speech.takes import ask_for
from steplens.store.conditions import read_condition
from steplens.tasks import IDENTIFICATION_TASK

log = logging.getLogger(__name__)

COLUMNS = (
    "language", "utterance", "engine", "voice", "attempt", "available", "seed", "origin", "seconds",
    "seconds_per_character", "silent_share", "clipped_share", "peak", "problem", "cer", "flagged",
    "left_out", "reason", "reference", "recognised",
)  # fmt: skip


def judge_speech(
    corpora: dict[str, Path],
    spoken: dict[str, Path],
    recognised: dict[str, Path],
    max_cer: float,
    leave_out_flagged: bool,
    output: Path,
) -> None:
    """Write ``tables/speech_quality.csv``, a row an utterance; ``left_out`` is what statistics skip.

    Texts stand on one line each. Some may read "NA" or "nan": read with ``keep_default_na=False``.

    Parameters
    ----------
    corpora, spoken, recognised : dict
        Language to ``corpus/…``, ``speech/…`` and ``decoding/asr/….parquet``.
    max_cer : float
        A higher character error rate flags.
    leave_out_flagged : bool
        Utterances without any audio are left out all the same.
    output : path
    """
    parts = [
        _judged(
            language,
            read_condition(corpora[language], ["utterance"], language=language),
            read_condition(spoken[language], ["utterance"], language=language),
            read_condition(path, ["utterance"], task=IDENTIFICATION_TASK, language=language),
            max_cer,
        )
        for language, path in recognised.items()
    ]
    table = pd.concat(parts, ignore_index=True)
    table["left_out"] = table["unusable"] | (table["flagged"] & leave_out_flagged)
    texts = ["origin", "problem", "reason", "reference", "recognised"]
    table[texts] = table[texts].replace(r"[\s\x00-\x1f\x7f]+", " ", regex=True)
    write_csv(table[list(COLUMNS)], output)
    for language, part in table.groupby("language", sort=False):
        log.info("%s: median CER %.3f, %d of %d utterances flagged, %d left out", language,
                 part["cer"].median(), part["flagged"].sum(), len(part),
                 part["left_out"].sum())  # fmt: skip
    _tell_of_none(table)


def _tell_of_none(table: pd.DataFrame) -> None:
    """Name languages without an utterance left: here, by its reasons, and not first where a ranking fails.

    No error: the table is what ``resynthesise`` asks for other takes by.
    """
    kept = ~table.groupby("language", sort=False)["left_out"].all()
    empty = kept.index[~kept].tolist()
    if not empty:
        return
    part = table[table["language"] == empty[0]]
    # Of a reason what comes before its numbers: "CER", "too long", "recording".
    reasons = part["reason"].str.split("; ").explode().str.split(r"[\d:(]", n=1, regex=True).str[0]
    reasons = reasons.str.strip()
    counts = reasons[reasons != ""].str.slice(stop=60).value_counts(sort=True).head(3)
    told = ", ".join(f"{reason} {n} times" for reason, n in counts.items())
    problem = (
        f"speech of {', '.join(empty)}: expected utterances that statistics can count, got {empty[0]} with "
        f"all {len(part)} left out ({told}; the first, {part['utterance'].iloc[0]}: "
        f"{part['reason'].iloc[0][:100]}): rankings will be refused; ask for other takes (snakemake "
        "resynthesise), take another speech.engine or more speech.checks.max_attempts, set "
        "speech.checks.max_cer higher or leave_out_flagged to false, or leave the language out"
    )
    log.error(problem)
    print(problem, file=sys.stderr)


def _judged(
    language: str, corpus: pd.DataFrame, speech: pd.DataFrame, asr: pd.DataFrame, max_cer: float
) -> pd.DataFrame:
    table = speech.set_index("utterance")
    table["reference"] = corpus.set_index("utterance")["text"]
    table["recognised"] = asr.set_index("utterance")["text"]
    table["cer"] = [
        character_error_rate(reference, text)
        for reference, text in zip(table["reference"], table["recognised"], strict=True)
    ]
    misheard = np.where(table["cer"] > max_cer, table["cer"].map("CER {:.2f}".format), "")
    table["reason"] = [
        "; ".join(filter(None, both)) for both in zip(table["problem"], misheard, strict=True)
    ]
    table["flagged"] = table["reason"] != ""
    return table.reset_index().assign(language=language)


def resynthesise(quality: Path, folder: Path) -> None:
    """Ask for other takes of every flagged utterance: ``speech/<language>/first_attempts.json``.

    The next run of Snakemake makes them, and whatever depends on them, again. Of what an engine can
    speak in one way only, or has no further recording of, nothing is asked.

    Parameters
    ----------
    quality : path
        ``tables/speech_quality.csv``.
    folder : path
        ``speech/``.
    """
    columns = ["language", "utterance", "engine", "attempt", "available", "flagged"]
    table = read_csv(quality, columns)
    flagged = table[table["flagged"].astype(bool)]
    exhausted = flagged["attempt"] + 1 >= flagged["available"].fillna(np.inf)
    for engine, n in flagged.loc[exhausted, "engine"].value_counts(sort=False).items():
        print(f"{n} flagged utterances stay as they are: {engine} has no other take of them")
    flagged = flagged[~exhausted]
    for (language, engine), part in flagged.groupby(["language", "engine"], sort=False):
        attempts = {int(row.utterance): int(row.attempt) + 1 for row in part.itertuples()}
        ask_for(folder / str(language) / "first_attempts.json", str(engine), attempts)
        print(f"{language}: another take of {len(part)} utterances")
    if len(flagged):
        print("asked for; the next `snakemake` makes them and all that depends on them")
    elif not exhausted.any():
        print("no utterance is flagged")
