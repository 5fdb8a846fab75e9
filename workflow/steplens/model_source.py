"""Which checkpoint to load and where to; kept free of torch so that a rule can hold one cheaply."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


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
                f"model.device: got {self.device!r}, but torch sees no GPU; "
                "use 'auto' or 'cpu', or check the driver (nvidia-smi)"
            )
        return torch.device(self.device)

    @property
    def torch_dtype(self) -> "torch.dtype":
        """The dtype of weights and computation: "auto" is float16 on a GPU, float32 on a CPU."""
        import torch

        if self.dtype == "auto":
            return torch.float16 if self.torch_device.type == "cuda" else torch.float32
        return {"float16": torch.float16, "float32": torch.float32}[self.dtype]
