"""How fast a whole feature store loads, against the flat file that published features come as.

    python -m benchmarks.store              # 10,000 videos x 28 x 512 float16, 287 MB, a copy in each layout
    python -m benchmarks.store 1000         # fewer videos

The flat file is what h5py writes by default: one contiguous data set a video, no checksum. Both readers end with all
rows in memory; ours has tested every checksum, and that all values are finite. Both files come from the page cache,
each is timed in turn, several times, and the ratio of the medians is printed.
"""

import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

from benchmarks.timing import in_turn, medians
from pipeline.common.files import fingerprint
from pipeline.store.feature_store import FeatureStore
from pipeline.store.shard import Shard, shard_name, shard_of, shards_by_size, write_shard
from pipeline.store.store_file import write_store_file

ROUNDS = 7
VIDEOS, FRAMES, DIM = 10_000, 28, 512


def make(folder: Path, videos: int) -> list[str]:
    """A store of random rows and `flat.h5` with the same; returns the ids in the order of a manifest."""
    rng = np.random.default_rng(0)
    ids = [f"video{number}" for number in range(videos)]
    recipe = {"kind": "benchmark"}
    rows_of = {video: rng.standard_normal((FRAMES, DIM), np.float32).astype(np.float16) for video in ids}
    counts, shards = {}, shards_by_size(videos, videos * FRAMES * DIM * 2)
    for number in range(shards):
        mine = sorted(video for video in ids if shard_of(video, shards) == number)
        rows = np.concatenate([np.empty((0, DIM), np.float16), *(rows_of[video] for video in mine)])
        write_shard(folder / shard_name(number), Shard(
            tuple(mine), np.arange(len(mine) + 1) * FRAMES, rows, np.zeros(len(rows)), ("0" * 64,) * len(mine),
            np.ones(len(mine), np.float32)), fingerprint(recipe))
        counts[number] = (len(mine), len(rows))
    write_store_file(folder, "appearance", recipe, DIM, counts, shards, [])
    with h5py.File(folder / "flat.h5", "w") as flat:
        for video, rows in rows_of.items():
            flat[video] = rows
    return ids


def loading(folder: Path, videos: int = VIDEOS) -> dict[str, float]:
    """Seconds to load a whole store, a shuffled tenth of it, and the same rows from one data set a video."""
    ids = make(folder, videos)
    some = np.random.default_rng(1).permutation(ids)[:videos // 10].tolist()

    def flat(wanted: list[str]) -> list[np.ndarray]:
        with h5py.File(folder / "flat.h5") as file:
            return [file[video][()] for video in wanted]

    def store(wanted: list[str]) -> np.ndarray:
        return FeatureStore.open(folder).load(wanted)[0]

    if not np.array_equal(np.concatenate(flat(ids)), store(ids)):
        raise RuntimeError("the store and the flat file differ")
    whole, whole_flat, part, part_flat = medians(in_turn(
        ROUNDS, lambda: store(ids), lambda: flat(ids), lambda: store(some), lambda: flat(some)))
    return {"store_seconds": whole, "flat_seconds": whole_flat, "load_speedup": whole_flat / whole,
            "tenth_seconds": part, "tenth_flat_seconds": part_flat, "tenth_load_speedup": part_flat / part}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for name, value in loading(Path(temporary), int(sys.argv[1]) if sys.argv[1:] else VIDEOS).items():
            print(f"{name}: {value:.4f}")
