"""In what precision models compute."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def autocast(device: str) -> "torch.autocast":
    """bfloat16 on a GPU, where PyTorch's autocast uses it; float32 on a CPU."""
    import torch

    cuda = device.startswith("cuda")
    return torch.autocast("cuda" if cuda else "cpu", torch.bfloat16, enabled=cuda)
