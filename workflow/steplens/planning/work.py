"""What a run will cost, by arithmetic alone: bytes on disk and seconds, stage by stage.

Nothing here looks at the machine; ``plan.py`` does, and prints. Bytes follow from the shapes of
what the stages write (``store/writer.py``, ``ranking/table.py``), before compression. Seconds are units
of work, counted here, times a rate (``rates.py``). Everything is counted by Snakemake's rule, so that
jobs that are done already cost nothing.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from steplens.config.run import Config
from steplens.models.neurons import n_layers, site_widths
from steplens.planning import studies
from steplens.planning.model import PUBLISHED_BYTES, Model
from steplens.settings import Selection, tie_rules
from steplens.tasks import MODALITY_OF, STEERED_TASKS, TASKS

# Rules by stage, in the order in which they run; any other rule counts to the last stage.
STAGES = {
    "fetch": ("fetch_sentences", "fetch_recordings", "fetch_model", "fetch_xtts"),
    "corpus": ("corpus",),
    "speech": ("speech_espeak", "speech_xtts", "speech_recorded", "speech_quality"),
    "encode speech": ("encode_speech",),
    "encode text": ("encode_text",),
    "decode": ("decode",),
    "capture": ("capture",),
    "rank": ("rank_encoder", "rank_decoder", "rank_modality"),
    "compare": (
        "compare_step", "reliability", "learning_curve", "compare_sources", "compare_sources_encoder",
        "gather_comparison", "gather_sources", "locate", "count_valid",
    ),
    "steer": ("steer", "summarize_steering", "count_ties", "steer_ties", "tie_sensitivity"),
    "neighbouring studies": studies.RULES,
    "tables, figures": (),
}  # fmt: skip
LAST_STAGE = "tables, figures"
# Before the name of a rule that does for speech.other_engine what the rule does for speech.engine.
OTHER = "other_"


def stage_of(rule: str) -> str:
    """The stage that a rule counts to."""
    own = rule.removeprefix(OTHER)
    return next((stage for stage, rules in STAGES.items() if own in rules), LAST_STAGE)


# --- the sentences ---------------------------------------------------------------------------------

# For sentences or a tokenizer that are not on disk yet. FLEURS's sentences have some 130 letters, where
# a character that stands for a syllable counts as three (speech_checks.n_characters).
LETTERS_A_SENTENCE = 130.0
LETTERS_A_TOKEN = 4.0
SECONDS_A_LETTER = {"espeak": 0.043, "xtts": 0.075, "recorded": 0.085}
_ESPEAK_WORDS_PER_MINUTE = 220  # at which its rate was found, on the demo's sentences
FLEURS_SENTENCES = 2009  # in all splits of a language together, at most


@dataclass(frozen=True)
class Sentences:
    """The utterances of one language, on average."""

    n: int
    seconds: float  # of speech, an utterance
    tokens: float  # of text, an utterance, with language tag and end of sentence

    @classmethod
    def of_length(cls, config: Config, engine: str, letters: float) -> "Sentences":
        """From letters an utterance alone."""
        seconds = letters * _seconds_a_letter(config, engine)
        return cls(config.corpus.n_utterances, seconds, letters / LETTERS_A_TOKEN + 2)

    def spoken_by(self, config: Config, engine: str, other: str) -> "Sentences":
        """The same sentences, spoken by another engine than the one that they were counted for."""
        pace = _seconds_a_letter(config, other) / _seconds_a_letter(config, engine)
        return replace(self, seconds=self.seconds * pace)


def _seconds_a_letter(config: Config, engine: str) -> float:
    seconds = SECONDS_A_LETTER[engine]
    if engine == "espeak":
        seconds *= _ESPEAK_WORDS_PER_MINUTE / config.speech.espeak.words_per_minute
    return seconds


def encoded_seconds(config: Config, one: Sentences) -> float:
    """Seconds of audio that the speech encoder is given, an utterance: as spoken, or of a fixed length."""
    fixed = config.encoding.fixed_seconds
    return one.seconds if fixed is None else fixed


@dataclass(frozen=True)
class Part:
    """What is done for one way of speaking: the run itself, or its speech half once more."""

    prefix: str  # of the rules
    tasks: tuple[str, ...]
    modalities: tuple[str, ...]
    spoken: Mapping[str, tuple[str, Sentences]]  # engine and utterances of every language


def parts_of(
    config: Config, sentences: Mapping[str, Sentences], engine_of: Mapping[str, str]
) -> list[Part]:
    """The run and, with ``speech.other_engine``, its speech half by that engine."""
    spoken = {language: (engine_of[language], one) for language, one in sentences.items()}
    parts = [Part("", TASKS, ("speech", "text"), spoken)]
    other = config.speech.other_engine
    if other:
        again = {
            language: (other, one.spoken_by(config, engine, other))
            for language, (engine, one) in spoken.items()
        }
        tasks = tuple(task for task in TASKS if MODALITY_OF[task] == "speech")
        parts.append(Part(OTHER, tasks, ("speech",), again))
    return parts


# --- disk ------------------------------------------------------------------------------------------

_ITEM = {"float16": 2, "float32": 4}
_STORE_BYTES = 16_000  # metadata and coordinates of a store, which compress to almost nothing
# Rankings compress more than stores do. AP is float64 to 12 decimals and separation to 9 (7 bytes each in the
# demo), medians are float32 but the middle of float16 values: most of their bits are zero.
_AP_BYTES = _SEPARATION_BYTES = 7
_MEDIAN_BYTES = {"float16": 2.3, "float32": 4}
_WAV_BYTES_A_SECOND = 32_000  # 16 kHz, 16 bits
_WAV_HEADER_BYTES = 44
_TSV_BYTES = 1_500_000  # a language's sentences of all splits
_ARCHIVE_BYTES = 2_200_000_000  # a language's recordings of all splits
XTTS_BYTES = 1_880_000_000


def disk_bytes(
    config: Config,
    model: Model,
    sentences: Mapping[str, Sentences],
    engine_of: Mapping[str, str],
    compute_dtype: str,
    fetched: Mapping[str, int] | None = None,
) -> dict[str, float]:
    """Bytes that all jobs of each rule together write, before compression; small tables left out.

    Parameters
    ----------
    config : Config
    model : Model
    sentences : mapping of language to Sentences
    engine_of : mapping of language to speech engine
    compute_dtype : {"float16", "float32"}
        Of the encoders' final states.
    fetched : mapping of rule to int, optional
        Bytes that the rules ``fetch_…`` get, from ``download_bytes``.
    """
    item, state_item = _ITEM[config.store.dtype], _ITEM[compute_dtype]
    hidden = model.hidden_size

    def row(module: str) -> int:
        """One utterance in a store: its neurons and its residual stream."""
        return item * (model.n_neurons(module) + model.n_hidden(module) * hidden)

    n_bytes: defaultdict[str, float] = defaultdict(float, fetched or {})
    per_value = _AP_BYTES + _SEPARATION_BYTES + _MEDIAN_BYTES[config.store.dtype]
    per_neuron = len(sentences) * per_value
    for part in parts_of(config, sentences, engine_of):
        conditions = len(part.tasks) * len(config.steps)
        for engine, one in part.spoken.values():
            positions = {
                "speech": encoded_seconds(config, one) * model.speech_positions_per_second,
                "text": one.tokens,
            }
            wav = one.seconds * _WAV_BYTES_A_SECOND + _WAV_HEADER_BYTES
            n_bytes[f"{part.prefix}speech_{engine}"] += one.n * wav
            for modality in part.modalities:
                states = positions[modality] * hidden * state_item
                encoded = one.n * (row(f"{modality}_encoder") + states) + _STORE_BYTES
                n_bytes[f"{part.prefix}encode_{modality}"] += encoded
            captured = one.n * row("decoder") + _STORE_BYTES
            n_bytes[f"{part.prefix}capture"] += conditions * captured
        encoders = [model.n_neurons(f"{modality}_encoder") for modality in part.modalities]
        n_bytes[f"{part.prefix}rank_encoder"] = sum(
            per_neuron * n_neurons + _STORE_BYTES for n_neurons in encoders
        )
        ranked = per_neuron * ranked_neurons(config, model) + _STORE_BYTES
        n_bytes[f"{part.prefix}rank_decoder"] = conditions * ranked
    return dict(n_bytes) | studies.study_bytes(
        config,
        model,
        [one.n for one in sentences.values()],
        per_value,
        ranked_neurons(config, model),
    )


def ranked_neurons(config: Config, model: Model) -> int:
    """Decoder neurons that take part in rankings."""
    per_layer = sum(
        width
        for site, width in site_widths(model.config, "decoder")
        if config.ranking.include_step_invariant or not site.over_encoder
    )
    return per_layer * n_layers(model.config, "decoder")


def download_bytes(
    model_name: str, n_sentence_languages: int, n_recorded_languages: int
) -> dict[str, int]:
    """Bytes that the rules ``fetch_…`` get, by rule; 0 for a model of unknown size."""
    return {
        "fetch_model": PUBLISHED_BYTES.get(model_name.rpartition("/")[2], 0),
        "fetch_xtts": XTTS_BYTES,
        "fetch_sentences": n_sentence_languages * _TSV_BYTES,
        "fetch_recordings": n_recorded_languages * _ARCHIVE_BYTES,
    }


# --- time ------------------------------------------------------------------------------------------

# What a rate counts, by rule. A generated token is one row of a batch in one decoding step.
UNIT_OF = {
    "speech_espeak": "second of audio",
    "speech_xtts": "second of audio",
    "encode_speech": "second of audio",
    "encode_text": "token",
    "decode": "generated token",
    "capture": "utterance",
    "steer": "generated token",
    "rank": "million activations",
    "compare": "million activations resampled",
} | studies.UNIT_OF
# What a draw costs with all that follows it, in draws of AP alone, which the rate is of: without separation,
# and with separation to order equal AP (docs/methods/reliability.md).
_DRAW_COSTS = {"resample": (1.2, 1.8), "half": (1.5, 2.4), "shuffle": (1.6, 3.3)}
_SMALLER_FRACTIONS = 3  # of the sentences, in the learning curve (learning_curve.FRACTIONS)
_COMPARISONS = (
    "compare_step", "reliability", "learning_curve", "compare_sources", "compare_sources_encoder",
)  # fmt: skip
_RATE_OF = dict.fromkeys(("rank_encoder", "rank_decoder"), "rank") | {"steer_ties": "steer"}
_RATE_OF |= dict.fromkeys(_COMPARISONS, "compare") | studies.RATE_OF
GPU_RULES = (
    "speech_xtts", "encode_speech", "encode_text", "decode", "capture", "steer", "steer_ties",
    *studies.GPU_RULES,
)  # fmt: skip
_PASSES_OVER_TOKENS = 1.1  # rows leave a decode batch a few steps after their last token; assumed


def rate_name(rule: str) -> str:
    """The column ``stage`` of a rule's rate."""
    own = rule.removeprefix(OTHER)
    return _RATE_OF.get(own, own)


