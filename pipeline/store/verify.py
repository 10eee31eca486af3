"""Testing a store: every checksum, count and value."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.common.errors import SpectrumError
from pipeline.common.files import fingerprint, sha256
from pipeline.store.shard import Shard, number_of, read_shard, shard_of
from pipeline.store.store_file import INDEX


def problems(folder: Path, index: dict[str, Any]) -> list[str]:
    """What is wrong with the store of this index, a sentence each; an empty list where it is whole."""
    found = []
    if fingerprint(index["recipe"]) != index["recipe_id"]:
        found.append(f"{folder / INDEX}: recipe_id does not belong to the recipe")
    names = {entry["file"] for entry in index["shards"]}
    found += [f"{path}: not listed in {INDEX}" for path in sorted(folder.glob("shard-*")) if path.name not in names]
    for entry in index["shards"]:
        found += _of_shard(folder / entry["file"], entry, index)
    for what in ("videos", "rows"):
        if sum(entry[what] for entry in index["shards"]) != index[what]:
            found.append(f"{folder / INDEX}: the shards' {what} do not add up to the store's")
    return found


def _of_shard(path: Path, entry: dict[str, Any], index: dict[str, Any]) -> list[str]:
    if not path.exists():
        return [f"{path}: missing"]
    found = []
    try:
        if sha256(path) != entry["sha256"]:
            found.append(f"{path}: its SHA-256 is not the one in {INDEX}")
        shard = read_shard(path, index["recipe_id"])
    except OSError as error:
        return [f"{path}: it cannot be read ({error.strerror})"]
    except SpectrumError as error:
        return [*found, str(error)]
    ids, total = shard.ids, len(shard.rows)
    failed = {failure["id"] for failure in index["failures"]}
    partial = {entry["id"]: entry["share"] for entry in index["partial"]}
    checks = {
        "it holds ids of another shard":
            all(shard_of(video_id, index["shard_count"]) == number_of(path.name) for video_id in ids),
        "it holds ids that failed": not failed & set(ids),
        f"its counts are not those in {INDEX}": (len(ids), total) == (entry["videos"], entry["rows"]),
        f"its partial videos are not those in {INDEX}":
            all(partial.get(video_id, 1.0) == round(float(share), 6)
                for video_id, share in zip(ids, shard.shares, strict=True)),
    }
    faults = [what for what, holds in checks.items() if not holds]
    return found + [f"{path}: {what}" for what in faults + faults_of_values(shard, index["dim"], index["dtype"])]


def faults_of_values(shard: Shard, dim: int, dtype: str) -> list[str]:
    """What no checksum tells: whether what a shard holds can be features of this width and type."""
    found = shard.rows.shape[1], shard.rows.dtype.name
    checks = {
        f"rows of {found[0]} {found[1]}, expected {dim} {dtype}": found == (dim, dtype),
        "rows are not all finite": bool(np.isfinite(shard.rows).all()),
        "times are not all finite": bool(np.isfinite(shard.times).all()),
        "shares are not all from 0 to 1": bool(np.all((shard.shares >= 0) & (shard.shares <= 1))),
    }
    return [what for what, holds in checks.items() if not holds]
