"""A modality that is left out."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.encoders.base import Begun, Recipe, at_once
from pipeline.media.decoder import Decoder, Reading


class Nothing:
    """The encoder of `kind: none`: no video has a row."""

    dim = 1
    batch = 1

    def __init__(self, name: str, modality: str) -> None:
        self.name, self.modality = name, modality
        self.recipe: Recipe = {"kind": "none"}

    def read(self, decoder: Decoder, path: Path) -> Reading:  # noqa: ARG002
        return Reading.nothing()

    def prepare(self, item: NDArray[Any]) -> NDArray[np.float32]:
        return item.astype(np.float32)

    def begin(self, batch: NDArray[np.float32]) -> Begun:
        return at_once(batch.copy())
