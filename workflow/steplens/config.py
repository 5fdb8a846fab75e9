"""The configuration of a run: every key with its type, unit, default and meaning.

``config/README.md`` is written from this file, and a test holds the two together. An unknown key, a
mistyped language or an impossible value is refused before any job starts.
"""

import difflib
import re
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from .errors import ConfigError
from .hub import is_hub_name
from .languages import Language, load_languages


def _key(description: str, redoes: str, default: Any = ..., **limits: Any) -> Any:
    return Field(default, description=description, json_schema_extra={"redoes": redoes}, **limits)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ModelSection(_Section):
    """Which checkpoint is studied."""

    path: str = _key(
        "Checkpoint: a folder (relative to the project), or a name on the Hugging Face hub.",
        "encode and all that follows",
        "resources/demo/seamless-m4t-v2-demo",
    )
    revision: str | None = _key(
        "Commit of the checkpoint on the hub; pin it, so that a run can be repeated.",
        "encode and all that follows",
        None,
    )
    dtype: Literal["auto", "float16", "float32"] = _key(
        "Precision of weights and computation; auto is float16 on a GPU and float32 on a CPU.",
        "encode and all that follows",
        "auto",
    )
    device: Literal["auto", "cpu", "cuda"] = _key(
        "Where the model runs; auto is the GPU where there is one.",
        "encode and all that follows",
        "auto",
    )


class CorpusSection(_Section):
    """Which sentences."""

    path: str = _key(
        "FLEURS: a folder in its published layout (data/<code>/<split>.tsv), or its name on the "
        "Hugging Face hub, google/fleurs.",
        "everything, where sentences change",
        "resources/demo/fleurs",
    )
    revision: str | None = _key(
        "Commit of the data set on the hub. Later ones than the one of config/paper.yaml have another "
        "layout.",
        "everything, where sentences change",
        None,
    )
    splits: list[str] = _key(
        "Splits to draw from, in this order; a sentence that stands in two is taken once.",
        "everything, where sentences change",
        ["test"],
        min_length=1,
    )
    n_utterances: int = _key(
        "Sentences a language.", "everything, where sentences change", 60, ge=2
    )
    parallel_over: list[str] = _key(
        "Take only sentences that all of these languages have; empty: no restriction.",
        "everything, where sentences change",
        [],
    )

    @field_validator("parallel_over")
    @classmethod
    def _parallel_over(cls, languages: list[str]) -> list[str]:
        for language in languages:
            _require_language(language)
        return _without_repeats(languages)


ENGINES = ("xtts", "recorded", "espeak")
EngineName = Literal["xtts", "recorded", "espeak"]


class XttsSection(_Section):
    """Coqui XTTS v2."""

    path: str = _key(
        "Checkpoint: a folder with model.pth, config.json, vocab.json and speakers_xtts.pth, or a name "
        "on the Hugging Face hub.",
        "the speech of this engine and all that follows",
        "coqui/XTTS-v2",
    )
    revision: str | None = _key(
        "Commit of the checkpoint on the hub.",
        "the speech of this engine and all that follows",
        "6c2b0d75eae4b7047358e3b6bd9325f857d43f77",
    )
    speaker: str = _key(
        "One of the speakers that come with the checkpoint; the same for all languages.",
        "the speech of this engine and all that follows",
        "Ana Florence",
    )
    accept_cpml: bool = _key(
        "Whether you accept the Coqui Public Model License (non-commercial; coqui.ai/cpml). XTTS v2 is "
        "neither fetched nor run without.",
        "nothing",
        False,
    )
    device: Literal["auto", "cpu", "cuda"] = _key(
        "Where XTTS runs; auto is the GPU where there is one.",
        "the speech of this engine and all that follows",
        "auto",
    )


class EspeakSection(_Section):
    """eSpeak NG."""

    words_per_minute: int = _key(
        "Speaking rate, in words a minute.",
        "the speech of this engine and all that follows",
        220,
        ge=80,
        le=450,
    )


