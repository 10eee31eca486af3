"""Shards in the making: what earlier runs left, parts, finished shards.

A shard is published when all its videos are done. Until then the finished ones are saved as parts, small files of
the same format in the hidden folder `.parts`, so that a killed run does not encode them again. What an earlier run
left is not trusted: a shard must have the SHA-256 of store.json, a part its checksums; both must be of the recipe; and
every video's file must still have the SHA-256 that its rows were made from, if it can be read.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.common.errors import SpectrumError, readable_write_errors
from pipeline.common.files import sha256
from pipeline.extraction.reading import Video
from pipeline.store.folder import PARTS_FOLDER
from pipeline.store.shard import Rows, Shard, read_shard, shard_name, write_shard
from pipeline.store.store_file import STORE_FILE
from pipeline.store.verify import value_faults


class Shards:
    """The shards of a folder. What `known` returns is loaded by the call and dropped when the shard is published."""

    def __init__(self, folder: Path, recipe_id: str, no_rows: Rows, sha256s: Mapping[str, str]) -> None:
        self._folder, self._recipe_id, self._no_rows, self._sha256s = folder, recipe_id, no_rows, sha256s
        self._old: dict[int, Shard | None] = {}
        self._parts: dict[int, set[str]] = {}

    def known(self, number: int) -> dict[str, Video]:
        """What an earlier run left of the shard's videos, by id; parts are younger than the shard."""
        old = self._old[number] = self._old_shard(number)
        videos = _videos(old) if old else {}
        self._parts[number] = set()
        for path in sorted((self._folder / PARTS_FOLDER).glob(f"{_stem(number)}-*.h5")):
            try:
                part = _videos(self._read(path))
            except SpectrumError:
                path.unlink()
                continue
            videos |= part
            self._parts[number] |= set(part)
        return videos

    def is_part(self, number: int, video_id: str) -> bool:
        """Whether what is known of a video comes from a part: a run was killed before its shard was done."""
        return video_id in self._parts[number]

    def save(self, number: int, videos: Mapping[str, Video]) -> None:
        """Keeps finished videos of a shard that is not done yet."""
        folder, stem = self._folder / PARTS_FOLDER, _stem(number)
        numbers = [int(path.stem.rpartition("-")[2]) for path in folder.glob(f"{stem}-*.h5")]
        path = folder / f"{stem}-{max(numbers, default=0) + 1:06d}.h5"
        with readable_write_errors(path):
            write_shard(path, self._joined(videos), self._recipe_id)

    def publish(self, number: int, videos: Mapping[str, Video]) -> None:
        """Writes the shard where it is not there already, and forgets its parts."""
        shard, old = self._joined(videos), self._old.pop(number)
        path = self._folder / shard_name(number)
        with readable_write_errors(path):
            if old is None or (shard.ids, shard.source_sha256) != (old.ids, old.source_sha256):
                # Without store.json a store is not complete: no reader sees a mix of old and new shards.
                (self._folder / STORE_FILE).unlink(missing_ok=True)
                if shard.ids:
                    write_shard(path, shard, self._recipe_id)
            for part in (self._folder / PARTS_FOLDER).glob(f"{_stem(number)}-*.h5"):
                part.unlink()

    def _old_shard(self, number: int) -> Shard | None:
        path = self._folder / shard_name(number)
        try:
            whole = path.is_file() and self._sha256s.get(path.name) in (None, sha256(path))
            return self._read(path) if whole else None
        except (SpectrumError, OSError):        # made again
            return None

    def _read(self, path: Path) -> Shard:
        """Raises SpectrumError where it is damaged, of another recipe, or holds what no encoder gives."""
        shard = read_shard(path, self._recipe_id)
        if faults := value_faults(shard, self._no_rows.shape[1], self._no_rows.dtype.name):
            raise SpectrumError(f"{path}: {faults[0]}")
        return shard

    def _joined(self, videos: Mapping[str, Video]) -> Shard:
        in_order = [videos[video_id] for video_id in sorted(videos)]
        return Shard(
            tuple(sorted(videos)), np.cumsum([0, *(len(video.rows) for video in in_order)], dtype=np.int64),
            np.concatenate([self._no_rows, *(video.rows for video in in_order)]),
            np.concatenate([np.empty(0), *(video.times for video in in_order)]),
            tuple(video.source_sha256 for video in in_order), np.array([video.share for video in in_order], np.float32))


def _videos(shard: Shard) -> dict[str, Video]:
    return {video_id: Video(shard.rows[part], shard.times[part], shard.source_sha256[i], float(shard.shares[i]))
            for i, video_id in enumerate(shard.ids) for part in [shard.part(i)]}


def _stem(number: int) -> str:
    return shard_name(number).removesuffix(".h5")
