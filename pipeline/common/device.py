"""Which device tensors live on."""

import torch

from pipeline.common.errors import SpectrumError


def device(choice: str) -> torch.device:
    """`auto` is the GPU where there is one; `cuda` without one is an error."""
    if choice == "cuda" and not torch.cuda.is_available():
        raise SpectrumError("device=cuda, but torch sees no GPU; set device=auto or device=cpu")
    return torch.device("cuda" if choice != "cpu" and torch.cuda.is_available() else "cpu")
