"""The sections of a configuration: every key with its type, unit, default and meaning.

A key's ``redoes`` says what runs again when it changes. ``config/README.md`` is written from here.
"""

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from steplens.config.suggestions import nearest_language
from steplens.errors import shown
from steplens.files.fixed_length import LONGEST_SECONDS, SHORTEST_SECONDS
from steplens.languages.table import Language, load_languages
from steplens.languages.writing_systems import Tokens


def key(description: str, redoes: str, default: Any = ..., **limits: Any) -> Any:
    """A field with what it means and what a change of it redoes."""
    return Field(default, description=description, json_schema_extra={"redoes": redoes}, **limits)


class Section(BaseModel):
    """A group of keys: an unknown one is an error, and so is a value of another type (strict).

    A whole number may stand for a number; a truth value or a text may not.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=()
    )


_MOST_LETTERS, _MOST_BYTES = 1000, 255  # of a path, of a part of it: what file systems take


def _possible_path(path: str) -> str:
    """A path, if there can be one of that name; else raise."""
    if not path or len(path) > _MOST_LETTERS or "\0" in path or "\n" in path:
        raise PydanticCustomError(
            "path",
            f"expected a path of 1 to {_MOST_LETTERS} letters in one line, got {shown(path)}"
            + f", {len(path):,} letters" * (len(path) > _MOST_LETTERS),
        )
    too_long = [part for part in path.split("/") if len(part.encode()) > _MOST_BYTES]
    if too_long:
        raise PydanticCustomError(
            "path",
            f"expected folders with names of at most {_MOST_BYTES} bytes, got {shown(too_long[0])}, "
            f"{len(too_long[0].encode())} bytes",
        )
    return path


PathText = Annotated[str, AfterValidator(_possible_path)]


class ModelSection(Section):
    """Which checkpoint is studied."""

    path: PathText = key(
        "Checkpoint: a folder (relative to the project), or a name on the Hugging Face hub.",
        "encode and all that follows",
        "resources/demo/seamless-m4t-v2-demo",
    )
    revision: str | None = key(
        "Commit of the checkpoint on the hub; pin it, so that a run can be repeated.",
        "encode and all that follows",
        None,
    )
    dtype: Literal["auto", "float16", "float32"] = key(
        "Precision of weights and computation; auto is float16 on a GPU and float32 on a CPU.",
        "encode and all that follows",
        "auto",
    )
    device: Literal["auto", "cpu", "cuda"] = key(
        "Where the model runs; auto is the GPU where there is one.",
        "encode and all that follows, where dtype is auto",
        "auto",
    )


class CorpusSection(Section):
    """Which sentences."""

    path: PathText = key(
        "FLEURS: a folder in its published layout (data/<code>/<split>.tsv), or its name on the "
        "Hugging Face hub, google/fleurs.",
        "everything, where sentences change",
        "resources/demo/fleurs",
    )
    revision: str | None = key(
        "Commit of the data set on the hub. Later ones than the one of config/paper.yaml have another "
        "layout.",
        "everything, where sentences change",
        None,
    )
    splits: list[str] = key(
        "Splits to draw from, in this order; a sentence that stands in two is taken once.",
        "everything, where sentences change",
        ["test"],
        min_length=1,
    )
    n_utterances: int = key("Sentences a language.", "everything, where sentences change", 60, ge=2)
    parallel_over: list[str] = key(
        "Take only sentences that all of these languages have; empty: no restriction.",
        "everything, where sentences change",
        [],
    )

    @field_validator("splits")
    @classmethod
    def _splits(cls, splits: list[str]) -> list[str]:
        for split in splits:
            if (
                not 0 < len(split) <= 100
                or split in (".", "..")
                or {"/", "\\", "\0", "\n"} & set(split)
            ):
                raise PydanticCustomError(
                    "splits", f"expected the name of a split, such as test, got {shown(split)}"
                )
        return without_repeats(splits)

    @field_validator("parallel_over")
    @classmethod
    def _parallel_over(cls, languages: list[str], info: ValidationInfo) -> list[str]:
        for language in languages:
            require_language(language, info)
        return without_repeats(languages)


EngineName = Literal["xtts", "recorded", "espeak"]


class XttsSection(Section):
    """Coqui XTTS v2."""

    path: PathText = key(
        "Checkpoint: a folder with model.pth, config.json, vocab.json and speakers_xtts.pth, or a name "
        "on the Hugging Face hub.",
        "the speech of this engine and all that follows",
        "coqui/XTTS-v2",
    )
    revision: str | None = key(
        "Commit of the checkpoint on the hub.",
        "the speech of this engine and all that follows",
        "6c2b0d75eae4b7047358e3b6bd9325f857d43f77",
    )
    speaker: str = key(
        "One of the speakers that come with the checkpoint; the same for all languages.",
        "the speech of this engine and all that follows",
        "Ana Florence",
        max_length=100,
    )
    accept_cpml: bool = key(
        "Whether you accept the Coqui Public Model License (non-commercial; coqui.ai/cpml). XTTS v2 is "
        "neither fetched nor run without.",
        "nothing",
        False,
    )
    device: Literal["auto", "cpu", "cuda"] = key(
        "Where XTTS runs; auto is the GPU where there is one.",
        "nothing",
        "auto",
    )


class EspeakSection(Section):
    """eSpeak NG."""

    words_per_minute: int = key(
        "Speaking rate, in words a minute.",
        "the speech of this engine and all that follows",
        220,
        ge=80,
        le=450,
    )


class ChecksSection(Section):
    """When an utterance is made again, or flagged."""

    max_attempts: int = key(
        "How often an utterance that fails a check of its audio is made, each time with another seed "
        "(xtts) or from another recording (recorded).",
        "speech, where an utterance fails",
        4,
        ge=1,
        le=100,
    )
    min_seconds_per_character: float = key(
        "Shorter audio was cut off. In seconds a letter; kana count as two letters, Han, Hangul and "
        "Ethiopic characters as three.",
        "speech, where an utterance fails",
        0.025,
        ge=0,
    )
    max_seconds_per_character: float = key(
        "Longer audio has speech or silence that the text does not have; counted likewise.",
        "speech, where an utterance fails",
        0.25,
        gt=0,
    )
    max_silent_share: float = key(
        "Share of frames of 20 ms that lie 40 dB or more under the loudest one.",
        "speech, where an utterance fails",
        0.6,
        gt=0,
        le=1,
    )
    max_clipped_share: float = key(
        "Share of samples at full scale.",
        "speech, where an utterance fails",
        0.001,
        ge=0,
        le=1,
    )
    max_cer: float = key(
        "Utterances whose character error rate in the model's own asr is higher are flagged.",
        "rank and all that follows, where an utterance is flagged",
        0.5,
        gt=0,
    )
    leave_out_flagged: bool = key(
        "Whether flagged utterances are left out of every statistic, in speech and in text.",
        "rank and all that follows",
        True,
    )


class SpeechSection(Section):
    """How sentences become speech."""

    engine: EngineName = key(
        "xtts is Coqui XTTS v2; recorded is FLEURS's own audio; espeak is eSpeak NG, small and offline.",
        "speech, the speech encoder and all that follows",
        "espeak",
    )
    fallback: list[EngineName] = key(
        "Engines, in this order, for languages that the engine does not speak; empty: such a language is "
        "refused. Another engine is another voice: language and voice are then confounded.",
        "the speech of those languages and all that follows",
        [],
    )
    other_engine: EngineName | None = key(
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


class EncodingSection(Section):
    """What the encoders are given."""

    fixed_seconds: float | None = key(
        "Every utterance's audio is cut, or padded with zeros at its end, to so many seconds before it is "
        "encoded, and all positions count, padding included: the paper's words, which do not say the length. "
        "null: its natural length, padding masked. Audio checks, and text, are not concerned.",
        "encode of speech and all that follows",
        None,
    )

    @field_validator("fixed_seconds")
    @classmethod
    def _fixed_seconds(cls, seconds: float | None) -> float | None:
        # Not a number is neither below nor above.
        if seconds is not None and not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
            raise PydanticCustomError(
                "fixed_seconds",
                f"expected null, or from {SHORTEST_SECONDS} (one stacked frame) to {LONGEST_SECONDS:g} "
                f"seconds, got {seconds:g}",
            )
        return seconds


class StoreSection(Section):
    """How activations are kept."""

    dtype: Literal["float16", "float32"] = key(
        "Precision of stored activations. float32 doubles the disk.",
        "encode, capture and all that follows",
        "float16",
    )


class BatchSection(Section):
    """How many utterances go through a model together at most; a matter of memory, not of results.

    Halved where the memory of the device does not suffice.
    """

    speech: int = key("Parts of utterances that XTTS speaks together.", "nothing", 16, ge=1)
    encode: int = key("Utterances a batch in encode.", "nothing", 16, ge=1)
    decode: int = key("Utterances a batch in decode.", "nothing", 64, ge=1)
    capture: int = key("Utterances a batch in capture.", "nothing", 64, ge=1)
    steer: int = key("Sentences a batch in steer.", "nothing", 640, ge=1)


class DecodingSection(Section):
    """Greedy generation."""

    max_new_tokens: int = key(
        "Tokens at most of one output, end of sentence included.",
        "decode, capture, steer and all that follows",
        48,
        ge=2,
    )


class RankingSection(Section):
    """Which neurons are ranked."""

    include_step_invariant: bool = key(
        "Whether the cross-attention's keys and values, which are the same at every step, take part.",
        "rank and all that follows",
        True,
    )
    ties: Literal["separation", "column", "random"] = key(
        "What orders neurons of equal average precision, of which there may be more than k: separation is "
        "the standardised difference of means of the language against the rest, then the column; column is "
        "the order of layers and submodules alone; random is drawn by lot, with the seed.",
        "the top-k sets: compare, reliability, the learning curve, location, steer, causal, modality",
        "separation",
    )
    scope: Literal["module", "submodule"] = key(
        "Within what the k best are chosen: the whole module, or every pair of layer and submodule by "
        "itself, where each pair gives its share of k by its width.",
        "the top-k sets: compare, reliability, the learning curve, location, steer, causal, modality",
        "module",
    )


class ComparisonSection(Section):
    """Speech against text."""

    k: int = key(
        "Neurons in a language's top-k set.",
        "compare, reliability, the learning curve and location",
        400,
        ge=1,
    )
    k_sweep: list[int] = key(
        "Values of k for the sensitivity of the diagonal ratio (figure 6).",
        "compare",
        [25, 50, 100, 200, 400, 800, 1600],
        min_length=1,
    )
    resamples: int = key(
        "Bootstrap resamples for the diagonal ratio; every neuron is ranked again in each.",
        "compare",
        200,
        ge=20,
    )
    splits: int = key(
        "Random halvings of the sentences for the split-half stability of the top-k sets (figure 11).",
        "reliability and the learning curve",
        10,
        ge=2,
    )
    shuffles: int = key(
        "Shuffles of the language labels for the null of the diagonal ratio (figure 11); every neuron "
        "is ranked again in each. No p below 1 / (1 + shuffles) is possible.",
        "reliability",
        20,
        ge=2,
    )
    subsets: int = key(
        "Random subsets of the sentences, of an eighth, a quarter and a half of them each, for the learning "
        "curve (figure 20).",
        "the learning curve",
        5,
        ge=1,
    )

    @field_validator("k_sweep")
    @classmethod
    def _k_sweep(cls, sizes: list[int]) -> list[int]:
        wrong = [k for k in sizes if k < 1]
        if wrong:
            raise PydanticCustomError(
                "k_sweep", f"expected values of k from 1 on, got {shown(wrong[0])}"
            )
        return without_repeats(sizes)


class SteeringSection(Section):
    """Steering the output language."""

    k: int = key(
        "Neurons replaced: the top k and, again, the bottom k of the target language.",
        "steer and its results",
        400,
        ge=1,
    )
    n_utterances: int = key(
        "Sentences steered a source language, from the start of its corpus.",
        "steer and its results",
        40,
        ge=1,
    )
    n_random: int = key(
        "Random-neuron controls a target language, each with its own seed.",
        "steer and its results",
        2,
        ge=1,
    )
    pairs: list[list[str]] = key(
        "Pairs [source, target] to steer, such as [[deu, jpn], [jpn, deu]]; empty: every language to every "
        "other one, of 88 languages 7,656 pairs. Only sources that stand in a pair are steered.",
        "steer of the sources whose targets change, and the steering tables",
        [],
    )
    rate_tokens: Tokens = key(
        "What counts as a token for the control rate: script_runs (a run of letters, and each character of "
        "Han and kana) or characters (a letter with its marks in every script).",
        "the steering tables",
        "script_runs",
    )
    resamples: int = key(
        "Bootstrap resamples for rates, ratios and differences.",
        "the steering tables",
        1000,
        ge=100,
    )
    min_source_rate: float = key(
        "Pairs whose asr control rate is lower have no effect ratio (share, 0 to 1).",
        "the effect ratios",
        0.10,
        ge=0,
        le=1,
    )
    degenerate_tokens: int = key(
        "An output counts as degenerate with an immediate repetition of at least so many tokens.",
        "the quality table",
        12,
        ge=4,
    )

    @field_validator("pairs")
    @classmethod
    def _pairs(cls, pairs: list[list[str]], info: ValidationInfo) -> list[list[str]]:
        for pair in pairs:
            if len(pair) != 2:
                raise PydanticCustomError(
                    "pairs", f"expected pairs [source, target], got {_as_list(pair)}"
                )
            for language in pair:
                require_language(language, info)
            if pair[0] == pair[1]:
                raise PydanticCustomError(
                    "pairs",
                    f"expected a target other than the source, got {_as_list(pair)}: steering a language to "
                    "itself says nothing",
                )
        repeated = first_repeated(map(tuple, pairs))
        if repeated:
            raise PydanticCustomError(
                "repeat", f"expected each pair once, got {_as_list(repeated)} repeatedly"
            )
        return pairs


def require_language(language: str, info: ValidationInfo) -> None:
    """Raise for a code that is not in the table of languages; suggests what was probably meant.

    Parameters
    ----------
    language : str
    info : pydantic's
        Its context, if any, is the languages of the model: they are suggested first.
    """
    known = load_languages()
    if language not in known:
        close = nearest_language(language, info.context or ())
        hint = f"; did you mean {close!r}?" if close else ""
        raise PydanticCustomError(
            "language",
            f"expected a code of resources/languages.tsv, such as {', '.join(list(known)[:8])}, got "
            f"{shown(language)}{hint}",
        )


def _as_list(values: Iterable[str]) -> str:
    """As YAML has it."""
    return shown(list(values)).replace("'", "")


def first_repeated(values: Iterable[Hashable]) -> Any:
    """The first value that stands there more than once, or None."""
    return next((value for value, n in Counter(values).items() if n > 1), None)


def without_repeats(values: list) -> list:
    """The values, if each stands there once; else raise."""
    repeated = first_repeated(values)
    if repeated is not None:
        raise PydanticCustomError("repeat", f"expected each once, got {shown(repeated)} repeatedly")
    return values
