"""The feature store: a folder of HDF5 shards and `store.json`, for one encoder and one data set.

    store = FeatureStore.open(Path("features/sample/sample-clip"))
    store["clip_7"]                     # [T, D] float16
    rows, offsets = store.load(ids)     # at disk speed: video i has rows[offsets[i]:offsets[i + 1]]

    python -m pipeline.store verify features/sample/sample-clip
    python -m pipeline.store ls features/sample/sample-clip

A video's shard is a hash of its id, so that a new video changes one file. A shard holds, sorted by id:
`ids`, `offsets` [n + 1], `rows` [Σ T_i, D], `times` [Σ T_i] seconds, `source_sha256`. The same content gives
the same bytes. A video may have no row (a clip without sound); one that failed is in `failures` alone.
"""

import bisect
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import h5py
import numpy as np
import typer
from numpy.typing import NDArray

from pipeline.errors import SpectrumError, readable_errors
from pipeline.files import fingerprint, published, read_json, sha256, write_json

SCHEMA = 1
INDEX = "store.json"
_CHUNK = 1 << 20        # bytes

Rows = NDArray[np.float16]


@dataclass(frozen=True)
class Shard:
    """The content of one shard. `rows` of ids[i] are rows[offsets[i]:offsets[i + 1]]."""

    ids: tuple[str, ...]            # sorted
    offsets: NDArray[np.int64]      # [n + 1]
    rows: Rows                      # [Σ T_i, D]
    times: NDArray[np.float64]      # [Σ T_i] seconds
    source_sha256: tuple[str, ...]  # of the video files

    def part(self, position: int) -> slice:
        return slice(int(self.offsets[position]), int(self.offsets[position + 1]))


def shard_of(video_id: str, shards: int) -> int:
    return int.from_bytes(hashlib.sha256(video_id.encode()).digest()[:8], "big") % shards


def shard_name(number: int) -> str:
    return f"shard-{number:04d}.h5"


def write_shard(path: Path, shard: Shard, recipe_id: str) -> None:
    """Publishes a shard whole or not at all, in the same bytes each time."""
    with published(path) as temporary, h5py.File(temporary, "w", libver=("v110", "v110")) as file:
        file.attrs["schema"], file.attrs["recipe_id"] = SCHEMA, recipe_id
        # In this order: HDF5 lays out the file in the order of creation.
        _put(file, "ids", _fixed(shard.ids))
        _put(file, "offsets", shard.offsets.astype("<i8"))
        _put(file, "rows", shard.rows.astype("<f2"))
        _put(file, "times", shard.times.astype("<f8"))
        _put(file, "source_sha256", _fixed(shard.source_sha256))


def _fixed(texts: Sequence[str]) -> NDArray[Any]:
    encoded = [text.encode() for text in texts]
    return np.array(encoded, h5py.string_dtype("utf-8", max(map(len, encoded), default=1)))


