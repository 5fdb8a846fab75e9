"""Means over the valid positions of a batch, fast enough to be taken of every submodule's output (D2)."""

import numpy as np
import torch

from steplens.batches.device_copies import to_device


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over valid positions, accumulated in float32: what ``Pooling`` must give.

    Parameters
    ----------
    values : (batch, time, units) tensor
    mask : (batch, time) tensor
        1 where valid; at least one valid position a row.

    Returns
    -------
    (batch, units) float32 tensor
    """
    weights = (mask / mask.sum(1, keepdim=True)).to(torch.float32)  # (batch, time)
    # A padded position may hold anything, infinity included: zero times it must stay zero.
    valid = values.float().masked_fill(~mask.bool().unsqueeze(-1), 0.0)
    return torch.bmm(weights.unsqueeze(1), valid).squeeze(1)


class Pooling:
    """``masked_mean`` of many tensors with one mask; what depends on the mask alone is done once.

    Parameters
    ----------
    mask : (batch, time) tensor
        1 where valid; valid positions come first. Best on the CPU, since lengths are read from it.
    device : torch.device
        Of the values.
    by_row : bool, optional
        Average every row by itself up to its end; by default on a CPU, and possible only there. Else
        the batch is one product of the 0/1 mask and the values, as on a GPU, where a kernel a row would
        take longer.

    Attributes
    ----------
    exact : bool
        Whether padded positions may hold infinity or NaN. Where they may not, a row that comes out not
        finite must be computed again without padding.

    Raises
    ------
    ValueError
        A row without a valid position, or with a padded one before a valid one.
    """

    def __init__(self, mask: torch.Tensor, device: torch.device, by_row: bool | None = None):
        mask = mask.cpu()
        lengths = mask.sum(1)
        first = torch.arange(mask.shape[1])[None] < lengths[:, None]
        if not (torch.equal(mask.bool(), first) and bool((lengths > 0).all())):
            raise ValueError(
                "mask: expected the valid positions of every row first, and at least one, got "
                f"{lengths.tolist()} valid positions among {mask.shape[1]}"
            )
        self._lengths = lengths.tolist()
        self._by_row = device.type == "cpu" if by_row is None else by_row
        self.exact = self._by_row or min(self._lengths) == mask.shape[1]
        if not self.exact:
            self._mask = to_device(mask.bool(), device).unsqueeze(1)  # (batch, 1, time)
            self._share = to_device(1.0 / lengths.float(), device).unsqueeze(1)  # (batch, 1)
            self._weights: dict[torch.dtype, torch.Tensor] = {}

    def into(self, out: torch.Tensor, values: torch.Tensor) -> None:
        """Write the means.

        Parameters
        ----------
        out : (batch, units) tensor
            float32, or float16 where rows are not averaged by themselves; may be columns of a wider one.
        values : (batch, time, units) tensor
        """
        if self._by_row:
            self._average_rows(out.numpy(), values.detach().numpy())
        elif not self.exact:
            torch.mul(self._sums(values), self._share, out=out)
        elif out.dtype == torch.float32:
            torch.mean(values, 1, dtype=torch.float32, out=out)
        else:
            out.copy_(torch.mean(values, 1, dtype=torch.float32))

    def _average_rows(self, out: np.ndarray, values: np.ndarray) -> None:
        # Not with torch: it would share each of these small sums among all threads and wait for them.
        for one, row, length in zip(out, values, self._lengths, strict=True):
            np.add.reduce(row[:length], axis=0, dtype=np.float32, out=one)
            one /= length

    def _sums(self, values: torch.Tensor) -> torch.Tensor:
        """(batch, units) float32; the values are read once, in their own dtype."""
        if values.dtype not in self._weights:
            self._weights[values.dtype] = self._mask.to(values.dtype)  # 0 and 1 are exact in any
        weights = self._weights[values.dtype]
        if values.dtype == torch.float32:
            return torch.bmm(weights, values).squeeze(1)
        if values.device.type == "cpu":
            return torch.bmm(weights.float(), values.float()).squeeze(1)
        # In float32, since a sum over some hundred positions may pass the end of float16.
        return torch.bmm(weights, values, out_dtype=torch.float32).squeeze(1)


def last_position(out: torch.Tensor, values: torch.Tensor) -> None:
    """Write the last position of (batch, time, units) values into (batch, units) ``out``."""
    if out.device.type == "cpu":  # as above
        np.copyto(out.numpy(), values.detach()[:, -1].numpy(), casting="same_kind")
    else:
        out.copy_(values[:, -1])
