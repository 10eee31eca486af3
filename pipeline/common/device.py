"""What this machine computes with: its processor cores and the device that tensors live on."""

import os
from typing import TYPE_CHECKING

from pipeline.common.errors import SpectrumError

if TYPE_CHECKING:
    import torch


def cpu_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def torch_device(choice: str) -> "torch.device":
    """`auto` is the GPU where there is one; `cuda` without one is a SpectrumError."""
    import torch  # here, because it takes seconds and cpu_cores does without

    if choice == "cuda" and not torch.cuda.is_available():
        raise SpectrumError("machine.device=cuda, but torch sees no GPU; set machine.device=auto or machine.device=cpu")
    return torch.device("cuda" if choice != "cpu" and torch.cuda.is_available() else "cpu")