def job_units(config: Config, rule: str, n: int, one: Sentences) -> float:
    """Units of work (``UNIT_OF``) of one job that works on one language.

    Parameters
    ----------
    config : Config
    rule : str
    n : int
        Utterances; for steer outputs, of all interventions.
    one : Sentences
    """
    limit = config.decoding.max_new_tokens
    each = {
        "encode_speech": encoded_seconds(config, one),
        "encode_text": one.tokens,
        "decode": min(limit, _PASSES_OVER_TOKENS * one.tokens),
        "capture": 1,
        # At most: many steered sentences repeat themselves until the limit.
        "steer": limit,
    }
    return n * (one.seconds if rule.startswith("speech_") else each[rule])


def work_units(
    config: Config, model: Model, sentences: Mapping[str, Sentences], engine_of: Mapping[str, str]
) -> dict[str, float]:
    """Units of work (``UNIT_OF``) of all jobs of each rule together."""
    units: defaultdict[str, float] = defaultdict(float)
    n_steps = len(config.steps)
    examples = sum(one.n for one in sentences.values()) / 1e6
    ranked = ranked_neurons(config, model)
    for part in parts_of(config, sentences, engine_of):
        n_tasks = len(part.tasks)
        for engine, one in part.spoken.values():
            jobs = {f"speech_{engine}": 1, "decode": n_tasks, "capture": n_tasks * n_steps}
            jobs |= {f"encode_{modality}": 1 for modality in part.modalities}
            for rule, n_jobs in jobs.items():
                units[part.prefix + rule] += n_jobs * job_units(config, rule, one.n, one)
        encoders = sum(model.n_neurons(f"{modality}_encoder") for modality in part.modalities)
        units[f"{part.prefix}rank_encoder"] = examples * encoders
        units[f"{part.prefix}rank_decoder"] = n_tasks * n_steps * examples * ranked
    # At most: where rules choose the same neurons, or those that were steered, nothing is generated.
    other_rules = len(tie_rules(Selection(config.ranking.ties, config.ranking.scope))) - 1
    for source, targets in config.steering_targets.items():
        one = sentences[source]
        n_steered = min(one.n, config.steering.n_utterances)
        conditions = {
            "steer": interventions(config, source),
            "steer_ties": len(targets) * other_rules,
        }
        for rule, n in conditions.items():
            generated = job_units(config, "steer", n_steered * n, one)
            units[rule] += len(STEERED_TASKS) * n_steps * generated
    # Both sides of every pair are ranked in every resample; of three sources there are three pairs.
    costs = {what: one[config.ranking.ties == "separation"] for what, one in _DRAW_COSTS.items()}
    resampled = 2 * config.comparison.resamples * examples * costs["resample"]
    units["compare_step"] = n_steps * resampled * ranked
    halves = 2 * config.comparison.splits
    per_draw = n_steps * 2 * examples * ranked
    shuffles = costs["shuffle"] * config.comparison.shuffles
    units["reliability"] = per_draw * (costs["half"] * halves + shuffles)
    # Every subset of a fraction is ranked whole and in halves.
    subsets = _SMALLER_FRACTIONS * config.comparison.subsets
    units["learning_curve"] = per_draw * costs["half"] * (3 * subsets + 1 + halves)
    if config.speech.other_engine:
        units["compare_sources"] = 2 * n_steps * 3 * resampled * ranked
        units["compare_sources_encoder"] = resampled * model.n_neurons("speech_encoder")
    counts = {language: one.n for language, one in sentences.items()}
    tokens = {language: job_units(config, "decode", 1, one) for language, one in sentences.items()}
    return dict(units) | studies.study_units(config, model, counts, ranked, tokens)


def interventions(config: Config, source: str) -> int:
    """Conditions that every sentence of a source language is steered under (``steering.steer.trials``)."""
    targets = len(config.steering_targets.get(source, ()))
    a_third = len(config.languages) > 2  # whose neurons can be fixed beside the target's
    return targets * (1 + config.steering.n_random + a_third)
