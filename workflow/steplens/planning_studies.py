"""What the neighbouring studies add to a plan (``planning.py``): bytes of rankings, and units of work.

Counted is what grows with neurons or with generated tokens. Probes, similarity and inequality have no rate:
for the paper's run each is minutes on eight cores (docs/modality.md, similarity.md, inequality.md).
"""

from collections import defaultdict
from collections.abc import Mapping

from .config import Config
from .studies.twins import TEXT_TWIN
from .tasks import TASKS

RULES = (
    "modality_tables", "probe_encoder", "probe_decoder", "gather_probes",
    "measure_inequality", "measure_inequality_encoder", "summarize_inequality",
    "similarity_encoders", "similarity_decoder", "similarity_tables",
    "causal_medians", "causal_decoder", "causal_speech_encoder", "causal_text_encoder",
    "summarize_causal",
)  # fmt: skip
# Whose rate counts for a rule; rank_modality counts to the stage rank. Of an encoder's interventions the
# second pass through it is not counted.
RATE_OF = {
    "rank_modality": "rank",
    "causal_decoder": "steer",
    "causal_speech_encoder": "decode",
    "causal_text_encoder": "decode",
}
GPU_RULES = ("causal_decoder", "causal_speech_encoder", "causal_text_encoder")


def study_bytes(
    config: Config, n_languages: int, per_value: float, n_ranked: int
) -> dict[str, float]:
    """Bytes of the rankings by modality: a row for all languages and one for each, of both modalities.

    Parameters
    ----------
    config : Config
    n_languages : int
    per_value : float
        Bytes of an AP and a median.
    n_ranked : int
        Decoder neurons that take part.
    """
    if "modality" not in config.studies:
        return {}
    rows = len(TEXT_TWIN) * len(config.steps) * 2 * (1 + n_languages)
    return {"rank_modality": rows * n_ranked * per_value}


def study_units(
    config: Config, n_utterances: Mapping[str, int], n_ranked: int, tokens: Mapping[str, float]
) -> dict[str, float]:
    """Units of work (``planning.UNIT_OF``) of all jobs of each rule together.

    Parameters
    ----------
    config : Config
    n_utterances : mapping of language to utterances
    n_ranked : int
        Decoder neurons that take part.
    tokens : mapping of language to float
        Generated tokens of a sentence that nothing steers.
    """
    units: defaultdict[str, float] = defaultdict(float)
    if "modality" in config.studies:
        # Both tasks of a pair are ranked together: once pooled, and once by language.
        ranked = 2 * 2 * sum(n_utterances.values()) / 1e6 * n_ranked
        units["rank_modality"] = len(TEXT_TWIN) * len(config.steps) * ranked
    if "causal" in config.studies:
        sets, n_random = len(config.causal.ks), config.causal.n_random
        limit = config.decoding.max_new_tokens
        for language, n in n_utterances.items():
            sentences = min(n, config.causal.n_utterances)
            # Of each k: the language's, the modality's, random ones for both, another language's.
            decoder = sentences * sets * (3 + 2 * n_random) * limit
            units["causal_decoder"] += len(TASKS) * decoder
            encoder = sentences * sets * (2 + n_random) * tokens[language]
            for rule in ("causal_speech_encoder", "causal_text_encoder"):
                units[rule] += 2 * encoder  # two tasks start from each encoder
    return dict(units)
