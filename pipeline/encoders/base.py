"""What an encoder is to extraction: it reads items from a video, prepares each and encodes batches."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.decoder import Decoder

Recipe = dict[str, Any]


class Encoder(Protocol):
    """`read` and `prepare` run in many threads at once, `encode` in one.

    `recipe` says everything that decides the features' values but the video itself: two stores of one
    recipe may be mixed. Batch size and device change no more than rounding and are no part of it.
    """

    name: str           # of the folder of its store
    modality: str       # appearance | audio
    dim: int
    batch: int          # items an encode call
    recipe: Recipe

    def read(self, decoder: Decoder, path: Path) -> Iterator[tuple[float, NDArray[Any]]]:
        """The video's items with their times in seconds, none where it lacks the modality.

        Raises MediaError.
        """
        ...

    def prepare(self, item: NDArray[Any]) -> NDArray[np.float32]:
        """One item as the model takes it, the same shape for each."""
        ...

    def encode(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Prepared items [B, …] → rows [B, dim]."""
        ...
