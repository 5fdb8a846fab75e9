"""Which checkpoint to load and where to; kept free of torch so that a rule can hold one cheaply."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def known_dtype(dtype: str, device: str) -> str:
    """What ``dtype`` comes to on a device, as far as is known before a job runs.

    "auto" where the device is "auto" as well: where Snakemake runs there may be no GPU, and one where
    the job does.
    """
    if dtype != "auto" or device == "auto":
        return dtype
    return "float32" if device == "cpu" else "float16"


@dataclass(frozen=True)
class ModelSource:
    """A SeamlessM4T checkpoint, its precision and its device."""

    path: str  # a folder, or a name on the Hugging Face hub
    revision: str | None = None
    dtype: str = "auto"  # "auto", "float16" or "float32"
    device: str = "auto"  # "auto", "cpu", "cuda" or "cuda:<n>"

    @property
    def torch_device(self) -> "torch.device":
        """The device: "auto" is the GPU where there is one."""
        import torch

        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError(
                f"model.device: expected a GPU for {self.device!r}, got none that torch sees; "
                "use 'auto' or 'cpu', or check the driver (nvidia-smi)"
            )
        return torch.device(self.device)

    @property
    def torch_dtype(self) -> "torch.dtype":
        """The dtype of weights and computation: "auto" is float16 on a GPU, float32 on a CPU."""
        import torch

        dtype = known_dtype(self.dtype, self.torch_device.type)
        return {"float16": torch.float16, "float32": torch.float32}[dtype]
