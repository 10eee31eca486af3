"""Calibration: how sure an estimator of emotions may be, learned from the training videos.

An estimator's temperature T divides its evidence −log(1 − p), so p becomes 1 − (1 − p)^(1/T): T > 1 makes it less
sure, T < 1 surer, and a caption's emotions stay in order. Evidence of words adds up to that of a category
(noisy-or), so words and categories are calibrated by one number.

T is chosen so that the priors of the training videos, which come from the captions of other videos, predict the
emotions of their own captions best (least log-loss).
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipeline.emotion.prior import compute_prior
from pipeline.emotion.probabilities import Floats

CERTAIN = 1 - 1e-6      # where evidence ends
_FLOOR = 1e-3           # a prior beyond it costs no more: one caption of certain words would decide all


def apply_temperature(probabilities: Floats, temperature: float) -> Floats:
    """p → 1 − (1 − p)^(1/T), elementwise."""
    return np.asarray(-np.expm1(np.log1p(-np.minimum(probabilities, CERTAIN)) / temperature), np.float32)


def compute_log_loss(priors: Floats, targets: NDArray[np.bool_]) -> float | None:
    """Mean over videos and categories [V, C] of −log p(what is so); None without videos."""
    if not len(priors):
        return None
    p = np.clip(priors.astype(np.float64), _FLOOR, 1 - _FLOOR)
    return float(-np.log(np.where(targets, p, 1 - p)).mean())


def fit_temperature(categories: Floats, positions: NDArray[np.int64], scores: Floats, targets: NDArray[np.bool_],
                    retrieval_temperature: float) -> float:
    """The temperature, about 1/64 … 256, of least log-loss; 1 where there is nothing to learn from.

    categories [n, C] of captions; positions [V, K] and scores [V, K]: each video's candidates among them and their
    similarities; targets [V, C]: the videos' reference emotions.
    """
    if not len(positions) or not targets.any():
        return 1.0

    def loss(exponent: float) -> float:
        priors = compute_prior(apply_temperature(categories, 2.0 ** exponent)[positions], scores, retrieval_temperature)
        return compute_log_loss(priors, targets) or 0.0

    def least(exponents: Iterable[float]) -> float:
        return min(sorted(exponents, key=abs), key=loss)        # of equal ones that nearest to T = 1

    best = least(map(float, range(-6, 9)))
    for step in (1 / 4, 1 / 16):
        best = least(best + step * i for i in range(-4, 5))
    return float(round(2.0 ** best, 4))
