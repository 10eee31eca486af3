"""Trainings that differ in their seed alone: which is kept, and what all of them say together."""

import statistics
from collections.abc import Sequence

from pipeline.captioner.trained import TrainedCaptioner
from pipeline.captioner.training.validation import selection_score

Spread = dict[str, float | None]


def best_of(runs: Sequence[TrainedCaptioner], select_by: str) -> TrainedCaptioner:
    """The training whose kept epoch has the best validation score; of equal ones the first."""
    return max(runs, key=lambda trained: selection_score(trained.best, select_by))


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation, which a single value does not have."""
    return {"mean": statistics.fmean(values), "deviation": statistics.stdev(values) if len(values) > 1 else None}


def format_spread(values: Spread, scale: float = 100.0) -> str:
    """`47.8 ± 1.2`, or `47.8` of a single seed."""
    mean, deviation = values["mean"], values["deviation"]
    assert mean is not None
    return f"{scale * mean:.1f}" + ("" if deviation is None else f" ± {scale * deviation:.1f}")
