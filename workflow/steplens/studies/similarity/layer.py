"""All measures between all pairs of views at one layer, with their shuffled baselines."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np

from steplens.studies.similarity.cca import Components, principal_components, refusal, svcca_pwcca
from steplens.studies.similarity.cka import FEWEST, cka, gram
from steplens.studies.similarity.retrieval import retrieval_accuracy, unit_rows

MEASURES = ("svcca", "pwcca", "cka", "cka_debiased", "retrieval")
CONSTANT = "a view is constant: all its states are equal"


@dataclass(frozen=True)
class Settings:
    """How views are compared: ``CONFIG.similarity``, and the seed of the run."""

    variance: float
    sentences_per_component: int
    shuffles: int
    seed: int

    @property
    def fewest(self) -> int:
        """Sentences that two views need in common: for one component, and for debiased CKA."""
        return max(FEWEST, self.sentences_per_component)


@dataclass
class Compared:
    """What pairs of views share over the sentences of one subset; arrays of (n_pairs,).

    ``value`` and ``baseline`` are by measure, ``forward`` and ``backward`` too: PWCCA weighted from the
    first and from the second view, and retrieval from the first in the second and back.
    """

    n: np.ndarray
    value: dict[str, np.ndarray]
    baseline: dict[str, np.ndarray]
    forward: dict[str, np.ndarray]
    backward: dict[str, np.ndarray]
    components: np.ndarray  # (n_pairs, 2)
    variance: np.ndarray  # (n_pairs, 2)
    reason: dict[str, np.ndarray]


def pairs_of(n_views: int) -> list[tuple[int, int]]:
    """Every pair of views once, in the order of all tables."""
    return [(one, other) for one in range(n_views) for other in range(one + 1, n_views)]


def compare_layer(
    states: np.ndarray,
    valid: np.ndarray,
    subsets: Sequence[np.ndarray],
    settings: Settings,
    executor: Executor,
) -> list[Compared]:
    """Every pair of views, over the sentences of each subset that both have.

    Parameters
    ----------
    states : (n_views, n, hidden) float32 array
        Rows that are not valid are not read.
    valid : (n_views, n) bool array
    subsets : sequence of (n,) bool arrays
        The first holds all sentences. The others, of which only means over many pairs are of use, have
        a baseline of one shuffle.
    settings : Settings
    executor : Executor
        Its threads share the work; whoever calls holds the libraries underneath to one thread each.

    Returns
    -------
    list of Compared, one a subset
    """
    pairs = pairs_of(len(states))
    constant = [_is_constant(view[mask]) for view, mask in zip(states, valid, strict=True)]
    found = [_empty(pairs, valid & subset, constant, settings) for subset in subsets]
    _compare_retrieval(states, valid, subsets, found, executor)
    grams = np.array(
        list(executor.map(lambda view: _gram(states[view], valid[view], constant[view]), range(len(states))))
    )  # fmt: skip
    for subset, compared in zip(subsets, found, strict=True):
        if compared is not found[0]:
            settings = replace(settings, shuffles=1)
        inside = np.flatnonzero(subset)
        mask = valid[:, inside]
        part = grams if len(inside) == len(subset) else grams[:, inside[:, None], inside]
        _compare_cka(part, mask, compared, settings, executor)
        _compare_cca(states[:, inside], mask, constant, compared, settings, executor)
    return found


def _empty(pairs, valid: np.ndarray, constant: list[bool], settings: Settings) -> Compared:
    n = np.array([(valid[one] & valid[other]).sum() for one, other in pairs], dtype=np.int64)
    few = [
        f"{count} common sentences, fewer than {settings.fewest}" if count < settings.fewest else ""
        for count in n
    ]
    reasons = [
        CONSTANT if constant[one] or constant[other] else reason
        for (one, other), reason in zip(pairs, few, strict=True)
    ]

    def nans() -> dict[str, np.ndarray]:
        return {measure: np.full(len(pairs), np.nan) for measure in MEASURES}

    return Compared(
        n, nans(), nans(), nans(), nans(), np.zeros((len(pairs), 2), dtype=np.int64),
        np.full((len(pairs), 2), np.nan),
        {measure: np.array(reasons, dtype=object) for measure in MEASURES},
    )  # fmt: skip


def _is_constant(rows: np.ndarray) -> bool:
    return bool((rows == rows[:1]).all())


def _gram(view: np.ndarray, valid: np.ndarray, constant: bool) -> np.ndarray:
    if constant:
        return np.zeros((len(view), len(view)), dtype=np.float32)
    return gram(view, valid)


def _permuted(valid: np.ndarray, seed: int, draw: int) -> np.ndarray:
    """Where each row of each view comes from in one shuffle: (n_views, n) int; valid rows change places."""
    generator = np.random.default_rng([seed, draw])
    rows = np.tile(np.arange(valid.shape[1]), (len(valid), 1))
    for row, mask in zip(rows, valid, strict=True):
        row[mask] = generator.permutation(row[mask])
    return rows


def _compare_retrieval(states, valid, subsets, found: list[Compared], executor: Executor) -> None:
    """Retrieval; its baseline needs no draw: a shuffled sentence is found with 1 / n."""
    pairs = pairs_of(len(states))
    rows = list(executor.map(unit_rows, states, valid))

    def of_pair(place: int) -> list[tuple[float, float]]:
        one, other = pairs[place]
        common = valid[one] & valid[other]
        return retrieval_accuracy(
            rows[one], rows[other], [np.flatnonzero(common & subset) for subset in subsets]
        )

    for place, ways in enumerate(executor.map(of_pair, range(len(pairs)))):
        for compared, (forward, backward) in zip(found, ways, strict=True):
            if compared.reason["retrieval"][place]:
                continue
            compared.forward["retrieval"][place] = forward
            compared.backward["retrieval"][place] = backward
            compared.value["retrieval"][place] = (forward + backward) / 2
            compared.baseline["retrieval"][place] = 1 / compared.n[place]


def _compare_cka(grams, valid, compared: Compared, settings: Settings, executor: Executor) -> None:
    one, other = np.array(pairs_of(len(grams))).T
    values = cka(grams, grams, valid, valid, executor.map)
    baselines = []
    for draw in range(settings.shuffles):
        rows = _permuted(valid, settings.seed, draw)
        shuffled = np.empty_like(grams)

        def shuffle(view: int, rows=rows, shuffled=shuffled) -> None:
            shuffled[view] = grams[view].take(rows[view], 0).take(rows[view], 1)

        list(executor.map(shuffle, range(len(grams))))
        baselines.append(cka(grams, shuffled, valid, valid, executor.map))
    for place, measure in enumerate(("cka", "cka_debiased")):
        kept = compared.reason[measure] == ""
        compared.value[measure][kept] = values[place][one, other][kept]
        mean = np.mean([drawn[place][one, other] for drawn in baselines], axis=0)
        compared.baseline[measure][kept] = mean[kept]
        undefined = kept & ~np.isfinite(compared.value[measure])
        compared.reason[measure][undefined] = "a view does not vary over the common sentences"


def _compare_cca(
    states, valid, constant, compared: Compared, settings: Settings, executor: Executor
) -> None:
    """SVCCA and PWCCA; the components of a view are of all its sentences in the subset."""
    per_component = settings.sentences_per_component

    def of_view(view: int) -> Components | None:
        most = int(valid[view].sum()) // per_component
        if constant[view] or most < 1 or _is_constant(states[view][valid[view]]):
            return None
        return principal_components(states[view], valid[view], settings.variance, most)

    components = list(executor.map(of_view, range(len(states))))
    shuffles = [_permuted(valid, settings.seed, draw) for draw in range(settings.shuffles)]
    pairs = pairs_of(len(states))

    def of_pair(place: int) -> tuple | str:
        if compared.reason["svcca"][place]:
            return compared.reason["svcca"][place]
        one, other = pairs[place]
        views = components[one], components[other]
        if None in views:
            return "a view does not vary over the subset"
        rows = np.flatnonzero(valid[one] & valid[other])
        kept = [min(len(view.shares), len(rows) // per_component) for view in views]
        first, second = (view.within(rows, k) for view, k in zip(views, kept, strict=True))
        kept = first[0].shape[1], second[0].shape[1]
        reason = refusal(len(rows), *kept)
        if reason:
            return reason
        drawn = [
            svcca_pwcca(first, views[1].within(shuffled[other][rows], kept[1]))
            for shuffled in shuffles
        ]
        variance = [view.shares[k - 1] for view, k in zip(views, kept, strict=True)]
        return svcca_pwcca(first, second), np.mean(drawn, axis=0), kept, variance

    for place, answer in enumerate(executor.map(of_pair, range(len(pairs)))):
        if isinstance(answer, str):
            for measure in ("svcca", "pwcca"):
                compared.reason[measure][place] = answer
            continue
        (svcca, forward, backward), drawn, kept, variance = answer
        compared.value["svcca"][place], compared.baseline["svcca"][place] = svcca, drawn[0]
        compared.forward["pwcca"][place], compared.backward["pwcca"][place] = forward, backward
        compared.value["pwcca"][place] = (forward + backward) / 2
        compared.baseline["pwcca"][place] = drawn[1:].mean()
        compared.components[place], compared.variance[place] = kept, variance
