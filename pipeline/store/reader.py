"""Rows of a shard in bulk, each checksum tested, straight to where they belong.

HDF5 reads under one lock, a checksum at a time. Here batches of chunks go from the page cache into a buffer that fits a
processor's last cache, numpy computes their fletcher32 there, and their rows are copied to the result: all of it with
Python's lock released, so that several threads read several shards at once.
"""

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import SpectrumError
from pipeline.store.shard import DAMAGE, Rows, damaged_error, decoded_texts, open_shard

_BATCH_BYTES = 1 << 22      # that are read and tested in one go: with fewer the threads wait for Python's lock
_CHECKSUM_BYTES = 4         # behind each chunk
_NOT_FINITE = {2: 0x7C00, 4: 0x7F800000}        # by bytes a value: the exponent bits of infinities and NaN, all set


@dataclass(frozen=True)
class ShardFile:
    """What is known of a shard's file without its rows. No handle stays open, so a forked child shares none."""

    path: Path
    position_of: dict[str, int]         # by id, sorted
    offsets: NDArray[np.int64]          # [n + 1]
    dtype: np.dtype[Any]
    dim: int
    chunk_rows: int
    addresses: NDArray[np.int64]        # [chunks] bytes from the file's start
    state: tuple[int, int, int]         # by which a replaced file is noticed

    @classmethod
    def open(cls, path: Path, recipe_id: str) -> "ShardFile":
        """Raises SpectrumError where the file is damaged, no shard, or of another recipe."""
        with open_shard(path, recipe_id) as data:
            rows = data["rows"]
            return cls(path, {video_id: i for i, video_id in enumerate(decoded_texts(data["ids"]))},
                       data["offsets"][:], rows.dtype, rows.shape[1], rows.chunks[0] if rows.size else 1,
                       _chunk_addresses(rows), _state(rows.file.id.get_vfd_handle()))

    def part(self, position: int) -> slice:
        return slice(int(self.offsets[position]), int(self.offsets[position + 1]))

    def values(self, name: str) -> Any:
        """All of a small data set of the file that was opened, and so of a size that is known."""
        try:
            with h5py.File(self.path, "r") as file:
                self._check_state(file.id.get_vfd_handle())
                return file[name][:]
        except DAMAGE as error:
            raise damaged_error(self.path, error) from None

    def read(self, source: NDArray[np.int64], out: Rows, target: NDArray[np.int64]) -> None:
        """out[target] = rows[source] of the shard. Only the chunks that these rows lie in are read.

        Raises SpectrumError where a checksum is wrong, or a value not finite.
        """
        if (np.diff(source) < 0).any():
            order = np.argsort(source, kind="stable")
            source, target = source[order], target[order]
        of_row = source // self.chunk_rows
        chunks = of_row[np.diff(of_row, prepend=-1) > 0]
        most = max(1, _BATCH_BYTES // (self.chunk_rows * self.dim * self.dtype.itemsize))
        buffer, sums = np.empty((most * self.chunk_rows, self.dim), self.dtype), np.empty(most, "<u4")
        try:
            with self.path.open("rb", buffering=0) as file:
                self._check_state(file.fileno())
                for batch in (chunks[first:first + most] for first in range(0, len(chunks), most)):
                    rows = self._fetch(file.fileno(), batch, buffer, sums)
                    start, end = np.searchsorted(of_row, (batch[0], batch[-1] + 1))
                    shift = np.arange(len(batch)) - batch       # from a chunk's number to its position in the batch
                    wanted = source[start:end] + shift[np.searchsorted(batch, of_row[start:end])] * self.chunk_rows
                    dense = (np.diff(wanted) == 1).all()
                    out[target[start:end]] = rows[wanted[0]:wanted[-1] + 1] if dense else rows[wanted]
        except OSError as error:
            raise damaged_error(self.path, error) from None

    def _check_state(self, file: int) -> None:
        if _state(file) != self.state:
            raise SpectrumError(f"{self.path}: it was replaced while it was being read; start again")

    def _fetch(self, file: int, batch: NDArray[np.int64], buffer: Rows, sums: NDArray[np.uint32]) -> Rows:
        """The rows of the chunks in `batch`, one chunk after the other in `buffer`."""
        rows, sums = buffer[:len(batch) * self.chunk_rows], sums[:len(batch)]
        values, checks = rows.data.cast("B"), sums.data.cast("B")
        size = len(values) // len(batch)
        addresses = self.addresses[batch]
        apart = np.flatnonzero(np.diff(addresses) != size + _CHECKSUM_BYTES) + 1
        read = 0
        for first, last in pairwise([0, *apart.tolist(), len(batch)]):      # neighbours in the file, in one go
            pieces = [piece for chunk in range(first, last)
                      for piece in (values[chunk * size:(chunk + 1) * size],
                                    checks[chunk * _CHECKSUM_BYTES:(chunk + 1) * _CHECKSUM_BYTES])]
            read += os.preadv(file, pieces, int(addresses[first]))
        words = rows.view("<u2").reshape(len(batch), self.chunk_rows, -1)
        if read != len(values) + len(checks) or (fletcher32(words) != sums).any():
            raise damaged_error(self.path, f"rows between {batch[0] * self.chunk_rows} and "
                                    f"{(batch[-1] + 1) * self.chunk_rows} do not have their checksum")
        if _highest_exponent(rows) == _NOT_FINITE[rows.dtype.itemsize]:
            raise damaged_error(self.path, "its rows are not all finite")
        return rows


def _highest_exponent(rows: Rows) -> int:
    """The largest exponent bits of all values, in their position: sign and fraction are masked out.

    Of a buffer in the processor's cache this is several times faster than np.isfinite, which knows no float16.
    """
    bits = rows.view(f"<u{rows.dtype.itemsize}")
    return int(np.bitwise_and(bits, bits.dtype.type(_NOT_FINITE[rows.dtype.itemsize])).max(initial=0))


def fletcher32(words: NDArray[np.uint16]) -> NDArray[np.uint32]:
    """HDF5's checksums of n chunks, [n], given as tables of 16-bit words [n, lines, columns].

    Of the words w_1 … w_m of a chunk, taken as big-endian: Σ w_i and Σ (m + 1 - i) w_i, both modulo 65535, where 0
    is written as 65535 unless all words are 0. The words are added by line and by column, each in one pass at the
    speed of memory. To swap the bytes of a word is to multiply it by 256 modulo 65535, so the sums are multiplied
    instead.
    """
    _, lines, columns = words.shape
    wide = np.uint32 if max(lines, columns) <= 1 << 16 else np.uint64
    by_line = words.sum(2, dtype=wide).astype(np.uint64)                            # [n, lines]
    by_column = words.sum(1, dtype=wide).astype(np.uint64)                          # [n, columns]
    below = np.arange(lines - 1, -1, -1, dtype=np.uint64) * np.uint64(columns)      # words in the lines after
    right = np.arange(columns, 0, -1, dtype=np.uint64)                              # in the same line, itself included
    first = by_line.sum(1)
    second = (by_line % 65535 * below).sum(1) + (by_column % 65535 * right).sum(1)
    some = first > 0
    return (_folded(second, some) << np.uint32(16)) | _folded(first, some)


def _folded(sums: NDArray[np.uint64], some: NDArray[np.bool_]) -> NDArray[np.uint32]:
    swapped = (sums % 65535 * 256 % 65535).astype(np.uint32)
    swapped[(swapped == 0) & some] = 65535
    return swapped


def _chunk_addresses(rows: Any) -> NDArray[np.int64]:
    """Where the chunks of `rows` lie. Raises ValueError unless each is whole and has its checksum."""
    if not rows.size:
        return np.empty(0, np.int64)
    if rows.chunks[1] != rows.shape[1]:
        raise ValueError("its rows are not laid out as a shard's")
    lines = rows.chunks[0]
    size = rows.dtype.itemsize * lines * rows.chunks[1] + _CHECKSUM_BYTES
    addresses = np.full(-(-len(rows) // lines), -1, np.int64)

    def note(chunk: Any) -> None:
        if chunk.filter_mask == 0 and chunk.size == size:
            addresses[chunk.chunk_offset[0] // lines] = chunk.byte_offset

    rows.id.chunk_iter(note)
    if (addresses < 0).any():
        raise ValueError("chunks of its rows are missing")
    return addresses


def _state(file: int) -> tuple[int, int, int]:
    about = os.fstat(file)
    return about.st_ino, about.st_size, about.st_mtime_ns
