"""Fixes chosen neurons of the decoder to given values while it generates (D8)."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Replacement:
    """Neurons and the values that they are fixed to.

    ``table`` has one row a neuron: layer, submodule, unit, value.
    """

    table: pd.DataFrame

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def packed(self) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
        """Paths of modules of the decoder; and of every neuron which of them, its unit and its value.

        Neurons are in order of path and unit.
        """
        layer = self.table["layer"].astype(str)
        names = "layers." + layer + "." + self.table["submodule"].astype(str)
        paths, module = np.unique(names.to_numpy(dtype=str), return_inverse=True)
        unit = self.table["unit"].to_numpy(dtype=np.int64)
        order = np.lexsort((unit, module))
        module, unit = module[order], unit[order]
        twice = np.flatnonzero((np.diff(module) == 0) & (np.diff(unit) == 0))
        if len(twice):
            raise ValueError(
                f"{paths[module[twice[0]]]}: expected each unit once, got {unit[twice[0]]} twice"
            )
        return paths.tolist(), module, unit, self.table["value"].to_numpy(np.float32)[order]

    @cached_property
    def digest(self) -> str:
        """Thirty-two hex digits over the neurons and their values, in whatever order they came."""
        paths, *arrays = self.packed
        digest = hashlib.sha256("\n".join(paths).encode())
        for one in arrays:
            digest.update(np.ascontiguousarray(one).tobytes())
        return digest.hexdigest()[:32]


class Intervention:
    """Rows of a batch have neurons of the decoder fixed, inside of a ``with`` block.

    Parameters
    ----------
    text_decoder : nn.Module
        The model's decoder.
    replacements : sequence of (slice, Replacement)
        Rows of the batch and what to fix in them; rows in none are left alone. Different rows may
        have different neurons fixed, so that many conditions share one generation.

    Notes
    -----
    Every position is replaced as it is computed, the cached prefix included; of the
    cross-attention's keys and values every encoder position. What a module gave for the whole batch
    is replaced by one write; where and what lies on the decoder's device.
    """

    def __init__(
        self, text_decoder: "nn.Module", replacements: "Sequence[tuple[slice, Replacement]]"
    ):
        self._decoder = text_decoder
        self._paths, self._given = _gathered(replacements)
        self._left = self._given  # of the rows that are in the batch
        self._n_rows: int | None = None  # of the batch, once it has come by
        self._writes: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._handles: list = []

    def __enter__(self) -> "Intervention":
        self._n_rows = None
        self._load(self._given)
        self._handles = [
            self._decoder.get_submodule(path).register_forward_hook(self._hook(number))
            for number, path in enumerate(self._paths)
        ]
        return self

    def __exit__(self, *_error) -> None:
        for handle in self._handles:
            handle.remove()
        self._writes = []

    def keep(self, rows: np.ndarray) -> None:
        """Follow a batch of which only some rows are left.

        Parameters
        ----------
        rows : (n,) int array
            Which rows stay, in their order from now on.
        """
        if self._n_rows is None:
            raise RuntimeError("an intervention follows a batch that it has seen")
        number = np.full(self._n_rows, -1, dtype=np.int64)
        number[rows] = np.arange(len(rows))
        now = number[self._left.row]
        stays = now >= 0
        self._n_rows = len(rows)
        left = self._left.module, now, self._left.unit, self._left.value
        self._load(_Neurons(*(one[stays] for one in left)))

    def _load(self, neurons: "_Neurons") -> None:
        """Put on the device which elements of the last position's output are fixed, and to what."""
        import torch

        self._left = neurons
        parameter = next(self._decoder.parameters())
        widths = np.array([len(self._decoder.get_submodule(path).weight) for path in self._paths])
        element = (
            neurons.row * widths[neurons.module] + neurons.unit if len(widths) else neurons.row
        )
        ends = np.searchsorted(neurons.module, np.arange(len(self._paths)), side="right")
        parts = np.diff(ends, prepend=0).tolist()
        elements = torch.from_numpy(element).to(parameter.device).split(parts)
        values = torch.from_numpy(neurons.value).to(parameter).split(parts)
        self._writes = list(zip(elements, values, strict=True))

    def _hook(self, number: int) -> "Callable":
        def hook(_module, _args, output):  # (batch, positions, units)
            n_rows, n_positions, width = output.shape
            if n_rows != self._n_rows:
                self._see(n_rows)
            element, value = self._writes[number]
            if n_positions == 1:
                output.put_(element, value)  # of all ways the least work to launch
            else:
                output[element // width, :, element % width] = value[:, None]

        return hook

    def _see(self, n_rows: int) -> None:
        if self._n_rows is not None:
            raise RuntimeError(
                f"intervention: expected a batch of {self._n_rows} rows, got {n_rows}; what generates "
                "must be given the intervention, so that it follows the rows that are left"
            )
        if len(self._left.row) and self._left.row.max() >= n_rows:
            raise ValueError(
                f"intervention: expected rows below {n_rows}, the batch's, got {self._left.row.max()}"
            )
        self._n_rows = n_rows


@dataclass(frozen=True)
class _Neurons:
    """What is fixed where, a neuron of a row each, module by module: (n,) arrays."""

    module: np.ndarray
    row: np.ndarray
    unit: np.ndarray
    value: np.ndarray


def _gathered(replacements: "Sequence[tuple[slice, Replacement]]") -> tuple[list[str], _Neurons]:
    """Paths of the modules that are touched, and the neurons of all rows."""
    rows_of: dict[int, list[np.ndarray]] = {}
    fixed_by = {id(fixed): fixed for _, fixed in replacements}
    for rows, fixed in replacements:
        rows_of.setdefault(id(fixed), []).append(np.arange(rows.start or 0, rows.stop))
    taken = np.concatenate([one for ones in rows_of.values() for one in ones]) if rows_of else []
    if len(np.unique(taken)) < len(taken):
        raise ValueError("intervention: expected each row in one slice at most, got one in several")
    path_number: dict[str, int] = {}
    parts = []
    for key, fixed in fixed_by.items():
        paths, module, unit, value = fixed.packed
        numbers = np.array([path_number.setdefault(path, len(path_number)) for path in paths])
        rows = np.concatenate(rows_of[key])
        parts.append(
            (
                np.tile(numbers[module], len(rows)),
                np.repeat(rows, len(unit)),
                np.tile(unit, len(rows)),
                np.tile(value, len(rows)),
            )
        )
    empty = (np.empty(0, np.int64),) * 3 + (np.empty(0, np.float32),)
    arrays = [np.concatenate(column) for column in zip(empty, *parts, strict=True)]
    order = np.argsort(arrays[0], kind="stable")
    return list(path_number), _Neurons(*(one[order] for one in arrays))
