"""What a captioner was trained on, and how far a clip lies from that: `training_domain.h5` beside a checkpoint.

The distance is Mahalanobis' of a clip's frame vectors, at length 1, from those of the training videos: the mean over
the frames (Lee et al., NeurIPS 2018). Of a hundred validation videos one lies farther than the `limit`. Of a clip
beyond it the captioner says something all the same, and none of its probabilities tells that it knows no such pictures.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.common.commands import rerun
from pipeline.common.errors import SpectrumError
from pipeline.common.hdf5 import Layout, read_arrays, write_arrays
from pipeline.store.feature_store import FeatureStore

NAME = "training_domain.h5"
_PERCENTILE = 99.0      # of the validation videos' distances
_SHRINKAGE = 0.01       # of the covariance towards a sphere, so that few videos will do
_BATCH = 256            # videos that are read at once


@dataclass(frozen=True)
class TrainedOn:
    """The training videos and their captions, of the data set `dataset`."""

    dataset: str
    videos: int
    captions: int

    def __str__(self) -> str:
        return f"{self.videos:,} videos with {self.captions:,} captions of data set {self.dataset!r}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class TrainingDomain:
    """mean [D] and precision [D, D] of the training videos' frame vectors at length 1; limit: of usual distances."""

    trained_on: TrainedOn
    mean: NDArray[np.float32]
    precision: NDArray[np.float32]
    limit: float

    @classmethod
    def fit(cls, store: FeatureStore, training: Sequence[str], validation: Sequence[str],
            trained_on: TrainedOn) -> "TrainingDomain":
        """By the frames that `store` has of the training videos; the limit by those of the validation videos."""
        count, total, products = 0, np.zeros(store.dim), np.zeros((store.dim, store.dim))
        for rows, _ in _batches(store, training):
            count, total, products = count + len(rows), total + rows.sum(0), products + rows.T @ rows
        mean = total / count
        covariance = products / count - np.outer(mean, mean)
        sphere = max(float(np.trace(covariance)) / store.dim, 1e-9) * np.eye(store.dim)
        precision = np.linalg.inv((1 - _SHRINKAGE) * covariance + _SHRINKAGE * sphere)
        domain = cls(trained_on, mean.astype(np.float32), precision.astype(np.float32), 0.0)
        distances = [domain.distance(part) for rows, offsets in _batches(store, validation)
                     for part in np.split(rows, offsets[1:-1])]
        return cls(trained_on, domain.mean, domain.precision, float(np.percentile(distances, _PERCENTILE)))

    def distance(self, rows: NDArray[np.floating]) -> float:
        """Of a clip's frame vectors [T, D]."""
        away = (_unit(rows) - self.mean).astype(np.float64)
        squares = np.einsum("td,de,te->t", away, self.precision.astype(np.float64), away)
        return float(np.sqrt(np.maximum(squares, 0)).mean())

    def write(self, folder: Path) -> None:
        described = {**self.trained_on.as_json(), "limit": self.limit}
        write_arrays(folder / NAME, {"mean": self.mean, "precision": self.precision},
                     {name: str(value) for name, value in described.items()})

    @classmethod
    def read(cls, folder: Path) -> "TrainingDomain":
        """Raises SpectrumError where the checkpoint in `folder` has none, or it is damaged."""
        if not (folder / NAME).is_file():
            raise SpectrumError(f"{folder / NAME}: no such file; it says what this captioner was trained on; "
                                f"{rerun('train')}")
        arrays, described = read_arrays(
            folder / NAME, {"mean": Layout("float32", rank=1), "precision": Layout("float32", rank=2)},
            ["dataset", "videos", "captions", "limit"])
        try:
            trained_on = TrainedOn(described["dataset"], int(described["videos"]), int(described["captions"]))
            limit = float(described["limit"])
        except ValueError as error:
            raise SpectrumError(f"{folder / NAME}: {error}; {rerun('train')}") from None
        if arrays["precision"].shape != 2 * arrays["mean"].shape:
            raise SpectrumError(f"{folder / NAME}: its mean and precision do not fit together; {rerun('train')}")
        return cls(trained_on, arrays["mean"], arrays["precision"], limit)


def _batches(store: FeatureStore, ids: Sequence[str]) -> Any:
    """(rows [N, D] at length 1, offsets) of some videos at a time."""
    for first in range(0, len(ids), _BATCH):
        rows, offsets = store.load(ids[first:first + _BATCH])
        yield _unit(rows), offsets


def _unit(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    rows = rows.astype(np.float64)
    lengths: NDArray[np.float64] = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float64] = rows / np.maximum(lengths, 1e-12)
    return unit
