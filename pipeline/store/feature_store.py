"""Read access to a feature store."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.common.commands import rerun
from pipeline.common.device import cpu_cores
from pipeline.common.errors import SpectrumError
from pipeline.store.reader import ShardFile
from pipeline.store.shard import Rows, damaged_error, number_of, shard_of
from pipeline.store.store_file import StoreMetadata, read_store_file
from pipeline.store.verify import store_problems

_MAX_THREADS = 8    # that load: more do not make memory faster


class FeatureStore:
    """A whole store. Shards are looked into when first needed, in the process that needs them."""

    def __init__(self, folder: Path, metadata: StoreMetadata) -> None:
        self.folder, self.metadata = folder, metadata
        self.modality: str = metadata.modality
        self.recipe: dict[str, Any] = metadata.recipe
        self.recipe_id: str = metadata.recipe_id
        self.dim: int = metadata.dim
        self.dtype: np.dtype[Any] = np.dtype(metadata.dtype)
        self.failures: dict[str, str] = {failure.id: failure.reason for failure in metadata.failures}
        # Videos that could not be decoded whole, and the share that could.
        self.partial: dict[str, float] = {entry.id: entry.share for entry in metadata.partial}
        self._files = {number_of(entry.file): entry.file for entry in metadata.shards}
        self._shards: dict[int, ShardFile] = {}
        self._times: dict[int, NDArray[np.float64]] = {}

    @classmethod
    def open(cls, folder: Path, recipe_id: str | None = None) -> "FeatureStore":
        """Raises SpectrumError where the store is not complete, or not of the recipe asked for."""
        metadata = read_store_file(folder)
        if recipe_id is not None and metadata.recipe_id != recipe_id:
            raise SpectrumError(f"{folder}: its features are of recipe {metadata.recipe_id}, needed is "
                                f"{recipe_id}: another encoder, sampling or decoder; {rerun('extract')}")
        return cls(folder, metadata)

    @property
    def ids(self) -> list[str]:
        """All ids, sorted."""
        return sorted(video_id for number in self._files for video_id in self._shard(number).position_of)

    def __len__(self) -> int:
        return self.metadata.videos

    def __contains__(self, video_id: object) -> bool:
        return isinstance(video_id, str) and self._find(video_id) is not None

    def __getitem__(self, video_id: str) -> Rows:
        """A video's rows [T, D]; T is 0 where it lacks the modality. An unknown id is a SpectrumError."""
        return self.load([video_id])[0]

    def times(self, video_id: str) -> NDArray[np.float64]:
        """What each row shows, in seconds from the file's start: [T]."""
        number, part = self._position(video_id)
        if number not in self._times:
            values = self._shard(number).values("times")
            if not np.isfinite(values).all():
                raise damaged_error(self.folder / self._files[number], "its times are not all finite")
            self._times[number] = values
        times: NDArray[np.float64] = self._times[number][part]
        return times

    def load(self, ids: Iterable[str]) -> tuple[Rows, NDArray[np.int64]]:
        """Rows [Σ T_i, D] of the videos in the order given, and offsets [n + 1] into them.

        Every checksum of what is read is tested, and that values are finite: a damaged shard is a SpectrumError.
        """
        positions = [self._position(video_id) for video_id in ids]
        number = np.array([number for number, _ in positions], np.int64)
        starts = np.array([part.start for _, part in positions], np.int64)
        lengths = np.array([part.stop for _, part in positions], np.int64) - starts
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.empty((int(offsets[-1]), self.dim), self.dtype)

        def read(shard: int) -> None:
            mine = np.flatnonzero((number == shard) & (lengths > 0))
            mine = mine[np.argsort(starts[mine], kind="stable")]
            if len(mine):
                self._shard(shard).read(_row_numbers(starts[mine], lengths[mine]), rows,
                                        _row_numbers(offsets[mine], lengths[mine]))

        shards = np.unique(number).tolist()
        if len(shards) < 2:
            list(map(read, shards))
        else:
            with ThreadPoolExecutor(min(len(shards), _MAX_THREADS, cpu_cores())) as threads:
                list(threads.map(read, shards))         # which raises what a thread raised
        return rows, offsets

    def count_rows(self, ids: Iterable[str]) -> NDArray[np.int64]:
        """[n]: how many rows each of the videos has. An unknown id is a SpectrumError."""
        parts = [self._position(video_id)[1] for video_id in ids]
        return np.array([part.stop - part.start for part in parts], np.int64)

    def verify(self) -> list[str]:
        """What is wrong with the store, a sentence each; an empty list where it is whole."""
        return store_problems(self.folder, self.metadata)

    def _shard(self, number: int) -> ShardFile:
        if number not in self._shards:
            path = self.folder / self._files[number]
            shard = ShardFile.open(path, self.recipe_id)
            if (shard.dtype, shard.dim) != (self.dtype, self.dim):
                raise SpectrumError(f"{path}: rows of {shard.dim} {shard.dtype}, expected {self.dim} {self.dtype}; "
                                    f"{rerun('extract')}")
            self._shards[number] = shard
        return self._shards[number]

    def _find(self, video_id: str) -> tuple[int, slice] | None:
        number = shard_of(video_id, self.metadata.shard_count)
        if number in self._files:
            shard = self._shard(number)
            position = shard.position_of.get(video_id)
            if position is not None:
                return number, shard.part(position)
        return None

    def _position(self, video_id: str) -> tuple[int, slice]:
        """The number of a video's shard, and its rows there."""
        position = self._find(video_id)
        if position is None:
            why = f"extracting it failed: {self.failures[video_id]}" if video_id in self.failures else \
                f"it is not in the store; {rerun('extract')}"
            raise SpectrumError(f"{self.folder}: no features of video {video_id!r}: {why}")
        return position


def _row_numbers(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers of all rows of parts that start at `starts` and are `lengths` long, one part after the other."""
    before = np.cumsum(lengths) - lengths
    numbers: NDArray[np.int64] = np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)
    return numbers
