"""How well a layer tells the language: a linear probe on its states, and its best single neuron.

The probe is multinomial logistic regression on standardised mean-pooled states, cross-validated: every
utterance is predicted by a probe that has seen no utterance of the same sentence, in any language, since
sentences are parallel and a probe could learn what is said in place of the language.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from steplens.files.atomic import write_csv
from steplens.ranking.table import Condition, Ranking, open_condition, open_ranking, require_ranked
from steplens.statistics.bootstrap import SentenceDraws, percentile_interval
from steplens.store.groups import reading
from steplens.tasks import ALL

log = logging.getLogger(__name__)

_ITERATIONS = 1000
N_RESAMPLES = 1000
_COLUMNS = [
    "module", "task", "step", "layer", "language", "recall", "recall_low", "recall_high", "chance",
    "best_neuron_ap", "n",
]  # fmt: skip


def probe_language(
    stores: dict[str, Path],
    ranking: Path,
    condition: dict[str, str | int],
    output: Path,
    folds: int,
    regularisation: float,
    seed: int,
    left_out: Path | None = None,
) -> None:
    """Write how well every layer of one condition tells the language.

    Parameters
    ----------
    stores : dict
        Language to store.
    ranking : path
        By language, of the same stores.
    condition : dict
        module, and task and step for the decoder: what the stores must say of themselves.
    output : path
        CSV with a row a layer and language (``all``: their mean), with module, task (of an encoder its
        modality) and step (0) before: ``recall``, the share of the language's
        utterances that the probe tells, with ``recall_low`` and ``recall_high``, a 95 % interval over
        sentences (the probes are not trained anew); ``chance``, 1 / n_languages; ``best_neuron_ap``, the
        highest AP for the language among the layer's neurons (none for the embedding and the adapter);
        ``n`` utterances.
    folds : int
    regularisation : float
        L2 penalty, scikit-learn's 1 / C.
    seed : int
    left_out : path, optional
        As in ``open_condition``.

    Raises
    ------
    StoreError
        As in ``compare_step``.
    ValueError
        A language has fewer than two valid utterances.
    """
    opened = open_condition(stores, True, left_out, **condition)
    ranked = open_ranking(ranking, **condition)
    require_ranked(ranked, opened, ranking)
    sentences = np.concatenate(
        [
            one["utterance"].to_numpy()[mask]
            for one, mask in zip(opened.data, opened.valid, strict=True)
        ]
    )
    labels = opened.labels
    fold = assign_folds(sentences, folds, seed)
    stored = np.concatenate([one["utterance"].to_numpy() for one in opened.data])
    weights = SentenceDraws(stored, N_RESAMPLES, seed).of(sentences)
    best = best_neurons(ranked)
    rows = []
    for name, states in places_of(opened):
        with threadpool_limits(1):  # sums in the same order on every machine
            right = out_of_fold(states, labels, fold, regularisation) == labels
        for language, recall, low, high, n in _recalls(right, labels, weights, opened.languages):
            rows.append(
                {
                    "layer": name, "language": language,
                    "recall": recall, "recall_low": low, "recall_high": high,
                    "chance": 1 / len(opened.languages),
                    "best_neuron_ap": best.get((name, language), np.nan), "n": n,
                }
            )  # fmt: skip
        log.info(
            "layer %s: the probe tells the language of %.1f %%", name, 100 * rows[-1]["recall"]
        )
    module = str(condition["module"])
    task, step = condition.get("task", module.removesuffix("_encoder")), condition.get("step", 0)
    write_csv(pd.DataFrame(rows).assign(module=module, task=task, step=step)[_COLUMNS], output)


def assign_folds(sentences: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of every utterance: (n_examples,) int array; utterances of one sentence share theirs.

    Of fewer sentences than folds each is a fold: at a late step few sentences may be left.
    """
    known, which = np.unique(sentences, return_inverse=True)
    if len(known) < folds:
        log.warning("%d sentences are valid: so many folds, not %d", len(known), folds)
        folds = len(known)
    order = np.random.default_rng([seed, folds]).permutation(len(known))
    return (order % folds)[which]


def places_of(opened: Condition) -> Iterator[tuple[str, np.ndarray]]:
    """Name and (n_examples, hidden) float32 states of the embedding, every layer, and the adapter."""
    for name in opened.data[0]["place"].to_numpy().tolist():
        parts = []
        for path, data, mask in zip(opened.paths, opened.data, opened.valid, strict=True):
            with reading(path):
                parts.append(data["hidden_state"].sel(place=name).to_numpy()[mask])
        yield name, np.concatenate(parts).astype(np.float32)


def out_of_fold(
    states: np.ndarray, labels: np.ndarray, fold: np.ndarray, regularisation: float
) -> np.ndarray:
    """The language that a probe trained on the other folds gives each utterance.

    Parameters
    ----------
    states : (n_examples, hidden) array
    labels, fold : (n_examples,) int arrays
    regularisation : float

    Returns
    -------
    (n_examples,) int array
    """
    told = np.empty_like(labels)
    for one in np.unique(fold):
        held = fold == one
        known = np.unique(labels[~held])
        if len(known) == 1:  # all others of a language are held out too
            told[held] = known
            continue
        probe = make_pipeline(
            StandardScaler(), LogisticRegression(C=1 / regularisation, max_iter=_ITERATIONS)
        )
        told[held] = probe.fit(states[~held], labels[~held]).predict(states[held])
    return told


def best_neurons(ranking: Ranking) -> dict[tuple[str, str], float]:
    """(layer, language) to the highest AP among the layer's neurons; ``all``: the mean over languages."""
    by_layer = pd.DataFrame(ranking.ap.T, columns=ranking.languages).groupby(
        ranking.neurons["layer"].to_numpy()
    )
    best = by_layer.max()
    best[ALL] = best.mean(axis=1)
    return {(str(layer), name): value for name in best for layer, value in best[name].items()}


def _recalls(
    right: np.ndarray, labels: np.ndarray, weights: np.ndarray, languages: list[str]
) -> Iterator[tuple[str, float, float, float, int]]:
    """Language, recall, both ends of its interval and utterances; in the end the mean over languages."""
    drawn = []
    for place, language in enumerate(languages):
        own = labels == place
        total = weights[:, own].sum(1)
        with np.errstate(invalid="ignore"):
            drawn.append((weights[:, own] @ right[own]) / total)
        yield language, right[own].mean(), *percentile_interval(drawn[-1]), int(own.sum())
    recall = np.mean([right[labels == place].mean() for place in range(len(languages))])
    yield ALL, recall, *percentile_interval(np.mean(drawn, axis=0)), len(labels)