class ChecksSection(_Section):
    """When an utterance is made again, or flagged."""

    max_attempts: int = _key(
        "How often an utterance that fails a check of its audio is made, each time with another seed "
        "(xtts) or from another recording (recorded).",
        "speech, where an utterance fails",
        4,
        ge=1,
        le=100,
    )
    min_seconds_per_character: float = _key(
        "Shorter audio was cut off. In seconds a letter; kana count as two letters, Han, Hangul and "
        "Ethiopic characters as three.",
        "speech, where an utterance fails",
        0.025,
        ge=0,
    )
    max_seconds_per_character: float = _key(
        "Longer audio has speech or silence that the text does not have; counted likewise.",
        "speech, where an utterance fails",
        0.25,
        gt=0,
    )
    max_silent_share: float = _key(
        "Share of frames of 20 ms that lie 40 dB or more under the loudest one.",
        "speech, where an utterance fails",
        0.6,
        gt=0,
        le=1,
    )
    max_clipped_share: float = _key(
        "Share of samples at full scale.",
        "speech, where an utterance fails",
        0.001,
        ge=0,
        le=1,
    )
    max_cer: float = _key(
        "Utterances whose character error rate in the model's own asr is higher are flagged.",
        "rank and all that follows, where an utterance is flagged",
        0.5,
        gt=0,
    )
    leave_out_flagged: bool = _key(
        "Whether flagged utterances are left out of every statistic, in speech and in text.",
        "rank and all that follows",
        True,
    )


class SpeechSection(_Section):
    """How sentences become speech."""

    engine: EngineName = _key(
        "xtts is Coqui XTTS v2; recorded is FLEURS's own audio; espeak is eSpeak NG, small and offline.",
        "speech, the speech encoder and all that follows",
        "espeak",
    )
    fallback: list[EngineName] = _key(
        "Engines, in this order, for languages that the engine does not speak; empty: such a language is "
        "refused. Another engine is another voice: language and voice are then confounded.",
        "the speech of those languages and all that follows",
        [],
    )
    other_engine: EngineName | None = _key(
        "An engine to set against the first one, as a part of the run (and as the target "
        "compare_speech): recorded, for synthetic against natural speech.",
        "the speech half of the run for the other engine, and the report",
        None,
    )
    xtts: XttsSection = Field(default_factory=XttsSection)
    espeak: EspeakSection = Field(default_factory=EspeakSection)
    checks: ChecksSection = Field(default_factory=ChecksSection)

    def engine_for(self, language: Language) -> EngineName | None:
        """The first of engine and fallback that speaks a language; None if none does."""
        return next((one for one in (self.engine, *self.fallback) if one in language.engines), None)


class StoreSection(_Section):
    """How activations are kept."""

    dtype: Literal["float16", "float32"] = _key(
        "Precision of stored activations. float32 doubles the disk.",
        "encode, capture and all that follows",
        "float16",
    )


class BatchSection(_Section):
    """How many utterances go through the model together; a matter of memory, not of results."""

    encode: int = _key("Utterances a batch in encode.", "nothing", 16, ge=1)
    decode: int = _key("Utterances a batch in decode.", "nothing", 64, ge=1)
    capture: int = _key("Utterances a batch in capture.", "nothing", 64, ge=1)
    steer: int = _key("Sentences a batch in steer.", "nothing", 640, ge=1)


class DecodingSection(_Section):
    """Greedy generation."""

    max_new_tokens: int = _key(
        "Tokens at most of one output, end of sentence included.",
        "decode, capture, steer and all that follows",
        48,
        ge=2,
    )


class RankingSection(_Section):
    """Which neurons are ranked."""

    include_step_invariant: bool = _key(
        "Whether the cross-attention's keys and values, which are the same at every step, take part.",
        "rank and all that follows",
        True,
    )


class ComparisonSection(_Section):
    """Speech against text."""

    k: int = _key("Neurons in a language's top-k set.", "compare and location", 400, ge=1)
    k_sweep: list[int] = _key(
        "Values of k for the sensitivity of the diagonal ratio (figure 6).",
        "the sensitivity analysis",
        [25, 50, 100, 200, 400, 800, 1600],
        min_length=1,
    )
    resamples: int = _key(
        "Bootstrap resamples for the diagonal ratio; every neuron is ranked again in each.",
        "compare",
        200,
        ge=20,
    )

    @field_validator("k_sweep")
    @classmethod
    def _k_sweep(cls, sizes: list[int]) -> list[int]:
        wrong = [k for k in sizes if k < 1]
        if wrong:
            raise PydanticCustomError("k_sweep", f"expected values of k from 1 on, got {wrong[0]}")
        return _without_repeats(sizes)


