"""Batches that mix videos, all of one shape: a row's bits may depend on the shape, on nothing else in the batch."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import SpectrumError
from pipeline.encoders.base import Encoder, Future, encode
from pipeline.extraction.reading import Stream
from pipeline.store import Rows


class Batches:
    """Collects items until a batch is full, encodes it, and gives each stream its rows, in their order.

    Where the encoder works beside this process, one batch is on its way while the next is collected.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.seconds = 0.0
        self._encoder = encoder
        self._batch: NDArray[Any] | None = None      # [B, …]
        self._owners: list[Stream] = []
        self._future: tuple[Future, list[Stream]] | None = None

    def add(self, stream: Stream, item: NDArray[Any]) -> bool:
        """Whether there are new rows."""
        if self._batch is None:
            self._batch = np.zeros((self._encoder.batch_size, *item.shape), item.dtype)
        self._batch[len(self._owners)] = item
        self._owners.append(stream)
        full = len(self._owners) == len(self._batch)
        return (full and self._begin(self._batch)) | self._give(wait=False)

    def finish(self) -> None:
        """Encodes what there is; what the batch held before fills it up."""
        if self._batch is not None and self._owners:
            self._begin(self._batch)
        self._give(wait=True)

    def _begin(self, batch: NDArray[Any]) -> bool:
        """Starts on what is collected, then gives the rows of the batch before."""
        began = time.perf_counter()
        future = self._encoder.submit(batch), self._owners
        self.seconds += time.perf_counter() - began
        self._owners = []
        given = self._give(wait=True)
        self._future = future
        return given

    def _give(self, wait: bool) -> bool:
        """Gives the rows of what was submitted; without `wait` only if they are there."""
        if self._future is None or not (wait or self._future[0].done()):
            return False
        began = time.perf_counter()
        (future, owners), self._future = self._future, None
        for stream, row in zip(owners, stored(self._encoder, future.result()), strict=False):
            stream.rows.append(row)
        self.seconds += time.perf_counter() - began
        return True


def encode_all(encoder: Encoder, items: list[NDArray[Any]]) -> Rows:
    """Rows [n, D] of items of one video alone, with batches no larger than they need to be."""
    parts = [stored(encoder, encode(encoder, np.stack(items[first:first + encoder.batch_size])))
             for first in range(0, len(items), encoder.batch_size)]
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
