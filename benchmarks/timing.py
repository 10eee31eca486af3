"""What every benchmark here has in common: runs timed in turn, and the machine they ran on."""

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from pipeline.common.device import cpu_cores


def in_turn(rounds: int, *runs: Callable[[], object],
            clock: Callable[[], float] = time.perf_counter) -> list[list[float]]:
    """Seconds of each round of each, timed alternately so that a drift of the machine meets all; one round warms up.

    clock: `time.process_time` counts the processor's seconds of all threads: others on the machine count little.
    """
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds + 1):
        for run, found in zip(runs, seconds, strict=True):
            started = clock()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            found.append(clock() - started)
    return [found[1:] for found in seconds]


def medians(seconds: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.median(found) for found in seconds]


def machine() -> dict[str, Any]:
    return {"processor": platform.processor() or platform.machine(), "cores": cpu_cores(),
            "threads": torch.get_num_threads(), "torch": torch.__version__,
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None}
