"""A modality that is left out."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.encoders.base import Future, Recipe, completed
from pipeline.media.decoder import DecodeStream, VideoDecoder


class NullEncoder:
    """The encoder of `kind: none`: no video has a row."""

    dim = 1
    batch_size = 1

    def __init__(self, name: str, modality: str) -> None:
        self.name, self.modality = name, modality
        self.recipe: Recipe = {"kind": "none"}

    def read(self, decoder: VideoDecoder, path: Path) -> DecodeStream:  # noqa: ARG002
        return DecodeStream.empty()

    def prepare(self, item: NDArray[Any]) -> NDArray[np.float32]:
        return item.astype(np.float32)

    def submit(self, batch: NDArray[np.float32]) -> Future:
        return completed(batch.copy())
