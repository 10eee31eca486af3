"""Published feature files in, ours out: flat HDF5, folders of .npy, .npz, Parquet. The round trip is exact.

    import_features(Path("MSVD_CLIP.hdf5"), Path("features/msvd/clip"),
                    ImportOptions(about={"model": "ViT-B-32/openai"}, id_of=manifest.id_of))
    export_features(FeatureStore.open(Path("features/msvd/clip")), Path("out.hdf5"), "hdf5")

What is not known is not made up: a published file has no times, so the times of imported rows are their numbers
0, 1, 2 …, and the recipe has `times: unknown`.
"""

import shutil
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.common.commands import IMPORT_FEATURES
from pipeline.common.errors import SpectrumError, readable_write_errors
from pipeline.common.files import atomic_write, fingerprint, read_jsonl, remove_temporary_files
from pipeline.store.feature_files import FeatureFile, features_sha256, open_features
from pipeline.store.feature_store import FeatureStore
from pipeline.store.folder import only_writer, remove_leftovers
from pipeline.store.known_rows import drop_rows, keep_shards
from pipeline.store.parquet_features import write_features
from pipeline.store.shard import (
    DTYPES,
    Rows,
    Shard,
    check_id,
    shard_name,
    shard_of,
    shards_by_size,
    write_shard,
)
from pipeline.store.store_file import STORE_FILE, write_store_file

