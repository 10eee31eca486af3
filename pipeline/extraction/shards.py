"""Shards in the making: what earlier runs left, what is saved meanwhile, finished shards.

A shard is published when all its videos are done. Until then the finished ones are saved beside the store, so that a
killed run does not encode them again. What an earlier run left is not trusted: it must be of the recipe and have its
checksums, a shard the SHA-256 of store.json, and every video's file must still have the SHA-256 that its rows were
made from, if it can be read (store/known_rows.py).
"""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from pipeline.common.errors import readable_write_errors
from pipeline.store.known_rows import KnownRows
from pipeline.store.shard import Rows, Shard, Video, publish, shard_bytes, shard_name
from pipeline.store.store_file import STORE_FILE


class Shards:
    """The shards of a store's folder. `known`: the rows that earlier runs left."""

    def __init__(self, folder: Path, recipe_id: str, no_rows: Rows) -> None:
        self.known = KnownRows(folder, recipe_id, no_rows)
        self._folder, self._recipe_id, self._no_rows = folder, recipe_id, no_rows
        self._saved: defaultdict[int, list[Path]] = defaultdict(list)

    def save(self, number: int, videos: Mapping[str, Video]) -> None:
        """Keeps finished videos of a shard that is not done yet."""
        self._saved[number].append(self.known.save(videos))

    def publish(self, number: int, videos: Mapping[str, Video]) -> None:
        """Writes the shard where these very bytes are not there already, and removes what was saved of it."""
        path, content = self._folder / shard_name(number), shard_bytes(Shard.of(videos, self._no_rows), self._recipe_id)
        with readable_write_errors(path):
            if videos and not _holds(path, content):
                # Without store.json a store is not complete: no reader sees a mix of old and new shards.
                (self._folder / STORE_FILE).unlink(missing_ok=True)
                publish(path, content)
            for saved in self._saved.pop(number, ()):
                saved.unlink(missing_ok=True)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:     # written again
        return False
