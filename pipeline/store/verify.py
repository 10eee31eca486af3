"""Checking a store: every checksum, count and value."""

from pathlib import Path

import numpy as np

from pipeline.common.errors import SpectrumError
from pipeline.common.files import fingerprint, sha256
from pipeline.store.shard import Shard, number_of, read_shard, shard_of
from pipeline.store.store_file import STORE_FILE, ShardEntry, StoreMetadata


def store_problems(folder: Path, metadata: StoreMetadata) -> list[str]:
    """What is wrong with the store of this store.json, a sentence each; an empty list where it is whole."""
    problems = []
    if fingerprint(metadata.recipe) != metadata.recipe_id:
        problems.append(f"{folder / STORE_FILE}: recipe_id does not belong to the recipe")
    names = {entry.file for entry in metadata.shards}
    problems += [f"{path}: not listed in {STORE_FILE}" for path in sorted(folder.glob("shard-*"))
                 if path.name not in names]
    for entry in metadata.shards:
        problems += _shard_problems(folder / entry.file, entry, metadata)
    for key, total in (("videos", metadata.videos), ("rows", metadata.rows)):
        if sum(getattr(entry, key) for entry in metadata.shards) != total:
            problems.append(f"{folder / STORE_FILE}: the shards' {key} do not add up to the store's")
    return problems


def _shard_problems(path: Path, entry: ShardEntry, metadata: StoreMetadata) -> list[str]:
    problems = []
    try:
        if not path.exists():
            return [f"{path}: missing"]
        if not path.is_file():      # hashing a pipe would wait for ever
            return [f"{path}: it is no ordinary file"]
        if sha256(path) != entry.sha256:
            problems.append(f"{path}: its SHA-256 is not the one in {STORE_FILE}")
        shard = read_shard(path, metadata.recipe_id)
    except OSError as error:
        return [f"{path}: it cannot be read ({error.strerror})"]
    except SpectrumError as error:
        return [*problems, str(error)]
    ids, rows = shard.ids, len(shard.rows)
    failed = {failure.id for failure in metadata.failures}
    partial = {entry.id: entry.share for entry in metadata.partial}
    checks = {
        "it holds ids of another shard":
            all(shard_of(video_id, metadata.shard_count) == number_of(path.name) for video_id in ids),
        "it holds ids that failed": not failed & set(ids),
        f"its counts are not those in {STORE_FILE}": (len(ids), rows) == (entry.videos, entry.rows),
        f"its partial videos are not those in {STORE_FILE}":
            all(partial.get(video_id, 1.0) == round(float(share), 6)
                for video_id, share in zip(ids, shard.shares, strict=True)),
    }
    faults = [fault for fault, holds in checks.items() if not holds]
    return problems + [f"{path}: {fault}" for fault in faults + value_faults(shard, metadata.dim, metadata.dtype)]


def value_faults(shard: Shard, dim: int, dtype: str) -> list[str]:
    """What no checksum notices: whether what a shard holds can be features of this width and type."""
    own = shard.rows.shape[1], shard.rows.dtype.name
    checks = {
        f"rows of {own[0]} {own[1]}, expected {dim} {dtype}": own == (dim, dtype),
        "rows are not all finite": bool(np.isfinite(shard.rows).all()),
        "times are not all finite": bool(np.isfinite(shard.times).all()),
        "shares are not all from 0 to 1": bool(np.all((shard.shares >= 0) & (shard.shares <= 1))),
    }
    return [fault for fault, holds in checks.items() if not holds]