Layout = Literal["hdf5", "npy", "npz", "parquet"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
MISSING = "the imported file has no features of it"
ALL_ZERO = "its rows in the imported file are all zero: a placeholder for features that lack"
_SHOWN = 5          # ids that a message names
_EXPORT_BATCH = 256     # videos that are loaded together


@dataclass(frozen=True)
class ImportOptions:
    """What is known of published features, and what to make of them.

    about: for the recipe (`model`, `note`, …). id_of: the id behind every key that a video may go by
    (`Manifest.id_of`); None: every key is an id. dtype: float16 or float32; "" keeps the file's own.
    allowed_missing: share of the ids that may lack features.
    """

    about: Mapping[str, Any] = field(default_factory=dict)
    id_of: Mapping[str, str] | None = None
    modality: str = "appearance"
    dtype: str = ""
    num_shards: int = 0         # 0: by size
    allowed_missing: float = 0.0


@dataclass(frozen=True)
class _Plan:
    """What is imported: the key of each id, why ids are missing, the keys that are no id, the rows' width and type."""

    key_of: dict[str, str]
    missing: dict[str, str]
    extra: tuple[str, ...]
    rows: int
    dim: int
    dtype: np.dtype[Any]
    source_sha256: str

    def num_shards(self, wanted: int) -> int:
        return wanted or shards_by_size(len(self.key_of), self.rows * self.dim * self.dtype.itemsize)


def import_features(path: Path, folder: Path, options: ImportOptions) -> dict[str, Any]:
    """Makes a store in `folder` of the features in `path`, a file or a folder; returns counts.

    Keys that are no id are counted and left out; videos that `path` has no features of, or only zeros, are listed as
    failures, and more of them than `options.allowed_missing` are an error.

    Raises SpectrumError, with `folder` unchanged, for rows of different widths or types, values that are
    not finite (also: not in float16), features of one video under two keys.
    """
    with open_features(path) as source:
        plan = _plan(source, options)
        _check_missing(path, plan, options.allowed_missing)
        plan = _without_zeros(source, plan)         # reads every value before anything is written
        _check_missing(path, plan, options.allowed_missing)
        recipe = {"kind": "imported", **options.about, "source": {"name": path.name, "sha256": plan.source_sha256},
                  "times": "unknown: row numbers", "dtype": plan.dtype.name}
        with only_writer(folder), readable_write_errors(folder):
            recipe_id, num_shards = fingerprint(recipe), plan.num_shards(options.num_shards)
            keep_shards(folder)         # an encoder's, which took longer to make than this import
            counts = _write_shards(source, plan, folder, recipe_id, num_shards)
            failures = [{"id": video_id, "path": str(path), "reason": reason}
                        for video_id, reason in sorted(plan.missing.items())]
            write_store_file(folder, options.modality, recipe, plan.dim, counts, num_shards, failures)
            drop_rows(folder, recipe_id)
    return {"videos": len(plan.key_of), "rows": sum(rows for _, rows in counts.values()), "dim": plan.dim,
            "dtype": plan.dtype.name, "failed": len(plan.missing),
            "of_zeros": sum(reason == ALL_ZERO for reason in plan.missing.values()), "extra": len(plan.extra)}


def _check_missing(path: Path, plan: _Plan, allowed: float) -> None:
    videos = len(plan.key_of) + len(plan.missing)
    if not plan.key_of or len(plan.missing) > allowed * videos:
        zeros = sum(reason == ALL_ZERO for reason in plan.missing.values())
        raise SpectrumError(
            f"{path}: no features of {len(plan.missing)} of {videos} videos ({_some(sorted(plan.missing))}"
            f"{f'; {zeros} have rows of zeros' if zeros else ''}), and {len(plan.extra)} keys that are no id "
            f"({_some(plan.extra)}); name a file of keys and ids (--names), or allow videos without features "
            "(--allow-missing, in the graph extraction.allowed_failures)")


def _without_zeros(source: FeatureFile, plan: _Plan) -> _Plan:
    """The plan after a look at every value; a video of only zeros, as some publish what lacks, is missing."""
    zeros = {video_id: ALL_ZERO for video_id, key in plan.key_of.items()
             if (rows := _rows(source, key, plan, video_id)).size and not rows.any()}
    kept = {video_id: key for video_id, key in plan.key_of.items() if video_id not in zeros}
    return replace(plan, key_of=kept, missing=plan.missing | zeros)


def _plan(source: FeatureFile, options: ImportOptions) -> _Plan:
    key_of: dict[str, str] = {}
    extra = []
    for key in source.keys:
        video_id = key if options.id_of is None else options.id_of.get(key)
        if video_id is None:
            extra.append(key)
            continue
        check_id(video_id)
        if key_of.setdefault(video_id, key) != key:
            raise SpectrumError(f"{source.path}: video {video_id!r} is there as {key_of[video_id]!r} and as {key!r}; "
                                "keep one")
    if not key_of:
        raise SpectrumError(f"{source.path}: none of its {len(source.keys)} keys ({_some(source.keys)}) is the id or a "
                            f"name of a video ({_some(sorted(set((options.id_of or {}).values())))}); name a file of "
                            "keys and ids (--names)")
    rows, dim, dtype = _common_shape(source, key_of)
    ids = set(key_of) if options.id_of is None else set(options.id_of.values())
    return _Plan(dict(sorted(key_of.items())), dict.fromkeys(ids - set(key_of), MISSING), tuple(extra), rows, dim,
                 _stored_dtype(source, dtype, options.dtype), features_sha256(source.path))


def _common_shape(source: FeatureFile, key_of: Mapping[str, str]) -> tuple[int, int, np.dtype[Any]]:
    """How many rows there are, and the one width and the one type of all."""
    first: tuple[str, int, np.dtype[Any]] | None = None
    rows = 0
    for key in key_of.values():
        shape, dtype = source.shape(key)
        if dtype.kind != "f" or len(shape) not in (1, 2) or shape[-1] == 0:
            raise source.error(key, f"{dtype} {list(shape)}, expected floating point [T, D] or [D]")
        rows += shape[0] if len(shape) == 2 else 1
        dtype = dtype.newbyteorder("=")
        first = first or (key, shape[-1], dtype)
        if (shape[-1], dtype) != first[1:]:
            raise source.error(key, f"rows of {shape[-1]} {dtype}, but those of {first[0]!r} are of {first[1]} "
                                    f"{first[2]}; a store has rows of one kind")
    if first is None:
        raise SpectrumError(f"{source.path}: it has no features; name another file")
    return rows, first[1], first[2]


def _stored_dtype(source: FeatureFile, own: np.dtype[Any], wanted: str) -> np.dtype[Any]:
    if (wanted or own.name) not in DTYPES:
        raise SpectrumError(f"{source.path}: its rows are {own.name}, a store keeps {' or '.join(DTYPES)}; round "
                            f"them by {IMPORT_FEATURES} with --dtype (for a parameter of the graph, export that store "
                            "again)")
    return np.dtype(wanted or own.name)


def _rows(source: FeatureFile, key: str, plan: _Plan, video_id: str) -> Rows:
    with np.errstate(over="ignore"):
        rows = source.read(key).astype(plan.dtype)
    bad = np.flatnonzero(~np.isfinite(rows).all(1))
    if len(bad):
        raise source.error(key, f"(video {video_id}) {len(bad)} of {len(rows)} rows, the first of them {bad[0]}, hold "
                                f"values that are not finite in {plan.dtype}")
    return rows


def _write_shards(source: FeatureFile, plan: _Plan, folder: Path, recipe_id: str,
                  num_shards: int) -> dict[int, tuple[int, int]]:
    """Writes all shards; returns each one's videos and rows. Until store.json is written the folder is no store."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STORE_FILE).unlink(missing_ok=True)
    remove_temporary_files(folder)
    by_shard: dict[int, list[str]] = {}
    for video_id in plan.key_of:
        by_shard.setdefault(shard_of(video_id, num_shards), []).append(video_id)
    counts = {}
    for number, ids in sorted(by_shard.items()):
        parts = [_rows(source, plan.key_of[video_id], plan, video_id) for video_id in ids]
        offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        times: NDArray[np.float64] = np.concatenate([np.arange(len(part), dtype=np.float64) for part in parts])
        write_shard(folder / shard_name(number), Shard(
            tuple(ids), offsets, np.concatenate(parts), times, (plan.source_sha256,) * len(ids),
            np.ones(len(ids), np.float32)), recipe_id)
        counts[number] = (len(ids), int(offsets[-1]))
    remove_leftovers(folder, set(counts))
    return counts


def export_features(store: FeatureStore, destination: Path, layout: Layout,
                    names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Writes every video's rows [T, D], in the store's type, to a flat HDF5 file, an .npz archive, a Parquet file or a
    folder of .npy.

    names: key → id, as for import; a video goes out under the first key that is not its id. Videos that failed are
    not in the store and so not in the file. Raises SpectrumError where `destination` is there already.
    """
    if destination.exists():
        raise SpectrumError(f"{destination}: it is there already; remove it or name another")
    keys = _keys(store.ids, names or {})
    with (readable_write_errors(destination),
          atomic_write(destination) if layout != "npy" else _atomic_folder(destination) as temporary):
        if layout == "hdf5":
            with h5py.File(temporary, "w", locking=False) as file:     # atomic_write holds a lock
                for video_id, rows in _videos(store):
                    file.create_dataset(keys[video_id], data=rows, track_times=False)
        elif layout == "npz":
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
                for video_id, rows in _videos(store):
                    # A ZipInfo has a fixed date: the same store gives the same bytes.
                    with archive.open(zipfile.ZipInfo(f"{keys[video_id]}.npy"), "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, rows, allow_pickle=False)
        elif layout == "parquet":
            write_features(temporary, ([(keys[video_id], rows) for video_id, rows in batch]
                                       for batch in _batches(store)), store.dim, store.dtype)
        else:
            for video_id, rows in _videos(store):
                np.save(temporary / f"{keys[video_id]}.npy", rows, allow_pickle=False)
    return {"videos": len(store), "rows": store.metadata.rows, "dim": store.dim, "dtype": store.dtype.name,
            "failed": len(store.failures)}


class _atomic_folder:
    """A folder that takes its name when it is complete."""

    def __init__(self, path: Path) -> None:
        self._path, self._temporary = path, path.with_name(f".{path.name}.tmp")

    def __enter__(self) -> Path:
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._temporary.mkdir(parents=True)
        return self._temporary

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._temporary.rename(self._path)
        shutil.rmtree(self._temporary, ignore_errors=True)


def _videos(store: FeatureStore) -> Iterable[tuple[str, Rows]]:
    for batch in _batches(store):
        yield from batch


def _batches(store: FeatureStore) -> Iterable[list[tuple[str, Rows]]]:
    ids = store.ids
    for first in range(0, len(ids), _EXPORT_BATCH):
        part = ids[first:first + _EXPORT_BATCH]
        rows, offsets = store.load(part)
        yield [(video_id, rows[offsets[i]:offsets[i + 1]]) for i, video_id in enumerate(part)]


def _keys(ids: Sequence[str], names: Mapping[str, str]) -> dict[str, str]:
    """The key that each id goes out under."""
    keys = {video_id: video_id for video_id in ids}
    for name, video_id in names.items():
        if keys.get(video_id) == video_id:
            keys[video_id] = name
    for video_id, key in keys.items():
        if "/" in key or "\\" in key or key.startswith(".") or len(key.encode()) > 200:
            raise SpectrumError(f"video {video_id!r}: {key!r} cannot name a data set or a file; give it another name "
                                "with a map (--names)")
    if len(set(keys.values())) != len(keys):
        raise SpectrumError("two videos would go out under one key; every name of the map has to be of one video")
    return keys


def read_names(files: Sequence[Path]) -> dict[str, str] | None:
    """key → id from manifests (`videos.jsonl`: ids, and other names for them) and maps of two columns.

    A map's lines are `key id`, as MSVD's `youtubeid_start_end vid1`; with a manifest, ids that it does not have are
    left out. None where there is no file.
    """
    if not files:
        return None
    names: dict[str, str] = {}
    manifests = [path for path in files if path.suffix == ".jsonl"]
    for path in manifests:
        for number, row in read_jsonl(path):
            if not isinstance(row, dict) or not isinstance(row.get("id"), str):
                raise SpectrumError(f"{path}, line {number}: expected an object with an id, as in a manifest")
            names |= dict.fromkeys((row["id"], *row.get("names", ())), row["id"])
    known = set(names.values())
    for path in files:
        for key, video_id in _pairs(path) if path not in manifests else ():
            if not manifests or video_id in known:
                names[key] = video_id
    return names


def _pairs(path: Path) -> Iterable[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SpectrumError(f"{path}: the map cannot be read ({error})") from None
    seen: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        columns = line.split("\t") if "\t" in line else line.split()
        if not line.strip():
            continue
        if len(columns) != 2 or not all(column.strip() for column in columns):
            raise SpectrumError(f"{path}, line {number}: expected two columns, key and id, found {line!r:.100}")
        key, video_id = (column.strip() for column in columns)
        if seen.setdefault(key, video_id) != video_id:
            raise SpectrumError(f"{path}, line {number}: {key!r} is {seen[key]!r} and {video_id!r}")
        yield key, video_id


def _some(texts: Sequence[str]) -> str:
    return ", ".join(map(repr, texts[:_SHOWN])) + (", …" if len(texts) > _SHOWN else "") if texts else "none"
