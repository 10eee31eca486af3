"""A shard: one HDF5 file with the rows of the videos whose ids hash to its number.

Sorted by id it holds `ids`, `offsets` [n + 1], `rows` [Σ T_i, D], `times` [Σ T_i] seconds, `source_sha256` and
`shares`. The same content gives the same bytes. A video may have no row (a clip without sound); one that
failed is in no shard.

Every byte that is read back is under a checksum: HDF5's own over its newest metadata (libver v110: superblock,
object headers, chunk indexes; strings are of fixed length, for the heap of the others has none), fletcher32 over
each chunk of values.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SpectrumError
from pipeline.files import published

SCHEMA = 2
CHUNK = 1 << 16         # bytes: the least that a single row costs to read and test

Rows = NDArray[np.floating[Any]]        # float16 or float32
DTYPES = ("float16", "float32")


@dataclass(frozen=True)
class Shard:
    """The content of one shard. `rows` of ids[i] are rows[offsets[i]:offsets[i + 1]]."""

    ids: tuple[str, ...]            # sorted
    offsets: NDArray[np.int64]      # [n + 1]
    rows: Rows                      # [Σ T_i, D]
    times: NDArray[np.float64]      # [Σ T_i] seconds
    source_sha256: tuple[str, ...]  # of the video files
    shares: NDArray[np.float32]     # [n], 1.0: whole; less: the share that could be decoded

    def part(self, position: int) -> slice:
        return slice(int(self.offsets[position]), int(self.offsets[position + 1]))


def shard_of(video_id: str, shards: int) -> int:
    return int.from_bytes(hashlib.sha256(video_id.encode()).digest()[:8], "big") % shards


def shard_name(number: int) -> str:
    return f"shard-{number:04d}.h5"


def number_of(name: str) -> int:
    return int(name.removeprefix("shard-").removesuffix(".h5"))


def write_shard(path: Path, shard: Shard, recipe_id: str) -> None:
    """Publishes a shard whole or not at all, in the same bytes each time; rows keep their float16 or float32."""
    if shard.rows.dtype.name not in DTYPES:
        raise SpectrumError(f"{path}: rows are {shard.rows.dtype}, expected one of {', '.join(DTYPES)}")
    data = _image(shard, recipe_id)
    with published(path) as temporary:
        temporary.write_bytes(data)


def _image(shard: Shard, recipe_id: str) -> bytes:
    """The bytes of the file. HDF5 lays them out in memory: writing to a full disk it loses errors, goes on with a
    damaged file, and ends the process later."""
    with h5py.File("shard", "w", driver="core", backing_store=False, libver=("v110", "v110")) as file:
        file.attrs["schema"] = SCHEMA
        file.attrs.create("recipe_id", recipe_id.encode(), dtype=h5py.string_dtype("utf-8", len(recipe_id.encode())))
        # In this order: HDF5 lays out the file in the order of creation.
        _put(file, "ids", _fixed(shard.ids))
        _put(file, "offsets", shard.offsets.astype("<i8"))
        _put(file, "rows", shard.rows.astype(shard.rows.dtype.newbyteorder("<")))
        _put(file, "times", shard.times.astype("<f8"))
        _put(file, "source_sha256", _fixed(shard.source_sha256))
        _put(file, "shares", shard.shares.astype("<f4"))
        image: bytes = file.id.get_file_image()
    return image


def _fixed(texts: Sequence[str]) -> NDArray[Any]:
    encoded = [text.encode() for text in texts]
    return np.array(encoded, h5py.string_dtype("utf-8", max(map(len, encoded), default=1)))


def _put(file: Any, name: str, values: NDArray[Any]) -> None:
    """A data set with a checksum a chunk, by which a flipped bit becomes an error.

    Not compressed: features shrink by a few percent only. Flushed, because HDF5 otherwise gives a data set its place
    in the file when its handle is closed, which a profiler that looks at this frame (dask's workers have one) delays.
    """
    if values.size == 0:        # HDF5 has no chunks of nothing
        file.create_dataset(name, data=values, track_times=False)
    else:
        row = values.dtype.itemsize * int(np.prod(values.shape[1:]))
        chunk = (min(len(values), max(1, CHUNK // row)), *values.shape[1:])
        file.create_dataset(name, data=values, chunks=chunk, fletcher32=True, track_times=False)
    file.flush()


def read_shard(path: Path, recipe_id: str) -> Shard:
    """All of a shard, every checksum tested. A damaged one or one of another recipe is a SpectrumError."""
    try:
        with h5py.File(path, "r") as file:
            check_recipe(file, path, recipe_id)
            return Shard(texts(file["ids"]), file["offsets"][:], file["rows"][:], file["times"][:],
                         texts(file["source_sha256"]), file["shares"][:])
    except DAMAGE as error:
        raise broken(path, error) from None


# What h5py raises on a file that is damaged or no shard.
DAMAGE = (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError)


def check_recipe(file: Any, path: Path, recipe_id: str) -> None:
    """Refuses an open file that is of another schema or recipe."""
    found = (int(file.attrs["schema"]), bytes(np.asarray(file.attrs["recipe_id"]).astype("S")).decode())
    if found != (SCHEMA, recipe_id):
        raise SpectrumError(f"{path}: schema and recipe are {found}, expected {(SCHEMA, recipe_id)}; extract again")


def texts(dataset: Any) -> tuple[str, ...]:
    return tuple(text.decode() for text in dataset[:])


def broken(path: Path, error: Exception | str) -> SpectrumError:
    return SpectrumError(f"{path}: not readable, damaged or no shard ({error}); "
                         "bring it back with `dvc checkout --force`, or extract again: whole shards are kept")
