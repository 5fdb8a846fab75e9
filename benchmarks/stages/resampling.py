"""Resamples and shuffled labels: every neuron ranked again in each of them, against doing just that."""

from collections.abc import Iterator

import numpy as np

from steplens.ranking.resampled import relabelled_average_precision, resampled_average_precision
from steplens.ranking.scores.ap import average_precision, use_threads
from steplens.statistics.bootstrap import draw_counts

from ..timing import Measurement, in_turns, measurement

N_LANGUAGES, N_UTTERANCES, N_RESAMPLES, N_SHUFFLES = 5, 1000, 200, 199
LABELS = np.repeat(np.arange(N_LANGUAGES), N_UTTERANCES)


def measure(full: bool = False, device: str = "cpu") -> Iterator[Measurement]:
    """One core: all draws side by side, against ranking the utterances of each by themselves."""
    use_threads(1)
    n_neurons = 128
    generator = np.random.default_rng(0)
    activations = generator.standard_normal((len(LABELS), n_neurons)).astype(np.float16)
    weights = np.concatenate(
        [draw_counts(N_UTTERANCES, N_RESAMPLES, 1, str(one)) for one in range(N_LANGUAGES)], axis=1
    )
    shuffles = np.array([generator.permutation(LABELS) for _ in range(N_SHUFFLES)])
    few = 10

    def one_by_one() -> None:
        for weight in weights[:few]:
            rows = np.repeat(np.arange(len(LABELS)), weight)
            average_precision(activations[rows], LABELS[rows], N_LANGUAGES)

    def shuffled_one_by_one() -> None:
        for labels in shuffles[:few]:
            average_precision(activations, labels, N_LANGUAGES)

    ways = {
        "side by side": lambda: resampled_average_precision(
            activations, LABELS, weights, N_LANGUAGES
        ),
        "one by one": one_by_one,
        "shuffled": lambda: relabelled_average_precision(activations, shuffles, N_LANGUAGES),
        "shuffled one by one": shuffled_one_by_one,
    }
    seconds = in_turns(ways)
    yield measurement(
        "resampling",
        f"AP in {N_RESAMPLES} resamples of {len(LABELS):,} utterances × {n_neurons} neurons, one core",
        seconds["side by side"],
        baseline="our ranking of each resample",
        baseline_seconds=seconds["one by one"] / few * N_RESAMPLES,
    )
    yield measurement(
        "resampling",
        f"AP under {N_SHUFFLES} shuffles of the labels of {len(LABELS):,} utterances × {n_neurons} neurons, "
        "one core",
        seconds["shuffled"],
        baseline="our ranking under each labelling",
        baseline_seconds=seconds["shuffled one by one"] / few * N_SHUFFLES,
        limit="as many resamples",
        limit_seconds=seconds["side by side"] / N_RESAMPLES * N_SHUFFLES,
    )
