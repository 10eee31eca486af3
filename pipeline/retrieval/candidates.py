"""Candidate captions: for every video those of the caption index that are nearest to its frames.

A query is the mean of a video's frame vectors; its candidates are the captions of greatest cosine.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.common.commands import rerun
from pipeline.common.errors import SpectrumError
from pipeline.common.hdf5 import TEXTS, Layout, read_arrays, write_arrays
from pipeline.common.ids import find_positions
from pipeline.datasets.manifest import Manifest
from pipeline.retrieval.exact_search import merge, nearest
from pipeline.retrieval.index import CaptionIndex, unit_vectors
from pipeline.retrieval.leak_guard import barred_rows
from pipeline.retrieval.sentences import corpus_digest, distinct_sentences
from pipeline.store.feature_store import FeatureStore

_VIDEOS = 1024      # whose frames are read at once
_QUERIES = 2048     # videos of a part of the search
_CAPTIONS = 1 << 20     # of a part: 2 GB of vectors at 512 dimensions

Found = tuple[NDArray[np.int64], NDArray[np.float32]]       # rows and cosines, as of `nearest`


@dataclass(frozen=True)
class Candidates:
    """The top captions of every video: `rows` [V, N] of the index, cosine `scores` [V, N], best first."""

    ids: tuple[str, ...]
    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    recipe_id: str          # of the encoder that compared videos and captions
    index_digest: str       # of the index whose rows these are

    @cached_property
    def digest(self) -> str:
        """Stands for these candidates: what is derived from them keeps it."""
        content = hashlib.sha256(f"{self.recipe_id} {self.index_digest} {json.dumps(self.ids)}".encode())
        content.update(np.ascontiguousarray(self.rows).tobytes())
        content.update(np.ascontiguousarray(self.scores).tobytes())
        return content.hexdigest()[:16]

    def write(self, path: Path) -> None:
        write_arrays(path, {"ids": self.ids, "rows": self.rows, "scores": self.scores},
                     {"recipe_id": self.recipe_id, "index": self.index_digest})

    @classmethod
    def read(cls, path: Path) -> "Candidates":
        """Raises SpectrumError for a file that is damaged or something else."""
        arrays, attributes = read_arrays(
            path, {"ids": TEXTS, "rows": Layout("int64", rank=2), "scores": Layout("float32", rank=2)},
            ["recipe_id", "index"])
        ids, rows, scores = arrays["ids"], arrays["rows"], arrays["scores"]
        if not len(ids) == len(set(ids)) == len(rows) or rows.shape != scores.shape or (rows < 0).any():
            raise SpectrumError(f"{path}: its ids, rows and scores do not fit together; {rerun('retrieve')}")
        return cls(ids, rows, scores, attributes["recipe_id"], attributes["index"])

    def check_index(self, index: CaptionIndex) -> None:
        """Raises SpectrumError where these are rows of another index."""
        if (self.rows >= len(index.texts)).any():
            raise SpectrumError(f"the candidates were made with another caption index, which was larger; "
                                f"{rerun('retrieve')}")
        if self.index_digest != index.digest:
            raise SpectrumError(f"the candidates were made with caption index {self.index_digest}, but now there is "
                                f"{index.digest}; {rerun('retrieve')}")

    def select(self, ids: Sequence[str]) -> "Candidates":
        """The candidates of `ids`, in that order; a missing id is an error."""
        positions = find_positions(ids, self.ids, "candidates", rerun("retrieve"))
        return replace(self, ids=tuple(ids), rows=self.rows[positions], scores=self.scores[positions])


@dataclass(frozen=True)
class Search:
    """A part of the search: the `depth` nearest of some captions of the index, for some videos."""

    ids: tuple[str, ...]
    captions: slice
    depth: int

    def run(self, store: FeatureStore, vectors: NDArray[np.float32], batch_size: int, device: str) -> Found:
        """vectors [M, D]: of the whole index; batch_size, device: as of `nearest`."""
        own = vectors[self.captions]
        rows, cosines = nearest(video_queries(store, self.ids), own, min(self.depth, len(own)), batch_size, device)
        return rows + self.captions.start, cosines


RunSearches = Callable[[Mapping[str, Search]], Iterable[Found]]


def retrieve_candidates(manifest: Manifest, store: FeatureStore, index: CaptionIndex, top: int,
                        run: RunSearches | None = None) -> Candidates:
    """The `top` candidates, or as many as there are, of every video with frames in `store`, in the manifest's order.

    run: what runs the named parts of the search, in their order, where it is not this process (search_parts.py).
    Raises SpectrumError where the index was made from another corpus.
    """
    if corpus_digest(distinct_sentences(manifest.corpus)) != index.corpus:
        raise SpectrumError("the caption index was made from another corpus than the manifest's; "
                            f"{rerun('index')}")
    ids = [video.id for video in manifest.extracted if video.id in store]
    barred = barred_rows(ids, index)
    left = len(index.texts) - max((len(rows) for rows in barred), default=0)
    if left < 1:
        raise SpectrumError(f"a corpus of {len(index.texts)} distinct captions has none for some video but "
                            "the video's own; enlarge data.corpus")
    _refuse_without_frames(store, ids)
    top = min(top, left)
    depth, corpus = index.search_depth(barred, top), len(index.texts)
    videos = [slice(first, first + _QUERIES) for first in range(0, max(1, len(ids)), _QUERIES)]
    captions = [slice(first, min(first + _CAPTIONS, corpus)) for first in range(0, corpus, _CAPTIONS)]
    searches = {f"videos-{some.start:09}-captions-{part.start:09}": Search(tuple(ids[some]), part, depth)
                for some in videos for part in captions}
    found = iter(run(searches) if run else
                 (search.run(store, index.embeddings, _VIDEOS, "cpu") for search in searches.values()))
    chosen = [index.choose(*merge([next(found) for _ in captions], depth), barred[some], top) for some in videos]
    rows, scores = (np.concatenate(parts) for parts in zip(*chosen, strict=True))
    return Candidates(tuple(ids), rows, scores, index.recipe_id, index.digest)


def video_queries(store: FeatureStore, ids: Sequence[str]) -> NDArray[np.float32]:
    """[V, D]: each video's frame vectors' mean, of length 1."""
    _refuse_without_frames(store, ids)
    means = np.empty((len(ids), store.dim), np.float32)
    for first in range(0, len(ids), _VIDEOS):
        rows, offsets = store.load(ids[first:first + _VIDEOS])
        sums = np.add.reduceat(rows.astype(np.float32), offsets[:-1], axis=0)
        means[first:first + _VIDEOS] = sums / np.diff(offsets)[:, None]
    return unit_vectors(means, "videos")


def _refuse_without_frames(store: FeatureStore, ids: Sequence[str]) -> None:
    empty = [video for video, count in zip(ids, store.count_rows(ids), strict=True) if not count]
    if empty:
        raise SpectrumError(f"video {empty[0]!r} has no frames in {store.folder} ({len(empty)} such); "
                            f"{rerun('extract')}")
