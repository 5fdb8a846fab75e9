"""Coqui XTTS v2 (D13, engine ``xtts``): one named speaker for all languages, through ``coqui-tts``.

XTTS samples, so every part of every utterance has a seed of its own, drawn from the run's seed, the
language, the sentence id, the attempt and the part. Text is split where it is longer than XTTS speaks
well (``char_limits`` of its tokenizer) or can speak at all (its text positions). Parts of many utterances
go through its GPT together (``xtts_batch.py``), which one at a time would read all its weights for every
21st of a second.
"""

import difflib
import hashlib
import json
import logging
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations
from TTS.tts.configs.xtts_config import XttsConfig
from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer
from TTS.tts.models import xtts as library

from steplens.batches.batching import run_batches
from steplens.errors import ConfigError, shown
from steplens.files.audio import resample
from steplens.files.hub import hub_file, is_hub_name
from steplens.project import project_path
from steplens.speech.engines.engine import Request, Take
from steplens.speech.engines.splitting import split_text
from steplens.speech.engines.xtts_batch import Spoken, generate
from steplens.speech.engines.xtts_files import CPML, FILES, check_xtts, require_unchanged
from steplens.speech.engines.xtts_sampling import Sampling

if TYPE_CHECKING:
    from steplens.languages.table import Language

log = logging.getLogger(__name__)

BATCH_SIZE = 16  # where the configuration says nothing


class _Checkpoint(library.Xtts):
    """Xtts as published, read without being written to.

    coqui-tts rewrites a checkpoint of the first form in place when it loads it: several jobs would
    do so at once, in a cache that may be shared or read-only.
    """

    def _load_checkpoint(self, model_path: Path) -> dict:
        checkpoint = _read_tensors(model_path)
        if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model"), dict):
            raise ConfigError(
                _wrong_file(model_path, f"a {type(checkpoint).__name__} without model")
            )
        return checkpoint["model"]


def _read_tensors(path: Path) -> Any:
    """What torch reads of a file without running code that it holds."""
    try:
        with library._legacy_safe_globals():
            return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        # In our words: torch's advise to load it without the protection.
        refused = "Unsupported" in str(error) or "GLOBAL" in str(error)
        kind = "a pickle of other things, which could run code" if refused else _short(error)
        raise ConfigError(_wrong_file(path, kind)) from error


def _wrong_file(path: Path, got: str) -> str:
    return f"speech.xtts.path: {path}: expected the file as XTTS v2 publishes it, got {got}; fetch it again"


def _short(error: Exception, at_most: int = 150) -> str:
    """The beginning of an error, in one line: torch lists every tensor that does not fit."""
    words = " ".join((str(error) or type(error).__name__).split())
    return words if len(words) <= at_most else f"{words[:at_most]} …"


def _read_speakers(path: Path) -> dict[str, Any]:
    """Latents and embedding by speaker."""
    speakers = _read_tensors(path)
    if not isinstance(speakers, dict) or not all(
        isinstance(one, dict) and len(one) == 2 and all(map(torch.is_tensor, one.values()))
        for one in speakers.values()
    ):
        raise ConfigError(_wrong_file(path, "no two tensors a speaker"))
    return speakers


def _check_vocabulary(path: Path) -> None:
    try:
        Tokenizer.from_file(str(path))
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise ConfigError(_wrong_file(path, _short(error))) from error


def _read_config(path: Path) -> XttsConfig:
    config = XttsConfig()
    try:
        if json.loads(path.read_text(encoding="utf-8")).get("model") != "xtts":
            raise ValueError("the config of another model")
        config.load_json(str(path))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(_wrong_file(path, _short(error))) from error
    return config


def checkpoint_files(path: str, revision: str | None) -> dict[str, Path]:
    """The files of an XTTS checkpoint, from a folder or the hub, by name.

    Raises
    ------
    ConfigError
        A folder lacks one.
    HubError
        The hub cannot give one.
    """
    check_xtts(path)
    if is_hub_name(path):
        return {name: hub_file(path, name, revision) for name in FILES}
    return {name: project_path(path) / name for name in FILES}


