"""Batches that mix videos, all of one shape: a row's bits may depend on the shape, on nothing else in the batch."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.encoders.base import Encoder
from pipeline.errors import SpectrumError
from pipeline.extraction.reading import Stream
from pipeline.store import Rows


class Batches:
    """Collects items until a batch is full, encodes it, and gives each stream its rows, in their order."""

    def __init__(self, encoder: Encoder) -> None:
        self.seconds = 0.0
        self._encoder = encoder
        self._batch: NDArray[Any] | None = None      # [B, …]
        self._owners: list[Stream] = []

    def add(self, stream: Stream, item: NDArray[Any]) -> bool:
        """Whether a batch became full, so that there are new rows."""
        if self._batch is None:
            self._batch = np.zeros((self._encoder.batch, *item.shape), item.dtype)
        self._batch[len(self._owners)] = item
        self._owners.append(stream)
        if len(self._owners) < len(self._batch):
            return False
        self.finish()
        return True

    def finish(self) -> None:
        """Encodes what there is; what the batch held before fills it up."""
        if self._batch is None or not self._owners:
            return
        began = time.perf_counter()
        rows = stored(self._encoder, self._encoder.encode(self._batch))
        for stream, row in zip(self._owners, rows, strict=False):
            stream.rows.append(row)
        self._owners = []
        self.seconds += time.perf_counter() - began


def encode_all(encoder: Encoder, items: list[NDArray[Any]]) -> Rows:
    """Rows [n, D] of items of one video alone, with batches no larger than they need to be."""
    parts = [stored(encoder, encoder.encode(np.stack(items[first:first + encoder.batch])))
             for first in range(0, len(items), encoder.batch)]
    return np.concatenate([no_rows(encoder), *parts])


def no_rows(encoder: Encoder) -> Rows:
    return np.empty((0, encoder.dim), encoder.recipe.get("dtype", "float16"))


def stored(encoder: Encoder, rows: NDArray[np.float32]) -> Rows:
    """As the store keeps them. Raises SpectrumError where an encoder's values do not fit."""
    kept = no_rows(encoder).dtype
    with np.errstate(over="ignore"):
        found: Rows = rows.astype(kept)
    if not np.isfinite(found).all():
        raise SpectrumError(f"{encoder.name}: the encoder gave values that are not finite in {kept}; "
                            "are its weights whole?")
    return found
