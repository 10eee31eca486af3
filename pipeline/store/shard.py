"""A shard: one HDF5 file with the rows of the videos whose ids hash to its number.

Sorted by id it holds `ids`, `offsets` [n + 1], `rows` [Σ T_i, D], `times` [Σ T_i] seconds, `source_sha256` and
`shares`. The same content gives the same bytes. A video may have no row (a clip without sound); one that
failed is in no shard.

Every byte that is read back is under a checksum: HDF5's own over its newest metadata (libver v110: superblock,
object headers, chunk indexes; strings are of fixed length, for the heap of the others has none), fletcher32 over
each chunk of values.
"""

import hashlib
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.common.commands import RESTORE, rerun
from pipeline.common.errors import SpectrumError
from pipeline.common.files import atomic_write
from pipeline.common.hdf5 import is_checksummed
from pipeline.common.text import has_lone_surrogates

SCHEMA = 2
CHUNK = 1 << 16         # bytes: the least that a single row costs to read and test
_SHARD_BYTES = 16 << 20 # that a shard holds at most,
_SHARD_VIDEOS = 512     # and videos (a shard is the task of a worker), up to
_MOST_SHARDS = 1 << 13  # shards, a power of two: names have four digits

Rows = NDArray[np.floating[Any]]        # float16 or float32
DTYPES = ("float16", "float32")
_FINGERPRINT = re.compile(r"[0-9a-f]{16}\Z")
_KINDS = {"ids": "S", "offsets": "i", "rows": "f", "times": "f", "source_sha256": "S", "shares": "f"}   # of numpy


@dataclass(frozen=True)
class Shard:
    """The content of one shard. `rows` of ids[i] are rows[offsets[i]:offsets[i + 1]]."""

    ids: tuple[str, ...]            # sorted
    offsets: NDArray[np.int64]      # [n + 1]
    rows: Rows                      # [Σ T_i, D]
    times: NDArray[np.float64]      # [Σ T_i] seconds
    source_sha256: tuple[str, ...]  # of the video files
    shares: NDArray[np.float32]     # [n], 1.0: whole; less: the share that could be decoded

    @classmethod
    def of(cls, videos: "Mapping[str, Video]", no_rows: Rows) -> "Shard":
        """The shard of these videos by id. no_rows [0, D]: the width and the type of rows, where no video has one."""
        ids = tuple(sorted(videos))
        in_order = [videos[video_id] for video_id in ids]
        return cls(
            ids, np.cumsum([0, *(len(video.rows) for video in in_order)], dtype=np.int64),
            np.concatenate([no_rows, *(video.rows for video in in_order)]),
            np.concatenate([np.empty(0), *(video.times for video in in_order)]),
            tuple(video.source_sha256 for video in in_order), np.array([video.share for video in in_order], np.float32))

    def part(self, position: int) -> slice:
        return slice(int(self.offsets[position]), int(self.offsets[position + 1]))


@dataclass(frozen=True)
class Video:
    """What a shard holds of one video."""

    rows: Rows                      # [T, D]
    times: NDArray[np.float64]      # [T] seconds
    source_sha256: str
    share: float                    # that could be decoded


def check_id(video_id: str) -> None:
    """Raises SpectrumError for an id that a shard cannot keep: HDF5 takes away zeros at a text's end."""
    if not video_id or "\0" in video_id or has_lone_surrogates(video_id):
        raise SpectrumError(f"video {video_id!r}: that is no id: it is empty, or holds a NUL or half a character; "
                            "give the video another one")


