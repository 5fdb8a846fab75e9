"""Slow, obvious versions of statistics, a neuron at a time: what the fast ones must equal."""

import numpy as np
from sklearn.metrics import average_precision_score


def slow_ap(activations, labels, n_classes):
    """AP by scikit-learn: (n_classes, n_neurons)."""
    return np.array(
        [
            [average_precision_score(labels == c, column) for column in activations.T]
            for c in range(n_classes)
        ]
    )


def slow_separation(activations, labels, n_classes):
    """Cohen's d as the textbook has it: (n_classes, n_neurons)."""
    found = np.zeros((n_classes, activations.shape[1]))
    for c in range(n_classes):
        own, rest = activations[labels == c], activations[labels != c]
        for neuron in range(activations.shape[1]):
            one, other = own[:, neuron].astype(np.float64), rest[:, neuron].astype(np.float64)
            if not len(one) or not len(other) or one.mean() == other.mean():
                continue
            squares = ((one - one.mean()) ** 2).sum() + ((other - other.mean()) ** 2).sum()
            deviation = np.sqrt(squares / (len(one) + len(other) - 2))
            difference = one.mean() - other.mean()
            found[c, neuron] = difference / deviation if deviation else np.sign(difference) * np.inf
    return found


def slow_top(activations, labels, n_classes, k):
    """Top-k sets of every class, equal AP ordered by separation and then by column (D6)."""
    ap = slow_ap(activations, labels, n_classes)
    apart = slow_separation(activations, labels, n_classes)
    return [
        set(
            sorted(
                range(len(row)),
                key=lambda j, c=c, row=row: (-round(row[j], 12), -round(apart[c, j], 9), j),
            )[:k]
        )
        for c, row in enumerate(ap)
    ]