def open_engine(
    language: "Language", settings: dict[str, Any], seed: int, threads: int
) -> "XttsEngine":
    """XTTS v2 for one language.

    Parameters
    ----------
    language : Language
    settings : dict
        As ``speech.xtts`` of the configuration, and ``batch_size``: parts of utterances that are
        spoken together, 16 unless given; halved where memory does not suffice.
    seed : int
        The run's seed.
    threads : int
        Not used: torch takes those of the job.

    Raises
    ------
    ValueError
        The licence is not accepted, the checkpoint lacks the language or the speaker, or one of its files
        is another: what holds more than tensors is not read.
    """
    files, config = _read_front(language, settings)
    require_unchanged(settings["path"], settings.get("digest", ""))
    _read_speakers(files["speakers_xtts.pth"])
    model = _Checkpoint(config)
    try:
        model.load_checkpoint(
            config,
            checkpoint_path=str(files["model.pth"]),
            vocab_path=str(files["vocab.json"]),
            speaker_file_path=str(files["speakers_xtts.pth"]),
            eval=True,
        )
    except RuntimeError as error:  # of load_state_dict
        wrong = f"weights that do not fit config.json: {_short(error)}"
        raise ConfigError(_wrong_file(files["model.pth"], wrong)) from error
    device = settings["device"]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "speech.xtts.device: expected a GPU for 'cuda', got none that torch sees; use 'auto' or 'cpu'"
        )
    settle_weights(model.hifigan_decoder.waveform_decoder)
    batch_size = settings.get("batch_size") or BATCH_SIZE
    return XttsEngine(model.to(device), language, settings["speaker"], seed, batch_size)


def _read_front(
    language: "Language", settings: dict[str, Any]
) -> tuple[dict[str, Path], XttsConfig]:
    """The checkpoint's files, and its configuration with a vocabulary that can be read."""
    if not settings["accept_cpml"]:
        raise ConfigError(CPML)
    files = checkpoint_files(settings["path"], settings["revision"])
    config = _read_config(files["config.json"])
    _check_vocabulary(files["vocab.json"])
    if language.xtts not in config.languages:
        raise ValueError(
            f"speech.xtts.path: {settings['path']} speaks {', '.join(config.languages)}, "
            f"not {language.xtts or 'an unnamed language'} ({language.name}); expected the language among "
            "them, so speak it by another engine (speech.fallback)"
        )
    return files, config


def settle_weights(vocoder: torch.nn.Module) -> None:
    """Normalise a vocoder's weights once: as loaded, it would do so for every waveform."""
    for module in vocoder.modules():
        if is_parametrized(module, "weight"):
            remove_parametrizations(module, "weight")


@torch.inference_mode()
def vocode(
    decoder: torch.nn.Module, spoken: Sequence[Spoken], speaker: torch.Tensor
) -> list[np.ndarray]:
    """Waveforms, (n_samples,) float32 each, at the decoder's own rate.

    One by one: a waveform keeps the device busy by itself, and padding would be heard. All are under
    way before the first is waited for.
    """
    waves = [decoder(one.latents[None], g=speaker).flatten() for one in spoken]
    return [wave.cpu().numpy() for wave in waves]


class TextFrontEnd:
    """Text to tokens, as XTTS v2 takes them.

    Parameters
    ----------
    tokenizer : VoiceBpeTokenizer
    language : str
        XTTS's code.
    max_tokens : int
        Text positions of its GPT.
    """

    def __init__(self, tokenizer: VoiceBpeTokenizer, language: str, max_tokens: int):
        self._tokenizer = tokenizer
        self._language = language.split("-")[0]
        self._max_characters = tokenizer.char_limits[self._language]
        self._max_tokens = max_tokens

    def parts(self, text: str) -> list[str]:
        """A text within the limits of characters and of tokens."""
        return split_text(text, self._fits)

    def _fits(self, part: str) -> bool:
        if len(part) > self._max_characters:
            return False
        return len(self.tokens(part)) < self._max_tokens

    def tokens(self, part: str) -> list[int]:
        """Ids of one part."""
        if self._language == "tr":  # whose i keeps its dot, and whose I has none
            part = part.replace("İ", "i").replace("I", "ı")
        return self._tokenizer.encode(part.strip().lower(), self._language)


def text_faults(language: "Language", settings: dict[str, Any], texts: Sequence[str]) -> list[str]:
    """Why the text front end cannot take a text, one a text; empty where it can. Loads no weights.

    Parameters
    ----------
    language : Language
    settings : dict
        As ``open_engine``.
    texts : sequence of str

    Raises
    ------
    ModuleNotFoundError
        The front end of the language needs a package that is not installed.
    ConfigError, ValueError
        As ``open_engine``.
    """
    files, config = _read_front(language, settings)
    tokenizer = VoiceBpeTokenizer(str(files["vocab.json"]))
    front = TextFrontEnd(tokenizer, language.xtts, config.model_args.gpt_max_text_tokens)
    return [_fault(front, text) for text in texts]


def _fault(front: TextFrontEnd, text: str) -> str:
    try:
        for part in front.parts(text):
            front.tokens(part)
    except ImportError:
        raise
    except Exception as error:  # the library raises what comes, and each is of this sentence alone
        why = _short(error, 60) if str(error) else ""
        return (
            f"XTTS's text front end refuses {shown(text, 60)}: {type(error).__name__}"
            f"{f' ({why})' if why else ''}"
        )
    return ""


