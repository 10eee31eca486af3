"""Many captions to vectors in parts, by one process or the workers of a cluster (pipeline/workers).

    vectors = encode_by_parts(SavedTask(engine, TextEncoding(section, folder, "auto"), parts), texts)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import SpectrumError
from pipeline.common.files import fingerprint
from pipeline.common.hdf5 import Layout
from pipeline.encoders import text_encoder
from pipeline.encoders.text_encoder import TextEncoder
from pipeline.params import AppearanceEncoder
from pipeline.workers.saved_parts import Arrays, SavedTask

_CAPTIONS = 2048        # a part

_LAYOUTS = {"vectors": Layout("float32", rank=2)}


@dataclass(frozen=True)
class TextEncoding:
    """Makes a worker that encodes texts; `device` is as `machine.device` has it."""

    section: AppearanceEncoder
    folder: Path
    device: str

    def __call__(self) -> "TextWorker":
        from pipeline.common.device import torch_device

        device = torch_device(self.device)
        return TextWorker(text_encoder.text_encoder(self.section, self.folder, str(device)), device.type)


class TextWorker:
    def __init__(self, encoder: TextEncoder, device: str) -> None:
        self._encoder = encoder
        self.facts: dict[str, Any] = {"recipe": encoder.recipe, "precision": encoder.precision, "device": device}

    def do(self, part: Sequence[str]) -> Arrays:
        vectors = self._encoder.encode_texts(part)
        lost = np.flatnonzero(~np.isfinite(vectors).all(1))
        if len(lost):
            raise SpectrumError(f"the text encoder's vector of {part[lost[0]]!r:.200} is not finite; mend its weights")
        return {"vectors": vectors}


def encode_by_parts(task: SavedTask[Sequence[str]], texts: Sequence[str]) -> Iterator[NDArray[np.float32]]:
    """The texts' vectors [n, D], each of length 1, in parts."""
    parts = {f"captions-{first:09}": texts[first:first + _CAPTIONS] for first in range(0, len(texts), _CAPTIONS)}
    for arrays in task.run(parts, _LAYOUTS, fingerprint(list(texts))):
        yield arrays["vectors"]
