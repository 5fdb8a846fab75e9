"""FLEURS's own recordings (D13, engine ``recorded``): natural speech of many speakers.

Audio is published as ``data/<code>/audio/<split>.tar.gz`` with members ``<split>/<file>``; a folder
``data/<code>/audio/<split>/`` with the files themselves serves as well. Members are read by their
name and never unpacked to disk. An utterance may have several recordings: attempt n takes the n-th.
Whatever the rate of a file, its line counts samples at 16 kHz, and both are compared as times.
"""

import logging
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steplens.files.audio import SAMPLING_RATE_HZ, read_recording, resample
from steplens.files.input_files import instead_of_content, open_regular, other_kind
from steplens.speech.engines.engine import Request, Take

if TYPE_CHECKING:
    from steplens.languages.table import Language

log = logging.getLogger(__name__)

# A member may say any size, and a few bytes of gzip give as many zeros: nothing so large is read. Two
# minutes of 32-bit stereo at 48 kHz are 46 MB.
_MAX_MEMBER_BYTES = 100_000_000
# What a recording may lack or have more than its line says, in ms: resampling rounds, and codecs of frames
# (MP3) fill up the last one. In 20 ms no sound is lost that could be heard.
_LACKING_MS, _MORE_MS = 20.0, 200.0
_TELLING = 5  # so many recordings that are not there, and not one that is, are no accident


def open_engine(
    language: "Language", settings: dict[str, Any], seed: int, threads: int
) -> "Recorded":
    """The recordings of one language.

    Parameters
    ----------
    language : Language
    settings : dict
        ``audio``: split name to its archive or folder.
    seed, threads : int
        Not used.
    """
    return Recorded(language, {split: Path(path) for split, path in settings["audio"].items()})


class Recorded:
    """Recordings by (split, file)."""

    voice = "FLEURS speakers"

    def __init__(self, language: "Language", audio: dict[str, Path]):
        for split, path in audio.items():
            if not path.exists():
                raise FileNotFoundError(
                    f"{path}: expected the recordings of {language.name} ({language.code}), split "
                    f"{split}: an archive as FLEURS publishes it, or a folder with its files; got nothing "
                    "there: fetch it (snakemake fetch)"
                )
            if not path.is_dir() and (kind := other_kind(path)):
                raise ValueError(
                    f"{path}: expected an archive of recordings, got {kind}; put the file itself there"
                )
        self._audio = audio
        self._language = language
        self._known: set[str] = set()  # splits whose source gave a recording

    def n_attempts(self, request: Request) -> int:
        """As many as the sentence has recordings."""
        return len(request.recordings)

    def speak(self, requests: Sequence[Request]) -> Iterator[Take]:
        """Yield one recording a request; every archive is read through once.

        Raises
        ------
        ValueError
            An archive cannot be read to the end, or holds none of several recordings: it is another.
        """
        wanted = [request.recordings[request.attempt] for request in requests]
        found = {}
        for split in dict.fromkeys(split for split, _, _ in wanted):
            names = {name for other, name, _ in wanted if other == split}
            files = self._files(split, names)
            missing = sorted(names - set(files))
            if missing:
                log.warning("%s: %d recordings are not there, the first %s", self._audio[split],
                            len(missing), missing[0])  # fmt: skip
            found |= {(split, name): data for name, data in files.items()}
        for split, name, n_samples in wanted:
            yield _take(found.get((split, name)), f"{split}/{name}", n_samples)

    def _files(self, split: str, names: set[str]) -> dict[str, bytes]:
        source = self._audio[split]
        read = _files_of_folder if source.is_dir() else _files_of_archive
        files = read(source, names)
        if files:
            self._known.add(split)
        elif len(names) >= _TELLING and split not in self._known:
            raise ValueError(
                f"{source}: expected recordings of {self._language.name} ({self._language.code}) such as "
                f"{min(names)}, found none of {len(names)}; are they of another language or split?"
            )
        return files


def _files_of_folder(source: Path, names: set[str]) -> dict[str, bytes]:
    """The wanted files as bytes by name; none is as large as no recording is."""
    found = {}
    for name in names:
        path = source / name
        if not path.is_file():
            if kind := other_kind(path):
                log.warning("%s: passed over, %s", path, kind)
            continue
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > _MAX_MEMBER_BYTES:
                log.warning("%s: passed over, of %d bytes", path, size)
                continue
            found[name] = file.read(_MAX_MEMBER_BYTES)
    return found


def _files_of_archive(source: Path, names: set[str]) -> dict[str, bytes]:
    """The wanted files as bytes by name; nothing is written, and no link followed."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(source, "r:*") as archive:
            for member in archive:
                *folders, name = member.name.split("/")
                if name not in names or name in found or not member.isfile():
                    continue
                if member.name.startswith("/") or ".." in folders:
                    log.warning("%s: passed over %s", source, member.name)
                    continue
                if member.size > _MAX_MEMBER_BYTES:
                    log.warning("%s: passed over %s, of %d bytes", source, member.name, member.size)
                    continue
                found[name] = archive.extractfile(member).read()
            # To the end, where the checksum stands: tarfile itself takes damage for the end.
            while archive.fileobj.read(1 << 20):
                pass
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        instead = instead_of_content(source)
        why = (
            f"it is {instead}"
            if instead
            else f"it cannot be read to the end ({_first_line(error)})"
        )
        raise ValueError(
            f"{source}: expected an archive of recordings, but {why}; fetch it again"
        ) from error
    return found


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _take(data: bytes | None, origin: str, n_samples: int) -> Take:
    nothing = np.zeros(0, dtype=np.float32)
    if data is None:
        return Take(nothing, origin=origin, fault=f"recording {origin} is missing")
    try:
        wave, rate = read_recording(data)
    except ValueError as error:
        return Take(nothing, origin=origin, fault=f"recording {origin} {error}")
    wave = resample(wave, rate)
    wrong = _wrong_length(len(wave), n_samples) or _offset(wave)
    return Take(wave, origin=origin, fault=f"recording {origin} {wrong}" if wrong else "")


def _wrong_length(found: int, expected: int) -> str:
    """How two numbers of samples at 16 kHz disagree, in words; empty if they do not."""
    if expected <= 0:
        return f"may lack anything: its line says {expected} samples, and the file has {found}"
    more_ms = 1000 * (found - expected) / SAMPLING_RATE_HZ
    if more_ms < -_LACKING_MS:
        return f"is truncated: {found} of {expected} samples at 16 kHz"
    if more_ms > _MORE_MS:
        return f"is another than its line says: {found} samples at 16 kHz instead of {expected}"
    return ""


def _offset(wave: np.ndarray) -> str:
    """That most of the power is a constant, in words; empty if it is sound."""
    mean, deviation = wave.mean(dtype=np.float64), wave.std(dtype=np.float64)
    return f"has a DC offset of {mean:.2f}" if abs(mean) > deviation else ""
