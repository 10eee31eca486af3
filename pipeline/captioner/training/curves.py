"""The curves of a training as CSV: a row an epoch."""

import csv
from collections.abc import Sequence
from pathlib import Path

from pipeline.captioner.checkpoint import CURVES
from pipeline.captioner.trained import TrainedCaptioner
from pipeline.common.files import atomic_write


def write_curves(folder: Path, kept: TrainedCaptioner, runs: Sequence[TrainedCaptioner]) -> None:
    """curves.csv of the kept seed; of several, curves-seed-<n>.csv of each."""
    for earlier in folder.glob("curves-seed-*.csv"):
        earlier.unlink()
    files = {CURVES: kept}
    if len(runs) > 1:
        files |= {f"curves-seed-{trained.seed}.csv": trained for trained in runs}
    for name, trained in files.items():
        with atomic_write(folder / name) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(trained.history[0]))
            writer.writeheader()
            writer.writerows(trained.history)
