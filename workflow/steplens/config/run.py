"""The configuration of a run: its sections together, and every mistake in one line.

An unknown key, a mistyped language or an impossible value is refused before any job starts.
``config/README.md`` is written from the keys, and a test holds the two together.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from steplens.config.model_languages import ModelLanguages
from steplens.config.sections import (
    BatchSection,
    ComparisonSection,
    CorpusSection,
    DecodingSection,
    EncodingSection,
    ModelSection,
    RankingSection,
    Section,
    SpeechSection,
    SteeringSection,
    StoreSection,
    key,
    require_language,
    without_repeats,
)
from steplens.config.studies import (
    CausalSection,
    InequalitySection,
    ModalitySection,
    SimilaritySection,
    StudyName,
)
from steplens.config.suggestions import nearest
from steplens.errors import ConfigError, shown
from steplens.files.hub import is_hub_name
from steplens.languages.table import load_languages


class Config(Section):
    """A run."""

    run: str = key(
        "Name of the run: results stand in results/<run>/.",
        "everything, in another folder",
        "demo",
        max_length=100,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
    )
    seed: int = key(
        "Seed of the choice of sentences, of random neurons and of the bootstrap.",
        "everything, where sentences change",
        1,
        ge=0,
        le=2**32 - 1,
    )
    languages: list[str] = key(
        "Languages under study, by ISO 639-3 code, as in resources/languages.tsv.",
        "what is new of the language, rank and all that follows",
        ["deu", "spa", "fra", "cmn", "jpn"],
        min_length=2,
    )
    output_language: str = key(
        "What s2t and t2t translate into; not one of languages.",
        "decode of s2t and t2t and all that follows",
        "eng",
    )
    steps: list[int] = key(
        "Decoding steps t, from 1: the position that predicts the t-th content token.",
        "capture of the new step and what follows from it",
        [1, 6, 11],
        min_length=1,
    )
    studies: list[StudyName] = key(
        "Neighbouring studies over the same stores, each with a section in the report.",
        "the study that joins, and the report",
        ["modality", "inequality", "similarity", "causal"],
    )
    model: ModelSection = Field(default_factory=ModelSection)
    corpus: CorpusSection = Field(default_factory=CorpusSection)
    speech: SpeechSection = Field(default_factory=SpeechSection)
    encoding: EncodingSection = Field(default_factory=EncodingSection)
    store: StoreSection = Field(default_factory=StoreSection)
    batch_size: BatchSection = Field(default_factory=BatchSection)
    decoding: DecodingSection = Field(default_factory=DecodingSection)
    ranking: RankingSection = Field(default_factory=RankingSection)
    comparison: ComparisonSection = Field(default_factory=ComparisonSection)
    steering: SteeringSection = Field(default_factory=SteeringSection)
    modality: ModalitySection = Field(default_factory=ModalitySection)
    inequality: InequalitySection = Field(default_factory=InequalitySection)
    similarity: SimilaritySection = Field(default_factory=SimilaritySection)
    causal: CausalSection = Field(default_factory=CausalSection)

    @field_validator("steps")
    @classmethod
    def _steps(cls, steps: list[int]) -> list[int]:
        wrong = [step for step in steps if step < 1]
        if wrong:
            raise PydanticCustomError("steps", f"expected steps from 1 on, got {shown(wrong[0])}")
        return without_repeats(steps)

    @field_validator("languages")
    @classmethod
    def _languages(cls, languages: list[str], info: ValidationInfo) -> list[str]:
        for language in languages:
            require_language(language, info)
        return without_repeats(languages)

    @field_validator("studies")
    @classmethod
    def _studies(cls, studies: list[str]) -> list[str]:
        return without_repeats(studies)

    @field_validator("output_language")
    @classmethod
    def _output_language(cls, language: str, info: ValidationInfo) -> str:
        require_language(language, info)
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
                f"got {shown(too_far[0])}",
            )
        for name, section in (("model", self.model), ("corpus", self.corpus)):
            _require_revision(name, section.path, section.revision)
        self._speech_can_be_made()
        if self.steering.n_utterances > self.corpus.n_utterances:
            raise PydanticCustomError(
                "steering",
                "steering.n_utterances: expected at most corpus.n_utterances = "
                f"{self.corpus.n_utterances}, got {shown(self.steering.n_utterances)}",
            )
        self._pairs_are_of_the_run()
        if "causal" in self.studies:
            self._causes_can_be_sought()
        return self

    def _pairs_are_of_the_run(self) -> None:
        for source, target in self.steering.pairs:
            unknown = next((one for one in (source, target) if one not in self.languages), None)
            if unknown is not None:
                raise PydanticCustomError(
                    "pairs",
                    f"steering.pairs: expected languages of the run, {', '.join(self.languages)}, got "
                    f"{unknown!r} in [{source}, {target}]; add it to languages, or take the pair out",
                )

    @property
    def steering_targets(self) -> dict[str, list[str]]:
        """The targets of every source language that is steered, both in the order of ``languages``."""
        chosen = {tuple(pair) for pair in self.steering.pairs}
        targets = {
            source: [
                target
                for target in self.languages
                if target != source and (not chosen or (source, target) in chosen)
            ]
            for source in self.languages
        }
        return {source: found for source, found in targets.items() if found}

    def _causes_can_be_sought(self) -> None:
        if "modality" not in self.studies:
            raise PydanticCustomError(
                "studies",
                "studies: causal replaces the neurons that modality finds: expected modality beside it, got "
                f"{', '.join(self.studies)}",
            )
        if self.causal.step not in (None, *self.steps):
            raise PydanticCustomError(
                "causal",
                f"causal.step: expected one of steps, {', '.join(map(str, self.steps))}, got "
                f"{shown(self.causal.step)}",
            )

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
            f"{shown(revision)}: a branch moves. If {path} is meant to be a folder, there is none of that "
            "name",
        )


def parse_config(settings: dict[str, Any]) -> Config:
    """Check the settings of a run.

    Parameters
    ----------
    settings : dict
        As ``config.files.read_settings`` gives them: a number is a number, and no text or truth value.

    Raises
    ------
    ConfigError
        One line a problem: the key, what was expected, what was given, and a suggestion.
    """
    model = settings.get("model")
    path = model.get("path") if isinstance(model, dict) else None
    try:
        return Config.model_validate(settings, context=ModelLanguages(path or ModelSection().path))
    except ValidationError as error:
        raise refusal(_problem(one) for one in error.errors()) from None


_MAX_PROBLEMS = 10


def refusal(problems: Iterable[str]) -> ConfigError:
    """The error that tells these problems, a line each, or the first ten of them."""
    lines = list(problems)
    more = len(lines) - _MAX_PROBLEMS
    if more > 0:
        lines[_MAX_PROBLEMS:] = [f"and {more} more"]
    return ConfigError(
        "the configuration cannot be run (every key is explained in config/README.md):\n"
        + "\n".join(f"  - {line}" for line in lines)
    )


def _problem(error: dict) -> str:
    location = ".".join(shown(str(part), quoted=False) for part in error["loc"])
    kind, given = error["type"], error["input"]
    if kind == "extra_forbidden":
        section = error["loc"][:-1]
        known = [name.rpartition(".")[2] for name, _ in keys() if _in_section(name, section)]
        known += [name for name in Config.model_fields if not section]
        close = nearest(str(error["loc"][-1]), known)
        hint = (
            f"did you mean {close!r}?" if close else f"expected {', '.join(dict.fromkeys(known))}"
        )
        return f"{location}: unknown key; {hint}"
    message = error["msg"]
    if kind == "string_pattern_mismatch":
        message = "expected letters, digits, dots, hyphens and underscores, a letter or digit first"
    mistyped = kind.endswith(("_type", "_parsing"))
    if not mistyped and "expected" not in message:
        message = f"{message[0].lower()}{message[1:]}"
    # A check of several keys names what it found; all that they stand in would drown it.
    whole = isinstance(given, dict) and not mistyped
    if mistyped or not (whole or ("expected" in message and "got" in message)):
        message += f", got {shown(given)}"
    if kind == "list_type" and isinstance(given, str | int):
        message += f"; write [{shown(str(given), quoted=False)}]"
    if kind == "literal_error":
        close = nearest(str(given), re.findall("'([^']+)'", error["ctx"]["expected"]))
        message += f"; did you mean {close!r}?" if close else ""
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
