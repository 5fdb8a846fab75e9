"""Fixes chosen neurons of the decoder to given values while it generates (D8)."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from .rankings import Ranking
from .selection import bottom_k, top_k


@dataclass(frozen=True)
class Replacement:
    """Neurons and the values that they are fixed to.

    ``table`` has one row a neuron: layer, submodule, unit, value.
    """

    table: pd.DataFrame

    def __len__(self) -> int:
        return len(self.table)


def control_columns(ranking: Ranking, language: str, k: int) -> np.ndarray:
    """Columns of a language's control neurons: its top k and its bottom k by AP (D6), sorted."""
    if 2 * k > ranking.ap.shape[1]:
        raise ValueError(
            f"steering k: expected at most {ranking.ap.shape[1] // 2} (half the neurons, since top "
            f"and bottom k are replaced), got {k}"
        )
    ap = ranking.ap[ranking.row(language)]
    return np.union1d(top_k(ap, k), bottom_k(ap, k))


def matched_random_columns(ranking: Ranking, columns: np.ndarray, seed: int) -> np.ndarray:
    """As many random neurons in every layer and submodule as ``columns`` has there, sorted.

    They are drawn from the neurons that are not in ``columns``; where a submodule has too few of
    those left, the rest comes from ``columns``.
    """
    generator = np.random.default_rng(seed)
    chosen = np.zeros(len(ranking.neurons), dtype=bool)
    chosen[columns] = True
    cell = ranking.neurons.groupby(["layer", "submodule"], observed=True).ngroup().to_numpy()
    drawn = []
    for number in np.unique(cell[columns]):
        count = (chosen & (cell == number)).sum()
        free = generator.permutation(np.flatnonzero(~chosen & (cell == number)))
        taken = generator.permutation(np.flatnonzero(chosen & (cell == number)))
        drawn.append(np.concatenate([free, taken])[:count])
    return np.sort(np.concatenate(drawn))


def replacement(ranking: Ranking, columns: np.ndarray, target: str) -> Replacement:
    """Fix the neurons at ``columns`` to the medians of the target language."""
    table = ranking.neurons.iloc[columns][["layer", "submodule", "unit"]]
    values = ranking.median[ranking.row(target), columns]
    return Replacement(table.assign(value=values).reset_index(drop=True))


class Intervention:
    """A ``with`` block in which rows of the batch have neurons of the decoder fixed.

    Parameters
    ----------
    text_decoder : nn.Module
        The model's decoder.
    replacements : list of (slice, Replacement)
        Rows of the batch and what to fix in them; rows in none are left alone. Different rows may
        have different neurons fixed, so that many conditions share one generation.

    Notes
    -----
    Every position is replaced as it is computed, the cached prefix included; of the
    cross-attention's keys and values every encoder position.
    """

    def __init__(self, text_decoder: nn.Module, replacements: list[tuple[slice, Replacement]]):
        self._decoder = text_decoder
        parameter = next(text_decoder.parameters())
        self._writes: dict[str, list[tuple[slice, torch.Tensor, torch.Tensor]]] = {}
        for rows, fixed in replacements:
            for (layer, submodule), part in fixed.table.groupby(
                ["layer", "submodule"], observed=True
            ):
                units = torch.tensor(part["unit"].to_numpy(), dtype=torch.long)
                values = torch.tensor(part["value"].to_numpy())
                self._writes.setdefault(f"layers.{layer}.{submodule}", []).append(
                    (rows, units.to(parameter.device), values.to(parameter))
                )
        self._handles: list = []

    def __enter__(self) -> "Intervention":
        self._handles = [
            self._decoder.get_submodule(path).register_forward_hook(self._hook(writes))
            for path, writes in self._writes.items()
        ]
        return self

    def __exit__(self, *_error) -> None:
        for handle in self._handles:
            handle.remove()

    @staticmethod
    def _hook(writes):
        def hook(_module, _args, output):  # output: (batch, positions, units)
            for rows, units, values in writes:
                output[rows][..., units] = values

        return hook
