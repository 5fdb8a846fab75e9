"""Writes the toy corpus as FLEURS publishes its own: data/<fleurs code>/<split>.tsv, seven columns."""

import csv
import re
from pathlib import Path

from .grammar import LANGUAGES, Meaning, meanings

CORPUS_SEED = 2026
FIRST_ID = 1
N_TRAIN = 2_000
N_DEV = 100
N_TEST = 300

FLEURS_CODES = {
    "eng": "en_us", "deu": "de_de", "spa": "es_419", "fra": "fr_fr",
    "cmn": "cmn_hans_cn", "jpn": "ja_jp",
}  # fmt: skip
_FULL_STOP = {"cmn": "。", "jpn": "。"}


def splits() -> dict[str, list[tuple[int, Meaning]]]:
    """Sentence ids and meanings of each split; no meaning stands in two splits."""
    numbered = list(enumerate(meanings(CORPUS_SEED), start=FIRST_ID))
    test, dev = numbered[:N_TEST], numbered[N_TEST : N_TEST + N_DEV]
    train = numbered[N_TEST + N_DEV : N_TEST + N_DEV + N_TRAIN]
    return {"train": train, "dev": dev, "test": test}


def raw_transcription(meaning: Meaning, language: str) -> str:
    """As written: a capital at the start and a full stop."""
    words = meaning.words(language)
    return words[0].upper() + words[1:] + _FULL_STOP.get(language, ".")


def transcription(meaning: Meaning, language: str) -> str:
    """As FLEURS normalises it: lower case, no punctuation, Mandarin spaced by character."""
    words = meaning.words(language)
    return " ".join(words) if language == "cmn" else words


def normalized(meaning: Meaning, language: str) -> str:
    """The text that the model reads and writes: the transcription with CJK characters joined."""
    words = meaning.words(language)
    return words.replace(" ", "") if language in ("cmn", "jpn") else words


def write_tsv(folder: Path, n_samples: dict[tuple[str, int], int], names=("dev", "test")) -> None:
    """Write the splits that the demo ships; ``n_samples`` maps (language, id) to audio samples."""
    everything = splits()
    for language in LANGUAGES:
        for name in names:
            path = folder / "data" / FLEURS_CODES[language] / f"{name}.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(
                    file,
                    delimiter="\t",
                    quoting=csv.QUOTE_NONE,
                    quotechar=None,
                    lineterminator="\n",
                )
                for number, meaning in everything[name]:
                    plain = transcription(meaning, language)
                    letters = re.sub(r"\s", "", plain)
                    characters = " ".join("|".join(word) for word in plain.split()) + " |"
                    assert letters
                    writer.writerow([
                        number, f"{number:020d}.wav", raw_transcription(meaning, language), plain,
                        characters, n_samples[language, number], "FEMALE",
                    ])  # fmt: skip
