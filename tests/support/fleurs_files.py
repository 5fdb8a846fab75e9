"""Writes folders as FLEURS is published: TSVs with its quirks, archives of recordings with theirs.

Every recording is a tone of its own frequency, so that a test can tell which one was taken.
"""

import io
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from steplens.languages.table import Language, load_languages

LANGUAGES = load_languages()
RATE_HZ = 16_000


def line(number, raw="Guten Tag.", text="guten tag", file=None, samples=32000):
    """One line of a TSV."""
    letters = "|".join(text) + " |"
    return "\t".join(
        [str(number), file or f"{number}.wav", raw, text, letters, str(samples), "FEMALE"]
    )


def write_split(folder: Path, language: Language, split: str, lines: list[str]) -> Path:
    """``data/<code>/<split>.tsv``."""
    path = folder / "data" / language.fleurs / f"{split}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(f"{one}\n" for one in lines).encode())
    return path


def tone(hz: float, seconds: float, rate_hz: int = RATE_HZ, peak: float = 0.3) -> np.ndarray:
    """(n_samples,) float32."""
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    return (peak * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def pitch_hz(wave: np.ndarray, rate_hz: int = RATE_HZ) -> float:
    """The strongest frequency."""
    spectrum = np.abs(np.fft.rfft(wave))
    return float(spectrum.argmax() * rate_hz / len(wave))


def wav(wave: np.ndarray, rate_hz: int = RATE_HZ, subtype: str = "FLOAT") -> bytes:
    """A WAV file; as in FLEURS, of 32-bit floats, unless said otherwise."""
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate_hz, format="WAV", subtype=subtype)
    return buffer.getvalue()


@dataclass
class Recording:
    """One line of a TSV and its audio; ``data`` None: the archive does not have it."""

    number: int
    file: str
    raw: str
    text: str
    data: bytes | None
    samples: int

    @property
    def line(self) -> str:
        return line(self.number, self.raw, self.text, self.file, self.samples)


def spoken(number: int, file: str, hz: float, raw: str, text: str, seconds=1.5) -> Recording:
    """A good recording."""
    wave = tone(hz, seconds)
    return Recording(number, file, raw, text, wav(wave), len(wave))


@dataclass
class Split:
    """What one language has in one split."""

    recordings: list[Recording] = field(default_factory=list)
    # Members of the archive that no line names: (TarInfo, content).
    strays: list[tuple[tarfile.TarInfo, bytes]] = field(default_factory=list)

    def write(self, folder: Path, language: Language, split: str, archive: bool = True) -> None:
        """The TSV and, with ``archive``, the recordings."""
        write_split(folder, language, split, [one.line for one in self.recordings])
        if archive:
            members = [
                (member(f"{split}/{one.file}"), one.data)
                for one in self.recordings
                if one.data is not None
            ]
            write_archive(
                folder / "data" / language.fleurs / "audio" / f"{split}.tar.gz",
                [(directory(split), b""), *self.strays, *members],
            )

    def unpack(self, folder: Path, language: Language, split: str) -> Path:
        """The recordings as files in a folder instead of the archive."""
        here = folder / "data" / language.fleurs / "audio" / split
        here.mkdir(parents=True)
        for one in self.recordings:
            if one.data is not None:
                (here / one.file).write_bytes(one.data)
        here.with_name(f"{split}.tar.gz").unlink(missing_ok=True)
        return here


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    """A member of an archive, without content."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def directory(name: str) -> tarfile.TarInfo:
    """A folder within an archive."""
    return member(name, tarfile.DIRTYPE)


def write_archive(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    """A gzipped archive of these members, in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for info, content in members:
            info.size = len(content) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(content))
    return path


def _german() -> dict[str, Split]:
    good, silence = tone(300, 2.0), np.zeros(2 * RATE_HZ, np.float32)
    text = "das rad ist rund"
    whole = wav(good)

    def one(number, file, data, samples, raw="Das Rad ist rund.", said=text):
        return Recording(number, file, raw, said, data, samples)

    test = [
        # A silent recording first, a good one after other sentences.
        one(10, "a10.wav", wav(silence), len(silence)),
        # Cut off in the middle of its samples; undecodable; then 16-bit and good.
        one(11, "a11.wav", whole[: len(whole) // 2], len(good)),
        one(11, "b11.wav", b"RIFF and no more", len(good)),
        one(11, "c11.wav", wav(tone(411, 2.0), subtype="PCM_16"), len(good)),
        one(10, "b10.wav", wav(tone(410, 2.0)), len(good)),
        # Stereo at 48 kHz.
        one(12, "a12.wav", wav(np.stack([tone(412, 2.0, 48_000)] * 2, 1), 48_000), len(good)),
        # Nothing that can be read.
        one(13, "a13.wav", b"no WAV", len(good)),
        one(13, "b13.wav", b"", len(good)),
        one(14, "a14.wav", None, len(good)),
        one(
            15, "a15.wav", wav(tone(415, 2.0)), len(good), '"Das Rad ist rund.', '"das rad ist rund'
        ),
        # A line without text, a line with it, a line with another text.
        one(16, "a16.wav", wav(tone(316, 2.0)), len(good), "", ""),
        one(16, "b16.wav", wav(tone(416, 2.0)), len(good)),
        one(16, "c16.wav", wav(tone(516, 2.0)), len(good), "Ganz anders.", "ganz anders"),
        # A tenth of a second less than the line says, then nothing that can be read.
        one(17, "a17.wav", wav(tone(417, 2.0)), len(good) + 1600),
        one(17, "b17.wav", b"", len(good)),
    ]
    dev = [
        one(14, "b14.wav", wav(tone(414, 2.0)), len(good)),
        spoken(18, "a18.wav", 418, 'Er sagte "nein".', 'er sagte "nein"'),
        spoken(19, "a19.wav", 419, "Es regnet heute.", "es regnet heute"),
    ]
    return {"test": Split(test), "dev": Split(dev)}


def _plain(hz: float, raw: str, text: str, without: tuple[int, ...] = ()) -> dict[str, Split]:
    ids = {"test": range(10, 18), "dev": (14, 18, 19)}
    return {
        split: Split(
            [
                spoken(number, f"{split}{number}.wav", hz + number, raw, text)
                for number in numbers
                if number not in without
            ]
        )
        for split, numbers in ids.items()
    }


def published() -> dict[str, dict[str, Split]]:
    """By language and split: German has every fault, Mandarin spaces, French lacks two sentences."""
    return {
        "deu": _german(),
        "fra": _plain(500, "La roue est ronde.", "la roue est ronde", without=(15, 19)),
        "cmn": _plain(600, "轮子是圆的。", "轮 子 是 圆 的"),
        "eng": _plain(700, "The wheel is round.", "the wheel is round"),
    }


def write_fleurs(folder: Path, archives: bool = True) -> Path:
    """A folder with all that ``published`` gives."""
    for code, splits in published().items():
        for name, split in splits.items():
            split.write(folder, LANGUAGES[code], name, archives)
    return folder
