"""The stages that run no model, for ``measure.py``: one core, random values of v2 large's sizes.

Every function gives what is timed, its units of work (``planning.work.UNIT_OF``), and how it was made.
"""

from collections.abc import Callable

import numpy as np

N_LANGUAGES, N_SENTENCES, HIDDEN = 5, 1000, 1024
Timed = tuple[Callable[[], object], float, str]


def rank() -> Timed:
    """AP and medians of some neurons."""
    from steplens.ranking.scores.ap import rank, use_threads

    use_threads(1)
    activations, labels = _examples(2048)
    return (
        lambda: rank(activations, labels, N_LANGUAGES),
        activations.size / 1e6,
        f"random values, {len(labels)} examples, 1 thread",
    )


def compare() -> Timed:
    """AP of some neurons in fifty resamples."""
    from steplens.ranking.resampled import resampled_average_precision
    from steplens.ranking.scores.ap import use_threads
    from steplens.statistics.bootstrap import draw_counts

    use_threads(1)
    activations, labels = _examples(256)
    weights = draw_counts(len(labels), 50, 1, "all")
    return (
        lambda: resampled_average_precision(activations, labels, weights, N_LANGUAGES),
        activations.size * len(weights) / 1e6,
        f"random values, {len(labels)} examples, 1 thread",
    )


def inequality() -> Timed:
    """Eight utterances of the decoder, all neurons."""
    from steplens.models.neurons import neuron_table
    from steplens.planning.model import PUBLISHED, REFERENCE
    from steplens.studies.inequality.measure import cells_of, inequality

    neurons = neuron_table(PUBLISHED[REFERENCE], "decoder")
    cells = cells_of(neurons, include_step_invariant=True)  # the same columns as of a store
    activations = _normal(8, len(neurons)).astype(np.float16)
    return (
        lambda: inequality(activations, cells),
        activations.size / 1e6,
        "random values of the decoder, 1 thread",
    )


def probe() -> Timed:
    """One layer, five folds; languages lie so near that four in five utterances are told."""
    from threadpoolctl import threadpool_limits

    from steplens.config.run import parse_config
    from steplens.studies.modality.probes import assign_folds, out_of_fold

    modality = parse_config({}).modality
    labels = np.repeat(np.arange(N_LANGUAGES), N_SENTENCES)
    sentences = np.tile(np.arange(N_SENTENCES), N_LANGUAGES)
    states = _parallel_states(labels, sentences)
    fold = assign_folds(sentences, modality.folds, 1)

    def work() -> np.ndarray:
        with threadpool_limits(1):
            return out_of_fold(states, labels, fold, modality.regularisation)

    told = (work() == labels).mean()
    how = f"made-up states of which a probe tells {told:.0%}, {modality.folds} folds, 1 thread"
    return work, states.size / 1e6, how


def _parallel_states(labels: np.ndarray, sentences: np.ndarray) -> np.ndarray:
    """What is said, in which language, and noise, on axes of which few carry most, as in a residual stream.

    Where all axes weigh the same, solvers need a tenth of the steps.
    """
    generator = np.random.default_rng(1)
    said = generator.standard_normal((N_SENTENCES, HIDDEN))[sentences]
    language = 0.1 * generator.standard_normal((N_LANGUAGES, HIDDEN))[labels]
    noise = 0.7 * generator.standard_normal((len(labels), HIDDEN))
    weight = np.arange(1, HIDDEN + 1) ** -0.7
    axes, _ = np.linalg.qr(generator.standard_normal((HIDDEN, HIDDEN)))
    return ((said + language + noise) * weight @ axes).astype(np.float32)


def similarity() -> Timed:
    """One layer of five languages in two modalities, with one shuffle and no bins of length."""
    from concurrent.futures import ThreadPoolExecutor

    from threadpoolctl import threadpool_limits

    from steplens.planning.studies import similarity_units
    from steplens.studies.similarity.layer import Settings, compare_layer

    states = _normal(2 * N_LANGUAGES, N_SENTENCES, HIDDEN).astype(np.float32)
    valid = np.ones(states.shape[:2], dtype=bool)
    settings = Settings(variance=0.99, sentences_per_component=5, shuffles=1, seed=1)

    def work() -> None:
        with threadpool_limits(1), ThreadPoolExecutor(1) as executor:
            compare_layer(states, valid, [valid[0]], settings, executor)

    units = similarity_units(len(states), N_SENTENCES, settings.shuffles)
    return work, units, f"random states, {len(states)} views, one shuffle, 1 thread"


STAGES = {
    "rank": rank,
    "compare": compare,
    "inequality": inequality,
    "probe": probe,
    "similarity": similarity,
}


def _normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape)


def _examples(n_neurons: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(N_LANGUAGES), N_SENTENCES)
    return _normal(len(labels), n_neurons).astype(np.float16), labels
