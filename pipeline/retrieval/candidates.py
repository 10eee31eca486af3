"""Candidate captions: for every video those of the caption index that are nearest to its frames.

A query is the mean of a video's frame vectors; its candidates are the captions of greatest cosine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import SpectrumError
from pipeline.common.files import atomic_write
from pipeline.datasets.manifest import Manifest
from pipeline.retrieval.index import CaptionIndex, unit_vectors
from pipeline.retrieval.leak_guard import barred_sentences
from pipeline.store.feature_store import FeatureStore

_TEXT = h5py.string_dtype()


@dataclass(frozen=True)
class Candidates:
    """The top captions of every video: `rows` [V, N] of the index, cosine `scores` [V, N], best first."""

    ids: tuple[str, ...]
    rows: NDArray[np.int64]
    scores: NDArray[np.float32]
    recipe_id: str

    def write(self, path: Path) -> None:
        with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
            file.attrs["recipe_id"] = self.recipe_id
            file.create_dataset("ids", data=list(self.ids), dtype=_TEXT, track_times=False)
            file.create_dataset("rows", data=self.rows, fletcher32=True, track_times=False)
            file.create_dataset("scores", data=self.scores, fletcher32=True, track_times=False)

    @classmethod
    def read(cls, path: Path) -> "Candidates":
        if not path.is_file():
            raise SpectrumError(f"{path}: no such file; run python -m stages.retrieve")
        with h5py.File(path) as file:
            return cls(tuple(file["ids"].asstr()[:]), file["rows"][:], file["scores"][:],
                       str(file.attrs["recipe_id"]))

    def select(self, ids: Sequence[str]) -> "Candidates":
        """The candidates of `ids`, in that order; a missing id is an error."""
        position = {video: i for i, video in enumerate(self.ids)}
        missing = [video for video in ids if video not in position]
        if missing:
            raise SpectrumError(f"no candidates for video {missing[0]!r} ({len(missing)} such); "
                                "run python -m stages.retrieve")
        take = [position[video] for video in ids]
        return Candidates(tuple(ids), self.rows[take], self.scores[take], self.recipe_id)


def retrieve_candidates(manifest: Manifest, store: FeatureStore, index: CaptionIndex, top: int,
                        batch_size: int = 1024) -> Candidates:
    """The `top` candidates of every video that has frames in `store`, in the manifest's order."""
    ids = [video for video in manifest.ids() if video in store]
    guarded = [video if manifest.split_of[video] == "train" else "" for video in ids]
    rows, scores = index.search(video_queries(store, ids), barred_sentences(guarded, manifest.captions_of), top,
                                batch_size)
    return Candidates(tuple(ids), rows, scores, index.recipe_id)


def video_queries(store: FeatureStore, ids: Sequence[str]) -> NDArray[np.float32]:
    """[V, D]: each video's frame vectors' mean, of length 1."""
    rows, offsets = store.load(ids)
    counts = np.diff(offsets)
    empty = [video for video, count in zip(ids, counts, strict=True) if not count]
    if empty:
        raise SpectrumError(f"video {empty[0]!r} has no frames in {store.folder} ({len(empty)} such)")
    return unit_vectors(np.add.reduceat(rows.astype(np.float32), offsets[:-1], axis=0) / counts[:, None], "videos")
