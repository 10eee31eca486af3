"""Batches that mix videos, all of one shape: a row's bits may depend on the shape, but not on the rest of the batch."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import SpectrumError
from pipeline.encoders.base import Encoder, Future, encode
from pipeline.extraction.reading import Stream
from pipeline.store.shard import Rows


class Batches:
    """Collects items until a batch is full, encodes it, and appends the rows to their streams, in order.

    Where the encoder computes on a GPU, one batch is computed while the next is collected.
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
        return (full and self._submit(self._batch)) | self._collect(wait=False)

    def finish(self) -> None:
        """Encodes what there is; what the batch held before fills it up."""
        if self._batch is not None and self._owners:
            self._submit(self._batch)
        self._collect(wait=True)

    def _submit(self, batch: NDArray[Any]) -> bool:
        """Starts to encode what is there, then collects the rows of the batch before."""
        started = time.perf_counter()
        future = self._encoder.submit(batch), self._owners
        self.seconds += time.perf_counter() - started
        self._owners = []
        collected = self._collect(wait=True)
        self._future = future
        return collected

    def _collect(self, wait: bool) -> bool:
        """Appends the rows of what was submitted to their streams; without `wait` only if they are there."""
        if self._future is None or not (wait or self._future[0].done()):
            return False
        started = time.perf_counter()
        (future, owners), self._future = self._future, None
        for stream, row in zip(owners, as_stored(self._encoder, future.result()), strict=False):
            stream.rows.append(row)
        self.seconds += time.perf_counter() - started
        return True


def encode_all(encoder: Encoder, items: list[NDArray[Any]]) -> Rows:
    """Rows [n, D] of items of one video alone, with batches no larger than they need to be."""
    parts = [as_stored(encoder, encode(encoder, np.stack(items[first:first + encoder.batch_size])))
             for first in range(0, len(items), encoder.batch_size)]
    return np.concatenate([no_rows(encoder), *parts])


def no_rows(encoder: Encoder) -> Rows:
    return np.empty((0, encoder.dim), encoder.recipe.get("dtype", "float16"))


def as_stored(encoder: Encoder, rows: NDArray[np.float32]) -> Rows:
    """Rows in the store's type. Raises SpectrumError where an encoder's values do not fit."""
    dtype = no_rows(encoder).dtype
    with np.errstate(over="ignore"):
        converted: Rows = rows.astype(dtype)
    if not np.isfinite(converted).all():
        raise SpectrumError(f"{encoder.name}: the encoder gave values that are not finite in {dtype}; "
                            "are its weights whole?")
    return converted
