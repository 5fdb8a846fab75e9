"""Stage ``speech``: audio of every sentence of one language (D13).

Audio is kept as 16-bit WAV at 16 kHz beside the table that lists it; the table is written last.
"""

import logging
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from .atomic import atomic_path, write_parquet
from .languages import Language
from .progress import progress

log = logging.getLogger(__name__)

SAMPLING_RATE_HZ = 16_000
ENGINES = ("espeak",)


def synthesize_corpus(
    corpus: Path,
    language: Language,
    engine: str,
    words_per_minute: int,
    threads: int,
    output: Path,
) -> None:
    """Write ``speech/<language>.parquet`` and ``speech/<language>/<id>.wav``.

    Columns: utterance, path (relative to the table), n_samples, seconds, peak, engine, voice.

    Parameters
    ----------
    corpus : path
        ``corpus/<language>.parquet``; the raw transcription is spoken.
    language : Language
    engine : {"espeak"}
    words_per_minute : int
        eSpeak's speaking rate.
    threads : int
        Sentences spoken at a time.
    output : path
    """
    if engine not in ENGINES:
        raise ValueError(f"speech.engine: expected one of {', '.join(ENGINES)}, got {engine!r}")
    if not language.espeak:
        raise ValueError(
            f"speech.engine: espeak does not speak {language.name} ({language.code}); "
            "leave the language out or choose another engine"
        )
    # The real import is late: other engines do without the optional package.
    from .espeak import synthesize

    sentences = pd.read_parquet(corpus)
    folder = output.parent / language.code
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    rows = []
    waves = synthesize(sentences["raw_transcription"], language.espeak, words_per_minute, threads)
    with progress(len(sentences), f"speech {language.code}") as bar:
        for number, wave in zip(sentences["utterance"], waves, strict=True):
            path = folder / f"{number}.wav"
            write_wav(path, wave)
            rows.append(
                {
                    "utterance": number,
                    "path": f"{language.code}/{path.name}",
                    "n_samples": len(wave),
                    "seconds": len(wave) / SAMPLING_RATE_HZ,
                    "peak": float(np.abs(wave).max()),
                    "engine": engine,
                    "voice": language.espeak,
                }
            )
            bar.update()
    write_parquet(pd.DataFrame(rows), output)
    log.info(
        "%s: %.0f s of speech by %s", language.code, sum(row["seconds"] for row in rows), engine
    )


def write_wav(path: Path, wave: np.ndarray) -> None:
    """Write (n_samples,) float audio in [-1, 1] at 16 kHz as 16-bit PCM, atomically."""
    samples = np.round(np.clip(wave, -1, 1) * 32767).astype(np.int16)
    with atomic_path(path) as partial:
        soundfile.write(partial, samples, SAMPLING_RATE_HZ, subtype="PCM_16")
