"""Copies between the host and the device that nobody waits for before he must.

A copy from or to ordinary memory makes the host wait for all that the device was asked to do before;
one from or to pinned memory does not. PyTorch keeps pinned memory for the next batch once it is free.
"""

from collections.abc import Mapping

import torch


def to_device(
    values: torch.Tensor, device: torch.device, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """A tensor of the host on the device, in another dtype where one is given."""
    if device.type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory().to(device, non_blocking=True)
    return values.to(device, dtype)  # on the device: together the host would do it, and wait


class HostCopy:
    """Tensors of a device on their way to the host, beside what the device computes next.

    Parameters
    ----------
    tensors : mapping of name to tensor
        All of one device. Nothing may write into them afterwards. Those of the CPU are not copied.
    stream : torch.cuda.Stream, optional
        Of the copies, one for all of a job; needed for tensors of a GPU.
    """

    def __init__(
        self, tensors: Mapping[str, torch.Tensor], stream: "torch.cuda.Stream | None" = None
    ):
        self._tensors, self._event = dict(tensors), None
        if stream is None:
            return
        stream.wait_stream(torch.cuda.current_stream(stream.device))
        with torch.cuda.stream(stream):
            for name, one in tensors.items():
                host = torch.empty(one.shape, dtype=one.dtype, pin_memory=True)
                self._tensors[name] = host.copy_(one, non_blocking=True)
                one.record_stream(stream)  # its memory is not given to others before it is copied
            # Whoever waits for it sleeps: the processor is needed elsewhere.
            self._event = stream.record_event(torch.cuda.Event(blocking=True))

    def has(self, name: str) -> bool:
        """Whether a tensor of that name is among them."""
        return name in self._tensors

    def wait(self) -> dict[str, torch.Tensor]:
        """The tensors on the host, once they are there."""
        if self._event is not None:
            self._event.synchronize()
        return self._tensors


def copy_stream(device: torch.device) -> "torch.cuda.Stream | None":
    """A stream for ``HostCopy``; None where there is no GPU."""
    return torch.cuda.Stream(device) if device.type == "cuda" else None