def _put(file: Any, name: str, values: NDArray[Any]) -> None:
    """A data set with a checksum a chunk, by which a flipped bit becomes an error.

    Not compressed: features shrink by a few percent only.
    """
    if values.size == 0:        # HDF5 has no chunks of nothing
        file.create_dataset(name, data=values, track_times=False)
        return
    row = values.dtype.itemsize * int(np.prod(values.shape[1:]))
    chunk = (min(len(values), max(1, _CHUNK // row)), *values.shape[1:])
    file.create_dataset(name, data=values, chunks=chunk, fletcher32=True, track_times=False)


def read_shard(path: Path, recipe_id: str) -> Shard:
    """All of a shard, every checksum tested. A damaged one or one of another recipe is a SpectrumError."""
    try:
        with h5py.File(path, "r") as file:
            found = (int(file.attrs["schema"]), str(file.attrs["recipe_id"]))
            shard = Shard(_texts(file["ids"]), file["offsets"][:], file["rows"][:], file["times"][:],
                          _texts(file["source_sha256"]))
    except (OSError, KeyError, ValueError) as error:
        raise SpectrumError(_broken(path, error)) from None
    if found != (SCHEMA, recipe_id):
        raise SpectrumError(f"{path}: schema and recipe are {found}, expected {(SCHEMA, recipe_id)}; "
                            "extract again")
    return shard


def _texts(dataset: Any) -> tuple[str, ...]:
    return tuple(text.decode() for text in dataset[:])


def _broken(path: Path, error: Exception) -> str:
    return f"{path}: not readable, damaged or no shard ({error}); extract again: whole shards are kept"


def write_index(folder: Path, modality: str, recipe: dict[str, Any], dim: int,
                counts: dict[int, tuple[int, int]], shard_count: int, failures: list[dict[str, str]]) -> None:
    """Publishes store.json, after the shards: with it the store is complete.

    `counts` are each shard's videos and rows; `shard_count` is how many shards there could be.
    """
    write_json(folder / INDEX, {
        "schema": SCHEMA, "modality": modality, "recipe_id": fingerprint(recipe), "recipe": recipe,
        "dim": dim, "dtype": "float16", "shard_count": shard_count,
        "videos": sum(videos for videos, _ in counts.values()),
        "rows": sum(rows for _, rows in counts.values()),
        "shards": [{"file": shard_name(number), "sha256": sha256(folder / shard_name(number)),
                    "videos": videos, "rows": rows} for number, (videos, rows) in sorted(counts.items())],
        "failures": failures,
    })


class FeatureStore:
    """Read access. Files are opened when first needed, in the process that needs them."""

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        self.folder = folder
        self.modality: str = index["modality"]
        self.recipe: dict[str, Any] = index["recipe"]
        self.recipe_id: str = index["recipe_id"]
        self.dim: int = index["dim"]
        self.failures: dict[str, str] = {failure["id"]: failure["reason"] for failure in index["failures"]}
        self._index = index
        self._files = {_number_of(entry["file"]): entry for entry in index["shards"]}
        self._open: dict[tuple[int, int], tuple[Any, tuple[str, ...], NDArray[np.int64]]] = {}

    @classmethod
    def open(cls, folder: Path, recipe_id: str | None = None) -> "FeatureStore":
        """Raises SpectrumError where the store is not complete, or not of the recipe asked for."""
        path = folder / INDEX
        if not path.exists():
            raise SpectrumError(f"{path}: no such file, so no whole feature store; run `dvc repro extract`")
        index = read_json(path)
        if not isinstance(index, dict) or index.get("schema") != SCHEMA:
            raise SpectrumError(f"{path}: expected a feature store of schema {SCHEMA}; extract again")
        if recipe_id is not None and index["recipe_id"] != recipe_id:
            raise SpectrumError(f"{folder}: its features are of recipe {index['recipe_id']}, needed is "
                                f"{recipe_id}: another encoder, sampling or decoder; extract again")
        return cls(folder, index)

    @property
    def ids(self) -> list[str]:
        """All ids, sorted."""
        return sorted(video_id for number in self._files for video_id in self._shard(number)[1])

    def __len__(self) -> int:
        return int(self._index["videos"])

    def __contains__(self, video_id: object) -> bool:
        return isinstance(video_id, str) and self._find(video_id) is not None

    def __getitem__(self, video_id: str) -> Rows:
        """A video's rows [T, D]; T is 0 where it lacks the modality. An unknown id is a SpectrumError."""
        rows: Rows = self._read(video_id, "rows")
        return rows

    def times(self, video_id: str) -> NDArray[np.float64]:
        """What each row shows, in seconds from the file's start: [T]."""
        times: NDArray[np.float64] = self._read(video_id, "times")
        return times

    def load(self, ids: Iterable[str]) -> tuple[Rows, NDArray[np.int64]]:
        """Rows [Σ T_i, D] of the videos in the order given, and offsets [n + 1] into them."""
        wanted = [(video_id, *self._place(video_id)) for video_id in ids]
        lengths = [part.stop - part.start for _, _, part in wanted]
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        rows = np.empty((int(offsets[-1]), self.dim), np.float16)
        by_shard: dict[int, list[int]] = {}
        for position, (_, number, _) in enumerate(wanted):
            by_shard.setdefault(number, []).append(position)
        for number, positions in by_shard.items():
            packed = self._values(number, "rows", slice(None))
            for position in positions:
                rows[offsets[position]:offsets[position + 1]] = packed[wanted[position][2]]
        return rows, offsets

    def verify(self) -> list[str]:
        """What is wrong with the store, a sentence each; an empty list where it is whole."""
        problems = []
        if fingerprint(self.recipe) != self.recipe_id:
            problems.append(f"{self.folder / INDEX}: recipe_id does not belong to the recipe")
        names = {entry["file"] for entry in self._files.values()}
        problems += [f"{path}: not listed in {INDEX}" for path in sorted(self.folder.glob("shard-*"))
                     if path.name not in names]
        videos = rows = 0
        for number, entry in sorted(self._files.items()):
            videos, rows = videos + entry["videos"], rows + entry["rows"]
            problems += self._verify_shard(number, entry)
        if (videos, rows) != (self._index["videos"], self._index["rows"]):
            problems.append(f"{self.folder / INDEX}: the shards' counts do not add up to the store's")
        return problems

    def _verify_shard(self, number: int, entry: dict[str, Any]) -> list[str]:
        path = self.folder / entry["file"]
        if not path.exists():
            return [f"{path}: missing"]
        problems = []
        if sha256(path) != entry["sha256"]:
            problems.append(f"{path}: its SHA-256 is not the one in {INDEX}")
        try:
            shard = read_shard(path, self.recipe_id)
        except SpectrumError as error:
            return [*problems, str(error)]
        ids, offsets, total, count = shard.ids, shard.offsets, len(shard.rows), self._index["shard_count"]
        checks = {
            "ids are not sorted and unique": list(ids) == sorted(set(ids)),
            "it holds ids of another shard": all(shard_of(video_id, count) == number for video_id in ids),
            "it holds ids that failed": not set(ids) & set(self.failures),
            f"its counts are not those in {INDEX}": (len(ids), total) == (entry["videos"], entry["rows"]),
            "its data sets do not fit together": len(ids) == len(shard.source_sha256) == len(offsets) - 1
            and len(shard.times) == total and shard.rows.shape == (total, self.dim),
            "offsets do not rise from 0 to the number of rows": offsets[0] == 0 and offsets[-1] == total
            and bool(np.all(np.diff(offsets) >= 0)),
            "rows are not all finite": bool(np.isfinite(shard.rows).all()),
            "times are not all finite": bool(np.isfinite(shard.times).all()),
        }
        return problems + [f"{path}: {what}" for what, holds in checks.items() if not holds]

    def _shard(self, number: int) -> tuple[Any, tuple[str, ...], NDArray[np.int64]]:
        """The open file, its ids and offsets. A handle is never shared with a forked child."""
        key = (os.getpid(), number)
        if key not in self._open:
            path = self.folder / self._files[number]["file"]
            try:
                file = h5py.File(path, "r")
                self._open[key] = (file, _texts(file["ids"]), file["offsets"][:])
            except (OSError, KeyError) as error:
                raise SpectrumError(_broken(path, error)) from None
        return self._open[key]

    def _find(self, video_id: str) -> tuple[int, slice] | None:
        number = shard_of(video_id, self._index["shard_count"])
        if number in self._files:
            _, ids, offsets = self._shard(number)
            position = bisect.bisect_left(ids, video_id)
            if position < len(ids) and ids[position] == video_id:
                return number, slice(int(offsets[position]), int(offsets[position + 1]))
        return None

    def _place(self, video_id: str) -> tuple[int, slice]:
        place = self._find(video_id)
        if place is None:
            why = f"extracting it failed: {self.failures[video_id]}" if video_id in self.failures else \
                "it is not in the store; run `dvc repro extract`"
            raise SpectrumError(f"{self.folder}: no features of video {video_id!r}: {why}")
        return place

    def _read(self, video_id: str, name: str) -> Any:
        number, part = self._place(video_id)
        return self._values(number, name, part)

    def _values(self, number: int, name: str, part: slice) -> Any:
        try:
            return self._shard(number)[0][name][part]
        except (OSError, KeyError) as error:
            raise SpectrumError(_broken(self.folder / self._files[number]["file"], error)) from None


def _number_of(file: str) -> int:
    return int(file.removeprefix("shard-").removesuffix(".h5"))


app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
Folder = Annotated[Path, typer.Argument(metavar="PATH", help="the store's folder")]


@app.command("verify")
def verify_command(path: Folder) -> None:
    """Tests every checksum, count and value; exit status 1 and what is wrong where something is."""
    with readable_errors():
        store = FeatureStore.open(path)
    problems = store.verify()
    for problem in problems:
        print(problem)
    if problems:
        raise typer.Exit(1)
    print(f"{path}: whole: {len(store)} videos, {len(store.failures)} failed, recipe {store.recipe_id}")


@app.command("ls")
def ls_command(path: Folder) -> None:
    """Lists the videos: id, rows, first and last time in seconds; then those that failed, with the reason."""
    with readable_errors():
        store = FeatureStore.open(path)
        for video_id in store.ids:
            times = store.times(video_id)
            span = f"{times[0]:.2f}-{times[-1]:.2f} s" if len(times) else "none"
            print(f"{video_id}\t{len(times)} rows\t{span}")
    for video_id, reason in store.failures.items():
        print(f"{video_id}\tfailed\t{reason}")


if __name__ == "__main__":
    app()
