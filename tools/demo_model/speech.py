"""eSpeak speech of the toy corpus: ``python -m demo_model.speech``; kept, because it takes minutes.

Runs on its own, without torch: every sentence is spoken in a forked process, and forking one that has
loaded torch takes ten times longer.
"""

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

from steplens.speech.engines.espeak import synthesize

from .corpus import raw_transcription, splits
from .grammar import LANGUAGES

WORDS_PER_MINUTE = 220
VOICES = {
    "eng": "en-us", "deu": "de", "spa": "es-419", "fra": "fr", "cmn": "cmn", "jpn": "ja",
}  # fmt: skip


def synthesize_language(language: str, cache: Path, threads: int = 2) -> None:
    """Write ``<cache>/<language>.npz``: ids, 16-bit samples end to end, samples of each sentence."""
    path = cache / f"{language}.npz"
    if path.exists():
        return
    sentences = [pair for split in splits().values() for pair in split]
    texts = [raw_transcription(meaning, language) for _, meaning in sentences]
    waves = synthesize(texts, VOICES[language], WORDS_PER_MINUTE, threads)
    waves = [
        np.round(np.clip(wave, -1, 1) * 32767).astype(np.int16)
        for wave in tqdm(waves, language, len(sentences), mininterval=10)
    ]
    cache.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez(
        partial,
        id=[number for number, _ in sentences],
        samples=np.concatenate(waves),
        n_samples=[len(wave) for wave in waves],
    )
    partial.rename(path)


def load_waves(language: str, cache: Path) -> dict[int, np.ndarray]:
    """{sentence id: (n_samples,) float32} as ``synthesize_language`` kept them."""
    with np.load(cache / f"{language}.npz") as kept:
        samples = kept["samples"].astype(np.float32) / 32768
        waves = np.split(samples, np.cumsum(kept["n_samples"])[:-1])
        return dict(zip(kept["id"].tolist(), waves, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=Path("build/demo_model"))
    cache = parser.parse_args().cache
    for language in LANGUAGES:
        synthesize_language(language, cache)


if __name__ == "__main__":
    main()