class SteeringSection(_Section):
    """Steering the output language."""

    k: int = _key(
        "Neurons replaced: the top k and, again, the bottom k of the target language.",
        "steer and its results",
        400,
        ge=1,
    )
    n_utterances: int = _key(
        "Sentences steered a source language, from the start of its corpus.",
        "steer and its results",
        40,
        ge=1,
    )
    n_random: int = _key(
        "Random-neuron controls a target language, each with its own seed.",
        "steer and its results",
        2,
        ge=1,
    )
    resamples: int = _key(
        "Bootstrap resamples for rates, ratios and differences.",
        "the steering tables",
        1000,
        ge=100,
    )
    min_source_rate: float = _key(
        "Pairs whose asr control rate is lower have no effect ratio (share, 0 to 1).",
        "the effect ratios",
        0.10,
        ge=0,
        le=1,
    )
    degenerate_tokens: int = _key(
        "An output counts as degenerate with an immediate repetition of at least so many tokens.",
        "the quality table",
        12,
        ge=4,
    )


class Config(_Section):
    """A run."""

    run: str = _key(
        "Name of the run: results stand in results/<run>/.",
        "everything, in another folder",
        "demo",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
    )
    seed: int = _key(
        "Seed of the choice of sentences, of random neurons and of the bootstrap.",
        "everything, where sentences change",
        1,
        ge=0,
    )
    languages: list[str] = _key(
        "Languages under study, by ISO 639-3 code, as in resources/languages.tsv.",
        "what is new of the language, rank and all that follows",
        ["deu", "spa", "fra", "cmn", "jpn"],
        min_length=2,
    )
    output_language: str = _key(
        "What s2t and t2t translate into; not one of languages.",
        "decode of s2t and t2t and all that follows",
        "eng",
    )
    steps: list[int] = _key(
        "Decoding steps t, from 1: the position that predicts the t-th content token.",
        "capture of the new step and what follows from it",
        [1, 6, 11],
        min_length=1,
    )
    model: ModelSection = Field(default_factory=ModelSection)
    corpus: CorpusSection = Field(default_factory=CorpusSection)
    speech: SpeechSection = Field(default_factory=SpeechSection)
    store: StoreSection = Field(default_factory=StoreSection)
    batch_size: BatchSection = Field(default_factory=BatchSection)
    decoding: DecodingSection = Field(default_factory=DecodingSection)
    ranking: RankingSection = Field(default_factory=RankingSection)
    comparison: ComparisonSection = Field(default_factory=ComparisonSection)
    steering: SteeringSection = Field(default_factory=SteeringSection)

    @field_validator("steps")
    @classmethod
    def _steps(cls, steps: list[int]) -> list[int]:
        wrong = [step for step in steps if step < 1]
        if wrong:
            raise PydanticCustomError("steps", f"expected steps from 1 on, got {wrong[0]}")
        return _without_repeats(steps)

    @field_validator("languages")
    @classmethod
    def _languages(cls, languages: list[str]) -> list[str]:
        for language in languages:
            _require_language(language)
        return _without_repeats(languages)

    @field_validator("output_language")
    @classmethod
    def _output_language(cls, language: str) -> str:
        _require_language(language)
        return language

    @model_validator(mode="after")
    def _together(self) -> "Config":
        if self.output_language in self.languages:
            raise PydanticCustomError(
                "output_language",
                f"output_language: expected a language that is not among languages, got "
                f"{self.output_language!r}: translating a language into itself is tr, not t2t",
            )
        too_far = [step for step in self.steps if step > self.decoding.max_new_tokens]
        if too_far:
            raise PydanticCustomError(
                "steps",
                f"steps: expected at most decoding.max_new_tokens = {self.decoding.max_new_tokens}, "
                f"got {too_far[0]}",
            )
        for key, section in (("model", self.model), ("corpus", self.corpus)):
            _require_revision(key, section.path, section.revision)
        self._speech_can_be_made()
        if self.steering.n_utterances > self.corpus.n_utterances:
            raise PydanticCustomError(
                "steering",
                "steering.n_utterances: expected at most corpus.n_utterances = "
                f"{self.corpus.n_utterances}, got {self.steering.n_utterances}",
            )
        return self

    def _speech_can_be_made(self) -> None:
        speech, checks = self.speech, self.speech.checks
        if checks.min_seconds_per_character >= checks.max_seconds_per_character:
            raise PydanticCustomError(
                "checks",
                "speech.checks: expected min_seconds_per_character below max_seconds_per_character, got "
                f"{checks.min_seconds_per_character} and {checks.max_seconds_per_character}",
            )
        known = load_languages()
        for code in self.languages:
            language = known[code]
            if speech.engine_for(language) is None:
                asked = " and ".join([speech.engine, *speech.fallback])
                spoken = ", ".join(language.engines) or "none of the engines"
                raise PydanticCustomError(
                    "speech",
                    f"speech.engine: {asked} cannot speak {language.name} ({code}); it is spoken by "
                    f"{spoken}: name one of them under speech.fallback, or leave the language out",
                )
            if speech.other_engine and speech.other_engine not in language.engines:
                raise PydanticCustomError(
                    "speech",
                    f"speech.other_engine: {speech.other_engine} cannot speak {language.name} ({code}), "
                    f"which is spoken by {', '.join(language.engines)}",
                )
        if speech.other_engine == speech.engine:
            raise PydanticCustomError(
                "speech",
                f"speech.other_engine: expected another engine than speech.engine, got {speech.engine!r}",
            )
        if "xtts" in self.engines_in_use:
            _require_revision("speech.xtts", speech.xtts.path, speech.xtts.revision)

    @property
    def engines_in_use(self) -> set[str]:
        """The speech engines that the languages of this run need."""
        known = load_languages()
        used = {self.speech.engine_for(known[code]) for code in self.languages}
        return {one for one in (*used, self.speech.other_engine) if one}


