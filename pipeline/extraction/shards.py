"""Shards in the making: what earlier runs left, parts, finished shards.

A shard is published when all its videos are done. Until then the finished ones are saved as parts, small files of
the same format in the hidden folder `.parts`, so that a killed run does not encode them again. Nothing that is found
is trusted: a shard must have the SHA-256 of store.json, a part its checksums; both must be of the recipe; and every
video's file must still have the SHA-256 that its rows were made from.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.common.errors import SpectrumError
from pipeline.common.files import sha256
from pipeline.extraction.reading import Video
from pipeline.store import INDEX, Rows, Shard, read_shard, shard_name, write_shard
from pipeline.store.folder import PARTS, told
from pipeline.store.verify import faults_of_values


class Shards:
    """Shards in the making. `known` is loaded when it is asked for and forgotten when the shard is published."""

    def __init__(self, folder: Path, recipe_id: str, no_rows: Rows, sha256s: Mapping[str, str]) -> None:
        self._folder, self._recipe_id, self._no_rows, self._sha256s = folder, recipe_id, no_rows, sha256s
        self._old: dict[int, Shard | None] = {}
        self._parts: dict[int, set[str]] = {}

    def known(self, number: int) -> dict[str, Video]:
        """What an earlier run left of the shard's videos, by id; parts are younger than the shard."""
        old = self._old[number] = self._old_shard(number)
        found = _videos(old) if old else {}
        self._parts[number] = set()
        for path in sorted((self._folder / PARTS).glob(f"{_stem(number)}-*.h5")):
            try:
                part = _videos(self._read(path))
            except SpectrumError:
                path.unlink()
                continue
            found |= part
            self._parts[number] |= set(part)
        return found

    def is_part(self, number: int, video_id: str) -> bool:
        """Whether what is known of a video comes from a part: a run was killed before its shard was done."""
        return video_id in self._parts[number]

    def save(self, number: int, videos: Mapping[str, Video]) -> None:
        """Keeps finished videos of a shard that is not done yet."""
        taken = [int(path.stem.rpartition("-")[2]) for path in (self._folder / PARTS).glob(f"{_stem(number)}-*.h5")]
        path = self._folder / PARTS / f"{_stem(number)}-{max(taken, default=0) + 1:06d}.h5"
        with told(path):
            write_shard(path, self._packed(videos), self._recipe_id)

    def publish(self, number: int, videos: Mapping[str, Video]) -> None:
        """Writes the shard where it is not there already, and forgets its parts."""
        shard, old = self._packed(videos), self._old.pop(number)
        path = self._folder / shard_name(number)
        with told(path):
            if old is None or (shard.ids, shard.source_sha256) != (old.ids, old.source_sha256):
                # Without its index a store is not complete: nobody reads one of old and new shards.
                (self._folder / INDEX).unlink(missing_ok=True)
                if shard.ids:
                    write_shard(path, shard, self._recipe_id)
            for part in (self._folder / PARTS).glob(f"{_stem(number)}-*.h5"):
                part.unlink()

    def _old_shard(self, number: int) -> Shard | None:
        path = self._folder / shard_name(number)
        try:
            whole = path.exists() and self._sha256s.get(path.name) in (None, sha256(path))
            return self._read(path) if whole else None
        except (SpectrumError, OSError):        # made again
            return None

    def _read(self, path: Path) -> Shard:
        """Raises SpectrumError where it is damaged, of another recipe, or holds what no encoder gives."""
        shard = read_shard(path, self._recipe_id)
        if faults := faults_of_values(shard, self._no_rows.shape[1], self._no_rows.dtype.name):
            raise SpectrumError(f"{path}: {faults[0]}")
        return shard

    def _packed(self, videos: Mapping[str, Video]) -> Shard:
        of = [videos[video_id] for video_id in sorted(videos)]
        return Shard(
            tuple(sorted(videos)), np.cumsum([0, *(len(video.rows) for video in of)], dtype=np.int64),
            np.concatenate([self._no_rows, *(video.rows for video in of)]),
            np.concatenate([np.empty(0), *(video.times for video in of)]),
            tuple(video.source_sha256 for video in of), np.array([video.share for video in of], np.float32))


def _videos(shard: Shard) -> dict[str, Video]:
    return {video_id: Video(shard.rows[part], shard.times[part], shard.source_sha256[place],
                            float(shard.shares[place]))
            for place, video_id in enumerate(shard.ids) for part in [shard.part(place)]}


def _stem(number: int) -> str:
    return shard_name(number).removesuffix(".h5")
