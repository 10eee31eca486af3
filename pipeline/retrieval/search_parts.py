"""The search for all videos as parts of work, for one process or the workers of a cluster (pipeline/workers).

    run = search_by_parts(engine, SearchWork(paths.appearance, paths.index, 1024, "auto"), parts, index)
    candidates = retrieve_candidates(manifest, store, index, 100, run)
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.common.files import fingerprint
from pipeline.common.hdf5 import Layout
from pipeline.retrieval.candidates import Found, RunSearches, Search
from pipeline.retrieval.index import CaptionIndex, index_digest, map_vectors
from pipeline.store.feature_store import FeatureStore
from pipeline.workers.engine import Engine
from pipeline.workers.saved_parts import Arrays, SavedTask

_LAYOUTS = {"rows": Layout("int64", rank=2), "cosines": Layout("float32", rank=2)}


@dataclass(frozen=True)
class SearchWork:
    """Makes a worker that searches: of the index it maps the vectors into memory, and reads no texts.

    batch_size: videos that are searched for at once; device: as `machine.device` has it. Neither changes a result.
    """

    store: Path
    index: Path
    batch_size: int
    device: str

    def __call__(self) -> "SearchWorker":
        from pipeline.common.device import torch_device

        return SearchWorker(self, str(torch_device(self.device)))


class SearchWorker:
    def __init__(self, work: SearchWork, device: str) -> None:
        self._work, self._device = work, device
        self._store, self._vectors = FeatureStore.open(work.store), map_vectors(work.index)
        shards = [entry.sha256 for entry in self._store.metadata.shards]
        self.facts: dict[str, Any] = {"index": index_digest(work.index),
                                      "store": fingerprint([self._store.recipe_id, shards])}

    def do(self, part: Search) -> Arrays:
        rows, cosines = part.run(self._store, self._vectors, self._work.batch_size, self._device)
        return {"rows": rows, "cosines": cosines}


def search_by_parts(engine: Engine, work: SearchWork, folder: Path, index: CaptionIndex) -> RunSearches:
    """What runs the parts of `retrieve_candidates`; `index` is that of `work`, opened."""
    task = SavedTask(engine, work, folder)
    index.check_seen(task.facts["index"], work.index)

    def run(searches: Mapping[str, Search]) -> Iterator[Found]:
        key = fingerprint([[search.ids, search.captions.stop, search.depth] for search in searches.values()])
        for arrays in task.run(searches, _LAYOUTS, key):
            yield arrays["rows"], arrays["cosines"]

    return run
