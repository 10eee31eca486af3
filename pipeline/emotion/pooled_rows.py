"""A video's rows of a modality as one vector, their mean."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.emotion.prior import Vectors
from pipeline.store.feature_store import FeatureStore

_VIDEOS = 1024      # whose rows are read at once


def pool_store(store: FeatureStore, ids: Sequence[str]) -> Vectors:
    """The mean rows [V, D] of `ids`, and which of them have rows; a video without any gets zeros."""
    known = [position for position, video in enumerate(ids) if video in store]
    vectors, present = np.zeros((len(ids), store.dim), np.float32), np.zeros(len(ids), bool)
    for first in range(0, len(known), _VIDEOS):
        block = known[first:first + _VIDEOS]
        rows, offsets = store.load([ids[position] for position in block])
        counts = np.diff(offsets)
        has = np.array(block, np.int64)[counts > 0]
        if len(has):
            sums = np.add.reduceat(rows.astype(np.float32), offsets[:-1][counts > 0], axis=0)
            vectors[has], present[has] = sums / counts[counts > 0][:, None], True
    return vectors, present


def pool_clip(rows: NDArray[np.floating]) -> Vectors:
    """The same of one video's rows [T, D], which may be none."""
    vector = rows.astype(np.float32).sum(0, keepdims=True) / max(len(rows), 1)
    return vector, np.array([len(rows) > 0])
