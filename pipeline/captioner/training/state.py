"""The state of a training that is under way, in one file: a killed training goes on where it was.

The file is safetensors: weights, the best weights so far, the optimiser's moments and the state of the random
numbers, with all that is no tensor as JSON in its header. It is published whole, so a kill at any moment leaves the
one before. It counts only for a training of the same fingerprint.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from pipeline.captioner.inputs import InputSource
from pipeline.common.code import code_digest
from pipeline.common.errors import SpectrumError
from pipeline.common.files import atomic_write, fingerprint

Tensors = dict[str, Tensor]

_HEADER = "spectrum"


@dataclass(frozen=True)
class StateFile:
    path: Path
    fingerprint: str

    def load(self) -> tuple[Tensors, dict[str, Any]] | None:
        """Tensors and the rest, as saved; None where there is no state of this training."""
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, "pt") as file:
                header = json.loads(file.metadata()[_HEADER])
                if header["fingerprint"] != self.fingerprint:
                    return None
                return {name: file.get_tensor(name) for name in file.keys()}, header["rest"]  # noqa: SIM118
        except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise SpectrumError(f"{self.path}: not readable as the state of a training ({error}); "
                                "delete it and train again") from None

    def save(self, tensors: Tensors, rest: Mapping[str, Any]) -> None:
        header = json.dumps({"fingerprint": self.fingerprint, "rest": rest}, allow_nan=False)
        with atomic_write(self.path) as temporary:
            temporary.write_bytes(to_bytes({name: tensor.detach().cpu().contiguous() for name, tensor in
                                            tensors.items()}, {_HEADER: header}))


def fingerprint_of(settings: Mapping[str, Any], inputs: Iterable[InputSource]) -> str:
    """Stands for everything that decides a training: settings, features, PyTorch, and the code with its imports."""
    return fingerprint({**settings, "inputs": [part.digest() for part in inputs], "torch": torch.__version__,
                        "code": code_digest("pipeline.captioner.training.trainer")})


def random_state(device: torch.device) -> Tensors:
    """PyTorch's random numbers, as byte tensors."""
    state = {"random/cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["random/cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(tensors: Tensors, device: torch.device) -> None:
    torch.set_rng_state(tensors["random/cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random/cuda"], device)


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """The tensors whose names begin with `prefix/`, by the rest of their names."""
    return {name.removeprefix(f"{prefix}/"): tensor for name, tensor in tensors.items()
            if name.startswith(f"{prefix}/")}


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}
