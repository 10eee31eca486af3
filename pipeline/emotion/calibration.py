"""Calibration: how much to believe each source of evidence, learned from the training videos.

logit p(category) = intercept of the category + Σ over sources of slope × evidence.

A slope is shared by all categories, so that rare ones are judged by the experience with frequent ones; an intercept
stays near the base rate of its category. Both are of greatest likelihood on the training videos. A slope below 0, a
source that is right by being wrong, is chance: that source is left out.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.emotion.probabilities import Floats
from pipeline.emotion.row_reader import Doubles

RAREST = 1e-4           # share that a category has at least
_FLOOR = 1e-3           # a prior beyond it costs no more: one sure mistake would decide all
_INTERCEPT_PENALTY = 1.0
# For a source that moves its category by more than about one logit, away from being believed (the first source, the
# candidates) or not; by far too little to matter where there are videos enough to learn from.
_SLOPE_PENALTY = 1.0
_LEAST_SPREAD = 0.01    # so that a source without evidence stays where it is
_MAX_LOGIT = 15.0
_MAX_STEPS = 50


@dataclass(frozen=True)
class Calibration:
    """slopes [S] of the sources, none below 0; intercepts [C] of the categories."""

    slopes: Doubles
    intercepts: Doubles

    def apply(self, evidence: NDArray[np.floating]) -> Floats:
        """Probabilities [V, C] from evidence [V, S, C]."""
        return np.asarray(_sigmoid(np.einsum("s,vsc->vc", self.slopes, evidence) + self.intercepts), np.float32)


def compute_log_loss(priors: Floats, targets: NDArray[np.bool_]) -> float | None:
    """Mean over videos and categories [V, C] of −log p(what is so); None without videos."""
    if not len(priors):
        return None
    p = np.clip(priors.astype(np.float64), _FLOOR, 1 - _FLOOR)
    return float(-np.log(np.where(targets, p, 1 - p)).mean())


def fit_calibration(evidence: NDArray[np.floating], targets: NDArray[np.bool_], rates: Doubles) -> Calibration:
    """The calibration of training videos' evidence [n, S, C], that of the candidates first, and emotions [n, C].

    rates [C]: how often a category is to be expected before any video was seen; they count as one video more.
    """
    base = (targets.sum(0) + np.clip(rates, RAREST, 1 - RAREST)) / (len(targets) + 1)
    start = np.log(base) - np.log1p(-base)
    used = list(range(evidence.shape[1]))
    while True:
        believed = np.array([float(source == 0) for source in used])
        slopes, intercepts = _maximise_likelihood(evidence[:, used].astype(np.float64), targets, believed, start)
        kept = [source for source, slope in zip(used, slopes, strict=True) if slope >= 0]
        if kept == used:
            break
        used = kept
    every = np.zeros(evidence.shape[1])
    every[used] = slopes
    return Calibration(every, intercepts)


def _maximise_likelihood(evidence: Doubles, targets: NDArray[np.bool_], believed: Doubles,
                         start: Doubles) -> tuple[Doubles, Doubles]:
    """Slopes and intercepts, drawn to `believed` and `start`. Newton's method: the likelihood has one maximum."""
    sources, categories = evidence.shape[1:]
    origin = np.concatenate([believed, np.zeros(categories)])
    spread = (evidence**2).mean(0).max(1) if len(evidence) else np.zeros(sources)      # [S]
    penalties = np.concatenate([_SLOPE_PENALTY * (_LEAST_SPREAD + spread), np.full(categories, _INTERCEPT_PENALTY)])

    def loss(at: Doubles) -> float:
        logits = np.einsum("s,vsc->vc", at[:sources], evidence) + start + at[sources:]
        penalty = (penalties * (at - origin) ** 2).sum() / 2
        return float(np.logaddexp(0, np.where(targets, -logits, logits)).sum() + penalty)

    at = origin.copy()
    current = loss(at)
    for _ in range(_MAX_STEPS):
        p = _sigmoid(np.einsum("s,vsc->vc", at[:sources], evidence) + start + at[sources:])
        error, weight = p - targets, p * (1 - p)
        gradient = np.concatenate([np.einsum("vsc,vc->s", evidence, error), error.sum(0)]) + penalties * (at - origin)
        weighted = evidence * weight[:, None]
        hessian = np.diag(np.concatenate([np.zeros(sources), weight.sum(0)]) + penalties)
        hessian[:sources, :sources] += np.einsum("vsc,vtc->st", weighted, evidence)
        hessian[:sources, sources:] = weighted.sum(0)
        hessian[sources:, :sources] = hessian[:sources, sources:].T
        step = np.linalg.solve(hessian, gradient)
        while (following := loss(at - step)) > current and np.abs(step).max() > 1e-9:
            step /= 2
        at, gain, current = at - step, current - following, following
        if gain < 1e-9 * max(1.0, abs(current)):
            break
    return at[:sources], start + at[sources:]


def _sigmoid(logits: Doubles) -> Doubles:
    p: Doubles = 1 / (1 + np.exp(-np.clip(logits, -_MAX_LOGIT, _MAX_LOGIT)))
    return p