class XttsEngine:
    """Speaks one language with one speaker.

    Parameters
    ----------
    model : Xtts
        Loaded, on its device.
    language : Language
    speaker : str
    seed : int
        The run's.
    batch_size : int
        Parts of utterances that are spoken together.

    Notes
    -----
    What is spoken for a request does not depend on the other requests, but for the rounding of floats,
    which differs with the number of rows: samples by 1e-5 or so. Rarely, a code is drawn that close to
    the border of another one, and the rest of that take differs.
    """

    def __init__(
        self,
        model: library.Xtts,
        language: "Language",
        speaker: str,
        seed: int,
        batch_size: int = BATCH_SIZE,
    ):
        speakers = model.speaker_manager.speakers
        if speaker not in speakers:
            close = difflib.get_close_matches(speaker, speakers, n=3, cutoff=0.3)
            raise ValueError(
                f"speech.xtts.speaker: expected one of the checkpoint's {len(speakers)} speakers, got "
                f"{speaker!r}; close: {', '.join(close) or ', '.join(list(speakers)[:5])}"
            )
        self.voice = speaker
        self._model = model
        self._seed = f"{seed} {language.code}"
        self.batch_size = batch_size
        self._most_rows = batch_size  # parts that fit into memory, as far as is known
        latent, embedding = speakers[speaker].values()
        self._latent = latent.to(model.device)
        self._embedding = embedding.to(model.device)
        names = ("temperature", "repetition_penalty", "top_k", "top_p")
        self._sampling = Sampling(**{name: getattr(model.config, name) for name in names})
        self._front = TextFrontEnd(model.tokenizer, language.xtts, model.args.gpt_max_text_tokens)
        self._rate_hz = model.args.output_sample_rate

    def n_attempts(self, request: Request) -> None:
        """Any number: every attempt has another seed."""
        return None

    def parts(self, text: str) -> list[str]:
        """A text as XTTS is given it: within its limits of characters and of text tokens."""
        return self._front.parts(text)

    def seed_of(self, request: Request, part: int) -> int:
        """The seed of one part: 63 bits out of what identifies it, and nothing else."""
        name = f"{self._seed} {request.utterance} {request.attempt} {part}"
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1

    def speak(self, requests: Sequence[Request]) -> Iterator[Take]:
        """Yield one take a request, in order, each as soon as it and those before it are spoken.

        Requests are batched as they come: little is wasted if their lengths are similar. The same
        requests give the same samples to the bit, on the same device with the same ``batch_size``,
        unless a batch does not fit into memory and is halved.
        """
        parts = [self.parts(request.text) for request in requests]
        rows = [(number, part) for number, texts in enumerate(parts) for part in range(len(texts))]
        lengths = [len(parts[number][part]) for number, part in rows]

        def run(batch: np.ndarray) -> list[np.ndarray]:
            of = [rows[row] for row in batch]
            texts = [parts[number][part] for number, part in of]
            return self._waves(texts, [self.seed_of(requests[number], part) for number, part in of])

        waves: dict[tuple[int, int], np.ndarray] = {}
        number = 0
        at_a_time = min(self.batch_size, self._most_rows)
        batches = run_batches(lengths, at_a_time, at_a_time, run)
        for count, (batch, spoken) in enumerate(batches):
            if not count and len(batch) < min(at_a_time, len(rows)):
                self._most_rows = len(batch)  # it was halved: later calls need not try again
            waves |= {rows[row]: wave for row, wave in zip(batch, spoken, strict=True)}
            while number < len(requests):
                keys = [(number, part) for part in range(len(parts[number]))]
                if not all(key in waves for key in keys):
                    break
                yield self._take(requests[number], [waves.pop(key) for key in keys])
                number += 1

    def _waves(self, texts: list[str], seeds: list[int]) -> list[np.ndarray]:
        """(n_samples,) arrays at the model's own rate."""
        tokens = [self._front.tokens(text) for text in texts]
        spoken = generate(self._model.gpt, self._latent, tokens, seeds, self._sampling)
        return vocode(self._model.hifigan_decoder, spoken, self._embedding)

    def _take(self, request: Request, waves: list[np.ndarray]) -> Take:
        wave = np.concatenate(waves).astype(np.float32)
        fault = ""
        if not np.isfinite(wave).all():
            fault, wave = "NaN or infinity in the audio", np.zeros(0, dtype=np.float32)
        return Take(
            resample(wave, self._rate_hz),
            seed=self.seed_of(request, 0),
            origin=f"{len(waves)} part{'s' * (len(waves) > 1)}",
            fault=fault,
        )
