"""How well attributes are detected: mean average precision over attributes, as concept detectors are judged."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def compute_mean_average_precision(scores: ArrayLike, targets: ArrayLike) -> float | None:
    """The mean over attributes of the average precision of the videos that their scores rank.

    `scores` [V, N] rank the videos of each of N attributes, `targets` [V, N] are true where a video has the
    attribute. An attribute that no video has is left out; None where no video has any.
    Videos of one score share the precision that they reach together, so their order decides nothing.
    """
    ranked, truth = np.asarray(scores, np.float64), np.asarray(targets, bool)
    present = truth.any(0)
    if not present.any():
        return None
    return float(np.mean([_compute_average_precision(ranked[:, n], truth[:, n]) for n in np.flatnonzero(present)]))


def _compute_average_precision(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], np.cumsum(truth[order])
    last = np.flatnonzero(np.append(np.diff(ordered) != 0, True))       # of each run of equal scores
    gained = np.diff(hits[last], prepend=0)
    return float((gained * hits[last] / (last + 1)).sum() / hits[-1])
