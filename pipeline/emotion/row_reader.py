"""What one vector of a video says about its emotions: ridge regression, fitted on the training videos.

The vector may be the mean of its frames' rows, of its sound's or motion's, or the shares of its candidates that carry
each category. A training video's own evidence is what the reader would say had it never seen that video (leave one
out, in closed form): so the evidence of training and test videos has one distribution, and what is fitted on it, or
trained on it, is not misled.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

# Ridge penalties, in units of the number of videos; the one of least leave-one-out error is taken.
_PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0)
_LEAST_VARIANCE = 1e-3      # of a category: a rarer one gets no greater evidence than one of about 0.1 %


@dataclass(frozen=True)
class RowReader:
    """centre, scale [D]: of the training videos' vectors; coefficients [D, C]."""

    centre: Doubles
    scale: Doubles
    coefficients: Doubles

    def read(self, vectors: NDArray[np.floating]) -> Doubles:
        """Evidence [V, C] of vectors [V, D]: deviations from the base rate, in standard deviations of the category."""
        evidence: Doubles = ((vectors - self.centre) / self.scale) @ self.coefficients
        return evidence


def fit_reader(vectors: NDArray[np.floating], targets: NDArray[np.bool_]) -> tuple[RowReader, Doubles]:
    """The reader of training videos' vectors [n, D] with their emotions [n, C], and its evidence [n, C] about each of
    them, as if it had not been among the others."""
    count, rates = len(vectors), targets.mean(0)
    wanted = (targets - rates) / np.sqrt(np.maximum(rates * (1 - rates), _LEAST_VARIANCE))          # [n, C]
    centre, scale = vectors.mean(0, dtype=np.float64), vectors.std(0, dtype=np.float64)
    # A constant column says nothing.
    scale = np.where(scale > 1e-6 * max(scale.max(initial=0), 1e-12), scale, np.inf)
    rows = (vectors - centre) / scale
    # The smaller of the two Gram matrices has all that is needed.
    if rows.shape[1] <= count:
        values, directions = np.linalg.eigh(rows.T @ rows)
        turned = rows @ directions                                                      # [n, D]
    else:
        values, left = np.linalg.eigh(rows @ rows.T)
        turned = left * np.sqrt(np.maximum(values, 0))
        directions = rows.T @ (left / np.sqrt(np.maximum(values, 1e-12 * max(values[-1], 1e-12))))
    projected = turned.T @ wanted

    def leave_one_out(penalty: float) -> Doubles:
        shrunk = turned / (np.maximum(values, 0) + penalty * count)
        own = (shrunk * turned).sum(1)[:, None] + 1 / count             # the weight of a video in its own estimate
        # The others' mean is the base here: it lacks the video, too, and would give it away.
        others = -wanted / (count - 1)
        evidence: Doubles = (shrunk @ projected - own * wanted) / (1 - own) - others
        return evidence

    errors = [float(((leave_one_out(penalty) - wanted) ** 2).sum()) for penalty in _PENALTIES]
    penalty = _PENALTIES[int(np.argmin(errors))]
    coefficients = directions @ (projected / (np.maximum(values, 0) + penalty * count)[:, None])
    return RowReader(centre, scale, coefficients), leave_one_out(penalty)
