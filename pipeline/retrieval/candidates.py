"""Candidate captions: for every video those of the caption index that are nearest to its frames.

A query is the mean of a video's frame vectors; its candidates are the captions of greatest cosine.
"""

import hashlib
import json
from collections.abc import Sequence
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
from pipeline.retrieval.index import CaptionIndex, unit_vectors
from pipeline.retrieval.leak_guard import barred_rows
from pipeline.retrieval.sentences import corpus_digest, distinct_sentences
from pipeline.store.feature_store import FeatureStore

_VIDEOS = 1024      # whose frames are read at once


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
            raise SpectrumError(f"the candidates point past the caption index; {rerun('retrieve')}")
        if self.index_digest != index.digest:
            raise SpectrumError(f"the candidates are rows of caption index {self.index_digest}, but the index that is "
                                f"there is {index.digest}; {rerun('retrieve')}")

    def select(self, ids: Sequence[str]) -> "Candidates":
        """The candidates of `ids`, in that order; a missing id is an error."""
        positions = find_positions(ids, self.ids, "candidates", rerun("retrieve"))
        return replace(self, ids=tuple(ids), rows=self.rows[positions], scores=self.scores[positions])


def retrieve_candidates(manifest: Manifest, store: FeatureStore, index: CaptionIndex, top: int,
                        batch_size: int = 1024, device: str = "cpu") -> Candidates:
    """The `top` candidates, or as many as there are, of every video with frames in `store`, in the manifest's order.

    batch_size, device: as of CaptionIndex.search.
    Raises SpectrumError where the index was made from another corpus.
    """
    if corpus_digest(distinct_sentences(manifest.corpus)) != index.corpus:
        raise SpectrumError("the caption index was made from another corpus than the manifest's; "
                            f"{rerun('index')}")
    ids = [video.id for video in manifest.extracted if video.id in store]
    barred = barred_rows(ids, index)
    left = len(index.texts) - max((len(rows) for rows in barred), default=0)
    if left < 1:
        raise SpectrumError(f"a corpus of {len(index.texts)} distinct captions leaves a video none but its "
                            "own; enlarge data.corpus")
    rows, scores = index.search(video_queries(store, ids), barred, min(top, left), batch_size, device)
    return Candidates(tuple(ids), rows, scores, index.recipe_id, index.digest)


def video_queries(store: FeatureStore, ids: Sequence[str]) -> NDArray[np.float32]:
    """[V, D]: each video's frame vectors' mean, of length 1."""
    empty = [video for video, count in zip(ids, store.count_rows(ids), strict=True) if not count]
    if empty:
        raise SpectrumError(f"video {empty[0]!r} has no frames in {store.folder} ({len(empty)} such)")
    means = np.empty((len(ids), store.dim), np.float32)
    for first in range(0, len(ids), _VIDEOS):
        rows, offsets = store.load(ids[first:first + _VIDEOS])
        sums = np.add.reduceat(rows.astype(np.float32), offsets[:-1], axis=0)
        means[first:first + _VIDEOS] = sums / np.diff(offsets)[:, None]
    return unit_vectors(means, "videos")
