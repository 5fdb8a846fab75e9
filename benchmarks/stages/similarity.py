"""Representational similarity: all pairs of views of one layer at once, against pair by pair."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from steplens.studies.similarity.layer import Settings, compare_layer, pairs_of

from ..timing import Measurement, in_turns, measurement

N_SENTENCES, HIDDEN = 1000, 1024
SETTINGS = Settings(variance=0.99, sentences_per_component=5, shuffles=1, seed=1)
N_COMPONENTS = N_SENTENCES // SETTINGS.sentences_per_component


def measure(full: bool = False, device: str = "cpu") -> Iterator[Measurement]:
    """One core: 10 languages in speech and text, with --full 30; length bins left out."""
    n_views = 60 if full else 20
    generator = np.random.default_rng(0)
    # What sentences share, and a spectrum that falls off as that of states does.
    spectrum = np.exp(-np.arange(HIDDEN) / (HIDDEN / 6))
    shared = generator.standard_normal((N_SENTENCES, HIDDEN))
    states = np.stack(
        [
            ((shared + generator.standard_normal((N_SENTENCES, HIDDEN))) * spectrum).astype("f4")
            for _ in range(n_views)
        ]
    )
    valid = np.ones((n_views, N_SENTENCES), dtype=bool)
    n_pairs = len(pairs_of(n_views))
    few = 2

    def at_once() -> None:
        with ThreadPoolExecutor(1) as executor:
            compare_layer(states, valid, [valid[0]], SETTINGS, executor)

    def pair_by_pair() -> None:
        for other in range(1, 1 + few):
            _directly(states[0], states[other], np.random.default_rng(other))

    def products() -> None:
        for other in range(1, 1 + few):
            states[0] @ states[other].T

    ways = {"at once": at_once, "pair by pair": pair_by_pair, "products": products}
    with threadpool_limits(1):
        seconds = in_turns(ways, rounds=1 if full else 3)
    yield measurement(
        "similarity",
        f"five measures of {n_pairs:,} pairs of {N_SENTENCES:,} × {HIDDEN:,}, one layer, one core",
        seconds["at once"],
        baseline="pair by pair, by NumPy",
        baseline_seconds=seconds["pair by pair"] / few * n_pairs,
        limit="a product of each pair, as retrieval needs it",
        limit_seconds=seconds["products"] / few * n_pairs,
    )


def _directly(one: np.ndarray, other: np.ndarray, generator: np.random.Generator) -> None:
    """The measures of a pair as their definitions have them, and once more with sentences shuffled."""
    one, other = (view.astype(np.float64) - view.mean(0) for view in (one, other))
    for rows in (np.arange(len(one)), generator.permutation(len(one))):
        drawn = other[rows]
        bases = [np.linalg.svd(view, full_matrices=False)[0] for view in (one, drawn)]
        product = bases[0][:, :N_COMPONENTS].T @ bases[1][:, :N_COMPONENTS]
        left, _, right = np.linalg.svd(product)
        for basis, directions, view in ((bases[0], left, one), (bases[1], right.T, drawn)):
            np.abs((basis[:, :N_COMPONENTS] @ directions).T @ view).sum(1)
        np.linalg.norm(one.T @ drawn) ** 2
    [np.linalg.norm(view.T @ view) for view in (one, other)]
    unit = [view / np.linalg.norm(view, axis=1, keepdims=True) for view in (one, other)]
    (unit[0] @ unit[1].T).argmax(1)
