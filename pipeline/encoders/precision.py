"""In what precision models compute."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


PRECISIONS = ("float32", "bfloat16")


def precision(device: str) -> str:
    """For recipes: bfloat16 keeps three digits, which changes rows by more than rounding to float16."""
    return "bfloat16" if device.startswith("cuda") else "float32"


def autocast(device: str) -> "torch.autocast":
    """bfloat16 on a GPU, where PyTorch's autocast uses it; float32 on a CPU."""
    import torch

    return torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=precision(device) == "bfloat16")