def shards_by_size(videos: int, size: int) -> int:
    """How many shards a store of so many videos and bytes of rows has where nobody says: each small enough to be sent
    again for one new video. A power of two, so that it seldom changes, and each shard is then split into two."""
    needed = max(-(-size // _SHARD_BYTES), -(-videos // _SHARD_VIDEOS), 1)
    return min(1 << (needed - 1).bit_length(), _MOST_SHARDS)


def shard_of(video_id: str, num_shards: int) -> int:
    """The number of the shard, from 0 to num_shards - 1, that keeps a video."""
    return int.from_bytes(hashlib.sha256(video_id.encode()).digest()[:8], "big") % num_shards


def shard_name(number: int) -> str:
    return f"shard-{number:04d}.h5"


def number_of(name: str) -> int:
    return int(name.removeprefix("shard-").removesuffix(".h5"))


def write_shard(path: Path, shard: Shard, recipe_id: str) -> None:
    """Publishes a shard whole or not at all."""
    publish(path, shard_bytes(shard, recipe_id))


def publish(path: Path, content: bytes) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def shard_bytes(shard: Shard, recipe_id: str) -> bytes:
    """A shard's file, the same bytes each time; rows keep their float16 or float32.

    HDF5 lays it out in memory: writing to a full disk it loses errors, goes on with a damaged file, and ends the
    process later.
    """
    if shard.rows.dtype.name not in DTYPES:
        raise SpectrumError(f"a shard's rows are {shard.rows.dtype}, expected one of {', '.join(DTYPES)}")
    with h5py.File("shard", "w", driver="core", backing_store=False, libver=("v110", "v110")) as file:
        file.attrs["schema"] = SCHEMA
        file.attrs.create("recipe_id", recipe_id.encode(), dtype=h5py.string_dtype("utf-8", len(recipe_id.encode())))
        # In this order: HDF5 lays out the file in the order of creation.
        _add_dataset(file, "ids", _fixed_length(shard.ids))
        _add_dataset(file, "offsets", shard.offsets.astype("<i8"))
        _add_dataset(file, "rows", shard.rows.astype(shard.rows.dtype.newbyteorder("<")))
        _add_dataset(file, "times", shard.times.astype("<f8"))
        _add_dataset(file, "source_sha256", _fixed_length(shard.source_sha256))
        _add_dataset(file, "shares", shard.shares.astype("<f4"))
        image: bytes = file.id.get_file_image()
    return image


def _fixed_length(texts: Sequence[str]) -> NDArray[Any]:
    encoded = [text.encode() for text in texts]
    return np.array(encoded, h5py.string_dtype("utf-8", max(map(len, encoded), default=1)))


def _add_dataset(file: Any, name: str, values: NDArray[Any]) -> None:
    """A data set with a checksum a chunk, by which a flipped bit becomes an error.

    Not compressed: features shrink by a few percent only. Flushed, because HDF5 otherwise gives a data set its position
    in the file when its handle is closed, which a profiler that looks at this frame (dask's workers have one) delays.
    """
    if values.size == 0:        # HDF5 has no empty chunks
        file.create_dataset(name, data=values, track_times=False)
    else:
        row = values.dtype.itemsize * int(np.prod(values.shape[1:]))
        chunk = (min(len(values), max(1, CHUNK // row)), *values.shape[1:])
        file.create_dataset(name, data=values, chunks=chunk, fletcher32=True, track_times=False)
    file.flush()


def read_shard(path: Path, recipe_id: str) -> Shard:
    """All of a shard, every checksum tested. A damaged one or one of another recipe is a SpectrumError."""
    with open_shard(path, recipe_id) as data:
        return Shard(decoded_texts(data["ids"]), data["offsets"][:], data["rows"][:], data["times"][:],
                     decoded_texts(data["source_sha256"]), data["shares"][:])


def read_ids(path: Path) -> tuple[str, ...]:
    """The ids of a shard, whatever its recipe. Raises SpectrumError where it is damaged or no shard."""
    with open_shard(path, None) as data:
        return decoded_texts(data["ids"])


def read_recipe_id(path: Path) -> str:
    """The recipe that a shard is of. Raises SpectrumError where it is damaged or no shard."""
    with open_shard(path, None) as data:
        recipe_id = _recipe_id(data["rows"].file)
        if not _FINGERPRINT.match(recipe_id):
            raise ValueError("its recipe_id is none")
        return recipe_id


# What h5py raises on a file that is damaged or no shard.
DAMAGE = (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError)


@contextmanager
def open_shard(path: Path, recipe_id: str | None) -> Iterator[dict[str, Any]]:
    """The HDF5 data sets of a shard by name, laid out as `write_shard` does it and of this recipe (None: of any).

    Those of `ids` and `offsets` are read already.

    Raises SpectrumError where they are not, and for what h5py raises while the file is open.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):     # opening a pipe would wait for ever
            raise ValueError("it is no ordinary file")
        with h5py.File(path, "r") as file:
            if recipe_id is not None:
                _check_recipe(file, path, recipe_id)
            yield _datasets(file, about.st_size)
    except DAMAGE as error:
        raise damaged_error(path, error) from None


def _check_recipe(file: Any, path: Path, recipe_id: str) -> None:
    """Refuses an open file that is of another schema or recipe."""
    own = (int(file.attrs["schema"]), _recipe_id(file))
    if own != (SCHEMA, recipe_id):
        raise SpectrumError(f"{path}: schema and recipe are {own}, expected {(SCHEMA, recipe_id)}; {rerun('extract')}")


def _recipe_id(file: Any) -> str:
    return bytes(np.asarray(file.attrs["recipe_id"]).astype("S")).decode()


def _datasets(file: Any, size: int) -> dict[str, Any]:
    """The data sets of an open file of `size` bytes, if they are a shard's; else raises ValueError.

    It may come from anywhere: what it names may lie in other files, and what it claims may not fit into memory.
    """
    datasets: dict[str, Any] = {}
    for name, kind in _KINDS.items():
        dataset = datasets[name] = _own_dataset(file, name)
        dtype, shape = dataset.id.dtype, dataset.id.shape
        if (len(shape) != 1 + (name == "rows") or dtype.kind != kind or math.prod(shape) * dtype.itemsize > size
                or (math.prod(shape) and not is_checksummed(dataset))):
            raise ValueError(f"its {name} are not laid out as a shard's")
    rows, dim = datasets["rows"].shape
    if not (len(datasets["ids"]) == len(datasets["offsets"]) - 1 == len(datasets["source_sha256"])
            == len(datasets["shares"])
            and rows == len(datasets["times"]) and dim):
        raise ValueError("its data sets do not fit together")
    datasets |= {name: _read_whole(datasets[name]) for name in ("ids", "offsets")}      # every reader wants them
    ids, offsets = datasets["ids"].tolist(), datasets["offsets"]
    if ids != sorted(set(ids)):
        raise ValueError("its ids are not sorted and unique")
    if offsets[0] != 0 or offsets[-1] != rows or (np.diff(offsets) < 0).any():
        raise ValueError("its offsets do not rise from 0 to the number of rows")
    return datasets


def _own_dataset(file: Any, name: str) -> Any:
    """A data set that lies in the file itself: a link may lead to another one."""
    try:
        if file.id.links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD:
            return h5py.Dataset(h5py.h5d.open(file.id, name.encode()))
    except (KeyError, RuntimeError):        # there is nothing of that name, or a group
        pass
    raise ValueError(f"it has no data set {name} of its own")


def _read_whole(dataset: Any) -> NDArray[Any]:
    """As dataset[:], in a third of the time, which counts where a store has many shards."""
    values = np.empty(dataset.id.shape, dataset.id.dtype)
    if values.size:
        dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
    return values


def decoded_texts(dataset: Any) -> tuple[str, ...]:
    return tuple(text.decode() for text in dataset[:])


def damaged_error(path: Path, error: Exception | str) -> SpectrumError:
    """What to raise where a shard cannot be read."""
    # HDF5 adds lines of its own to the system's error text.
    why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return SpectrumError(f"{path}: not readable, damaged or no shard ({why}); "
                         f"{RESTORE}, or {rerun('extract')}: whole shards are kept")
