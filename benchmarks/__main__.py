"""What the project promises about speed, measured as ratios within one run on data made here.

    python -m benchmarks            # or: make bench

Writes reports/bench/cache.json: `load_speedup` (a whole store against one HDF5 data set a video, both from the
page cache) and `retrieval_over_faiss` (candidate search against the bare FAISS search that it does). Each pair is
timed in turn, several times, and the ratio of the medians is told.
"""

import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from pipeline import index
from pipeline.files import fingerprint, write_json
from pipeline.manifest import Caption
from pipeline.params import cores
from pipeline.store import FeatureStore, Shard, shard_of, write_index, write_shard

ROUNDS = 5
VIDEOS, FRAMES, DIM, SHARDS = 10_000, 28, 512, 16
CAPTIONS, QUERIES, TOP = 100_000, 500, 100


def in_turn(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of each, timed alternately so that a drift of the machine meets both; a first round warms up."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS + 1):
        for run, found in zip((ours, theirs), seconds, strict=True):
            started = time.perf_counter()
            run()
            found.append(time.perf_counter() - started)
    return statistics.median(seconds[0][1:]), statistics.median(seconds[1][1:])


def loading(folder: Path) -> dict[str, float]:
    """Seconds to load a whole store of VIDEOS x FRAMES x DIM float16, and the same rows from one data set a video."""
    rng = np.random.default_rng(0)
    ids = [f"video{i}" for i in range(VIDEOS)]
    recipe = {"kind": "benchmark"}
    counts = {}
    with h5py.File(folder / "flat.h5", "w") as flat:
        for number in range(SHARDS):
            mine = sorted(video for video in ids if shard_of(video, SHARDS) == number)
            rows = rng.standard_normal((len(mine) * FRAMES, DIM)).astype(np.float16)
            shard = Shard(tuple(mine), np.arange(len(mine) + 1) * FRAMES, rows, np.zeros(len(rows)),
                          ("0" * 64,) * len(mine))
            write_shard(folder / f"shard-{number:04d}.h5", shard, fingerprint(recipe))
            counts[number] = (len(mine), len(rows))
            for i, video in enumerate(mine):
                flat[video] = rows[i * FRAMES : (i + 1) * FRAMES]
    write_index(folder, "appearance", recipe, DIM, counts, SHARDS, [])

    def plain() -> None:
        with h5py.File(folder / "flat.h5") as flat:
            for video in ids:
                flat[video][()]

    ours, theirs = in_turn(lambda: FeatureStore.open(folder).load(ids), plain)
    return {"store_seconds": ours, "flat_seconds": theirs, "load_speedup": theirs / ours}


def retrieval(folder: Path) -> dict[str, float]:
    """Seconds to find TOP candidates of QUERIES videos among CAPTIONS, and of the bare search."""
    rng = np.random.default_rng(0)
    captions = [Caption(f"v{i // 20}", f"sentence {i}") for i in range(CAPTIONS)]
    index.build(captions, rng.standard_normal((CAPTIONS, DIM), np.float32), "benchmark", folder)
    opened = index.open_index(folder, "benchmark")
    queries = index.unit(rng.standard_normal((QUERIES, DIM), np.float32), "queries")
    own = index.own_sentences([f"v{i}" for i in range(QUERIES)],
                              {f"v{i}": [f"sentence {20 * i + k}" for k in range(20)] for i in range(QUERIES)})
    ours, theirs = in_turn(lambda: opened.search(queries, own, TOP),
                           lambda: opened.faiss_index.search(queries, TOP + 20))
    return {"search_seconds": ours, "faiss_seconds": theirs, "retrieval_over_faiss": ours / theirs}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {**loading(Path(folder)), **retrieval(Path(folder) / "index")}
    found = {key: round(value, 4) for key, value in found.items()}
    write_json(Path("reports/bench/cache.json"),
               {**found, "machine": {"processor": platform.processor() or platform.machine(), "cores": cores()}})
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
