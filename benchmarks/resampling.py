"""The bootstrap: every neuron ranked again in every resample, against doing just that."""

from collections.abc import Iterator

import numpy as np

from steplens.bootstrap import draw_counts
from steplens.ranking import average_precision, use_threads
from steplens.resampling import resampled_average_precision

from .timing import Measurement, in_turns, measurement

N_LANGUAGES, N_UTTERANCES, N_RESAMPLES = 5, 1000, 200
LABELS = np.repeat(np.arange(N_LANGUAGES), N_UTTERANCES)


def measure(full: bool = False, device: str = "cpu") -> Iterator[Measurement]:
    """One core: all resamples side by side, against ranking the repeated utterances of each."""
    use_threads(1)
    n_neurons = 128
    generator = np.random.default_rng(0)
    activations = generator.standard_normal((len(LABELS), n_neurons)).astype(np.float16)
    weights = np.concatenate(
        [draw_counts(N_UTTERANCES, N_RESAMPLES, 1, str(one)) for one in range(N_LANGUAGES)], axis=1
    )
    few = 10

    def one_by_one() -> None:
        for weight in weights[:few]:
            rows = np.repeat(np.arange(len(LABELS)), weight)
            average_precision(activations[rows], LABELS[rows], N_LANGUAGES)

    ways = {
        "side by side": lambda: resampled_average_precision(
            activations, LABELS, weights, N_LANGUAGES
        ),
        "one by one": one_by_one,
    }
    seconds = in_turns(ways)
    yield measurement(
        "resampling",
        f"AP in {N_RESAMPLES} resamples of {len(LABELS):,} utterances × {n_neurons} neurons, one core",
        seconds["side by side"],
        baseline="our ranking of each resample",
        baseline_seconds=seconds["one by one"] / few * N_RESAMPLES,
    )
