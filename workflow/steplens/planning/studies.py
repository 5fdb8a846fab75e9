"""What the neighbouring studies add to a plan (``work.py``): bytes of rankings, and units of work.

Counted is what grows with neurons, sentences or generated tokens. Summaries and tables have no rate.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Mapping

from steplens.config.run import Config
from steplens.models.neurons import MODULES, n_layers, site_widths
from steplens.planning.model import Model
from steplens.studies.inequality.gini import POINTS
from steplens.tasks import TASKS, TEXT_TWIN

RULES = (
    "modality_tables", "probe_encoder", "probe_decoder", "gather_probes",
    "measure_inequality", "measure_inequality_encoder", "summarize_inequality",
    "similarity_encoders", "similarity_decoder", "similarity_tables",
    "causal_medians", "causal_decoder", "causal_speech_encoder", "causal_text_encoder",
    "causal_ties", "summarize_causal",
)  # fmt: skip
# Whose rate counts for a rule; rank_modality counts to the stage rank. Of an encoder's interventions the
# second pass through it is not counted.
RATE_OF = {
    "rank_modality": "rank",
    "probe_encoder": "probe",
    "probe_decoder": "probe",
    "measure_inequality": "inequality",
    "measure_inequality_encoder": "inequality",
    "similarity_encoders": "similarity",
    "similarity_decoder": "similarity",
    "causal_decoder": "steer",
    "causal_speech_encoder": "decode",
    "causal_text_encoder": "decode",
}
# Units of the stages that only these studies have, as in ``work.UNIT_OF``.
UNIT_OF = {
    "probe": "million states",
    "inequality": "million activations",
    "similarity": "million pairs of sentences",
}
GPU_RULES = ("causal_decoder", "causal_speech_encoder", "causal_text_encoder")


def study_bytes(
    config: Config, model: Model, counts: Collection[int], per_value: float, n_ranked: int
) -> dict[str, float]:
    """Bytes that jobs of each rule together write, where they grow with neurons or with utterances.

    Rankings by modality have a row for all languages and one for each, of both modalities; inequality
    keeps coefficients and a curve of every utterance.

    Parameters
    ----------
    config : Config
    model : Model
    counts : collection of int
        Utterances of each language.
    per_value : float
        Bytes of an AP, a separation and a median.
    n_ranked : int
        Decoder neurons that take part.
    """
    n_bytes = {}
    if "modality" in config.studies:
        rows = len(TEXT_TWIN) * len(config.steps) * 2 * (1 + len(counts))
        n_bytes["rank_modality"] = rows * n_ranked * per_value
    if "inequality" in config.studies:
        measured = {module: _inequality_bytes(config, model, module) for module in MODULES}
        n_bytes["measure_inequality_encoder"] = sum(
            sum(counts) * measured[one] + len(counts) * _PARQUET_BYTES for one in _ENCODERS
        )
        conditions = len(TASKS) * len(config.steps)
        decoder = sum(counts) * measured["decoder"] + len(counts) * _PARQUET_BYTES
        n_bytes["measure_inequality"] = conditions * decoder
    return n_bytes


_ENCODERS = tuple(one for one in MODULES if one != "decoder")
_PARQUET_BYTES = 20_000  # of a table, beside its values


def _inequality_bytes(config: Config, model: Model, module: str) -> float:
    """Of one utterance: float64 of every cell, layer, and the module, and a Lorenz curve."""
    invariant = config.ranking.include_step_invariant
    sites = [site for site, _ in site_widths(model.config, module)]
    cells = sum(invariant or not site.over_encoder for site in sites)
    wholes = 1 + (invariant and any(site.over_encoder for site in sites))
    return 8 * (n_layers(model.config, module) * (cells + 1) + wholes + POINTS)


def study_units(
    config: Config,
    model: Model,
    n_utterances: Mapping[str, int],
    n_ranked: int,
    tokens: Mapping[str, float],
) -> dict[str, float]:
    """Units of work (``work.UNIT_OF``) of all jobs of each rule together.

    Parameters
    ----------
    config : Config
    model : Model
    n_utterances : mapping of language to utterances
    n_ranked : int
        Decoder neurons that take part.
    tokens : mapping of language to float
        Generated tokens of a sentence that nothing steers.
    """
    units: dict[str, float] = {}
    millions = sum(n_utterances.values()) / 1e6
    if "modality" in config.studies:
        units |= _modality(config, model, millions, n_ranked)
    if "inequality" in config.studies:
        neurons = sum(model.n_neurons(one) for one in _ENCODERS)
        units["measure_inequality_encoder"] = millions * neurons
        units["measure_inequality"] = len(TASKS) * len(config.steps) * millions * n_ranked
    if "similarity" in config.studies:
        units |= _similarity(config, model, n_utterances.values())
    if "causal" in config.studies:
        units |= _causal(config, n_utterances, tokens)
    return units


def _modality(config: Config, model: Model, millions: float, n_ranked: int) -> dict[str, float]:
    n_steps = len(config.steps)
    # Both tasks of a pair are ranked together: once pooled, and once by language.
    ranked = 2 * 2 * millions * n_ranked
    states = millions * model.hidden_size  # of one layer, in one condition
    return {
        "rank_modality": len(TEXT_TWIN) * n_steps * ranked,
        "probe_encoder": sum(model.n_hidden(one) for one in _ENCODERS) * states,
        "probe_decoder": len(TASKS) * n_steps * model.n_hidden("decoder") * states,
    }


# Measured at 1,000 sentences, 6 to 60 views and 1 to 5 shuffles, in what one pair of views costs.
_PAIRS_A_VIEW = 5.5  # its components and its own products
_PAIRS_A_SHUFFLE = 0.17  # each pair again, from the second shuffle on
_TIMES_WITH_BINS = 1.5


def similarity_units(n_views: int, n_sentences: float, shuffles: int) -> float:
    """Millions of pairs of sentences at one layer, for all pairs of views; what else is done counts as some.

    Parameters
    ----------
    n_views : int
    n_sentences : float
        That two views have in common.
    shuffles : int
    """
    pairs = math.comb(n_views, 2) * (1 + _PAIRS_A_SHUFFLE * (shuffles - 1))
    return (pairs + _PAIRS_A_VIEW * n_views) * n_sentences**2 / 1e6


def _similarity(config: Config, model: Model, counts: Collection[int]) -> dict[str, float]:
    n_views = 2 * len(counts)  # every language in both modalities
    mean = sum(counts) / len(counts)
    one_layer = similarity_units(n_views, mean, config.similarity.shuffles)
    layers = max(model.n_hidden(one) for one in _ENCODERS)
    if config.similarity.length_bins > 1:
        layers *= _TIMES_WITH_BINS
    in_decoder = len(TEXT_TWIN) * len(config.steps) * model.n_hidden("decoder")
    return {
        "similarity_encoders": layers * one_layer,
        "similarity_decoder": in_decoder * one_layer,
    }


def _causal(
    config: Config, n_utterances: Mapping[str, int], tokens: Mapping[str, float]
) -> dict[str, float]:
    units: defaultdict[str, float] = defaultdict(float)
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
