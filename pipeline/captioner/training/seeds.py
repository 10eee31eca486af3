"""Trainings that differ in their seed alone: which is kept, and what all of them say together."""

import statistics
from collections.abc import Sequence

from pipeline.captioner.training.trainer import Trained, kept_score

Spread = dict[str, float | None]


def best_of(runs: Sequence[Trained], keep: str) -> Trained:
    """The training whose kept epoch has the best validation score; of equal ones the first."""
    return max(runs, key=lambda trained: kept_score(trained.best, keep))


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation, which a single value does not have."""
    return {"mean": statistics.fmean(values), "deviation": statistics.stdev(values) if len(values) > 1 else None}


def told(found: Spread, scale: float = 100.0) -> str:
    """`47.8 ± 1.2`, or `47.8` of a single seed."""
    mean, deviation = found["mean"], found["deviation"]
    assert mean is not None
    return f"{scale * mean:.1f}" + ("" if deviation is None else f" ± {scale * deviation:.1f}")