def _require_revision(key: str, path: str, revision: str | None) -> None:
    if is_hub_name(path) and not re.fullmatch("[0-9a-f]{40}", revision or ""):
        raise PydanticCustomError(
            "revision",
            f"{key}.revision: expected the commit (40 hex digits) of {path} on the Hugging Face hub, got "
            f"{revision!r}: a branch moves. If {path} is meant to be a folder, there is none of that name",
        )


def _require_language(language: str) -> None:
    known = load_languages()
    if language not in known:
        names = {row.name.lower(): code for code, row in known.items()}
        named = names.get(language.lower())
        close = [named] if named else difflib.get_close_matches(language, known, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise PydanticCustomError(
            "language",
            f"expected a code of resources/languages.tsv, such as {', '.join(list(known)[:8])}, got "
            f"{language!r}{hint}",
        )


def _without_repeats(values: list) -> list:
    repeated = [value for value in dict.fromkeys(values) if values.count(value) > 1]
    if repeated:
        raise PydanticCustomError("repeat", f"expected each once, got {repeated[0]!r} repeatedly")
    return values


def parse_config(settings: dict[str, Any]) -> Config:
    """Check the merged configuration of a run.

    Parameters
    ----------
    settings : dict
        As Snakemake merges it from config files and ``--config``.

    Raises
    ------
    ConfigError
        One line a problem: the key, what was expected, what was given, and a suggestion.
    """
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        problems = [_problem(one) for one in error.errors()]
        raise ConfigError(
            "the configuration cannot be run (every key is explained in config/README.md):\n"
            + "\n".join(f"  - {problem}" for problem in problems)
        ) from None


def _problem(error: dict) -> str:
    location = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        section = error["loc"][:-1]
        known = [name.rpartition(".")[2] for name, _ in keys() if _in_section(name, section)]
        known += [name for name in Config.model_fields if not section]
        close = difflib.get_close_matches(str(error["loc"][-1]), known, n=1, cutoff=0.5)
        hint = (
            f"did you mean {close[0]!r}?"
            if close
            else f"expected {', '.join(dict.fromkeys(known))}"
        )
        return f"{location}: unknown key; {hint}"
    message = error["msg"]
    if error["type"].endswith("_type") or error["type"].endswith("_parsing"):
        message += f", got {error['input']!r}"
    elif "expected" not in message:
        message = f"{message[0].lower()}{message[1:]}, got {error['input']!r}"
    return f"{location}: {message}" if location else message


def _in_section(name: str, section: tuple) -> bool:
    return name.split(".")[:-1] == list(section)


def keys(model: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of the configuration by its dotted name, with its pydantic field."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field
