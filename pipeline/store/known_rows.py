"""Rows beside a store: what it held before it changed, and what a run that was killed had finished.

`features/<dataset>/.<encoder>.rows/<recipe id>/` has files of the shards' own format. Before a store is written its
shards are linked to there (keep_shards), so that no row is lost while other shards take their place: videos move
between shards where their number changes or a file gets another name. Rows are found again by the SHA-256 of the file
that they were made from, whatever the shard and the id. Once the store is whole its recipe's folder goes; those of
other recipes stay, for the day when one of them is asked for again.
"""

import os
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from pipeline.common.errors import SpectrumError, readable_write_errors
from pipeline.common.files import atomic_write, sha256
from pipeline.store.folder import rows_folder, shard_hashes
from pipeline.store.shard import Rows, Shard, Video, decoded_texts, open_shard, read_recipe_id, write_shard
from pipeline.store.verify import value_faults

_PART = "part-"     # begins the names of what a run saves before its shards are done


def keep_shards(folder: Path) -> set[str]:
    """Links the store's shards that are whole to the folder beside it; returns the recipes that they are of.

    A shard that store.json lists must have the SHA-256 that stands there; all must have their checksums.
    """
    listed, recipe_ids = shard_hashes(folder), set()
    for path in sorted(folder.glob("shard-*.h5")):
        try:
            digest = sha256(path) if path.is_file() else ""     # hashing a pipe would wait for ever
            if not digest or listed.get(path.name, digest) != digest:
                continue
            recipe_id = read_recipe_id(path)
        except (SpectrumError, OSError):        # its rows are lost
            continue
        recipe_ids.add(recipe_id)
        target = rows_folder(folder) / recipe_id / f"{digest}.h5"
        with readable_write_errors(target):
            _link(path.resolve(), target)
    return recipe_ids


def _link(path: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target)
    except OSError:         # the file system has no links, or the shard is itself a link to another one
        with atomic_write(target) as temporary:
            shutil.copy2(path, temporary)


def drop_rows(folder: Path, recipe_id: str) -> None:
    """Removes the rows of a recipe beside the store: it is whole, and has them."""
    shutil.rmtree(rows_folder(folder) / recipe_id, ignore_errors=True)
    if not any(rows_folder(folder).glob("*")):
        shutil.rmtree(rows_folder(folder), ignore_errors=True)


def kept_bytes(folder: Path) -> int:
    """What the rows beside the store take, in bytes."""
    return sum(path.stat().st_size for path in rows_folder(folder).glob("*/*.h5"))


@dataclass(frozen=True)
class Known:
    """A video's rows as an earlier run left them; `saved`: by a run that was killed before their shard was done."""

    video: Video
    saved: bool


@dataclass(frozen=True)
class _Place:
    path: Path
    number: int     # in the file


class KnownRows:
    """The rows of one recipe beside a store. Many threads may ask at the same time.

    no_rows: [0, D] of the rows' type.
    """

    def __init__(self, folder: Path, recipe_id: str, no_rows: Rows) -> None:
        self._folder, self._recipe_id, self._no_rows = rows_folder(folder) / recipe_id, recipe_id, no_rows
        self._by_file: dict[str, _Place] = {}
        self._by_id: dict[str, _Place] = {}
        self._seen: set[Path] = set()
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Takes notice of files that are new: another worker may have saved what it had finished, and died."""
        new = [path for path in self._folder.glob("*.h5") if path not in self._seen]
        for path in sorted(new, key=_age):
            self._seen.add(path)
            try:
                with open_shard(path, self._recipe_id) as data:
                    ids, files = decoded_texts(data["ids"]), decoded_texts(data["source_sha256"])
            except SpectrumError:       # damaged: made again
                continue
            with self._lock:
                for number, (video_id, file) in enumerate(zip(ids, files, strict=True)):
                    self._by_file[file] = self._by_id[video_id] = _Place(path, number)

    def of_file(self, source_sha256: str) -> Known | None:
        """What was made of a file with this SHA-256."""
        return self._read(self._by_file, source_sha256)

    def of_id(self, video_id: str) -> Known | None:
        """What was last made of a video's file, whatever the file holds now."""
        return self._read(self._by_id, video_id)

    def save(self, videos: Mapping[str, Video]) -> Path:
        """Keeps finished videos of a shard that is not done yet."""
        path = self._folder / f"{_PART}{uuid4().hex}.h5"
        with readable_write_errors(path):
            write_shard(path, Shard.of(videos, self._no_rows), self._recipe_id)
        return path

    def _read(self, places: Mapping[str, _Place], key: str) -> Known | None:
        with self._lock:
            place = places.get(key)
        if place is None:
            return None
        try:
            with open_shard(place.path, self._recipe_id) as data:
                first, last = data["offsets"][place.number:place.number + 2].tolist()
                video = Video(data["rows"][first:last], data["times"][first:last],
                              decoded_texts(data["source_sha256"])[place.number], float(data["shares"][place.number]))
        except SpectrumError:           # damaged, or removed since
            return None
        faults = value_faults(Shard.of({key: video}, video.rows[:0]), self._no_rows.shape[1], self._no_rows.dtype.name)
        return None if faults else Known(video, place.path.name.startswith(_PART))


def _age(path: Path) -> tuple[int, str]:
    try:
        return path.stat().st_mtime_ns, path.name
    except OSError:
        return 0, path.name
