"""Workers on this machine, each with its share of the cores, and with a GPU of its own where there are some."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
from distributed import LocalCluster

from pipeline.common.device import cpu_cores
from pipeline.params import Cluster


@contextmanager
def local_scheduler(cluster: Cluster) -> Iterator[str]:
    """The address of a scheduler with workers, which end with it."""
    threads = share_of_cores(cluster)
    # Before a worker starts: torch, which its main module may import, takes no other number later.
    before = {f"distributed.nanny.pre-spawn-environ.{name}": threads for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    with dask.config.set(before), _GpuCluster(_count(cluster)) as local:
        yield local.scheduler_address


def share_of_cores(cluster: Cluster) -> int:
    """Cores for each of the local workers."""
    return max(1, cpu_cores() // _count(cluster))


def _count(cluster: Cluster) -> int:
    return cluster.workers or _gpus() or cpu_cores()


class _GpuCluster(LocalCluster):
    def __init__(self, count: int) -> None:
        self._gpus = _gpus()
        super().__init__(  # type: ignore[no-untyped-call]
            n_workers=0, threads_per_worker=1, memory_limit=0, dashboard_address=None, silence_logs=logging.CRITICAL)
        self.scale(count)  # type: ignore[no-untyped-call]

    def new_worker_spec(self) -> dict[Any, dict[str, Any]]:
        specs = {}
        for number, spec in super().new_worker_spec().items():  # type: ignore[no-untyped-call]
            env = {"CUDA_VISIBLE_DEVICES": _gpu_name(int(number) % self._gpus)} if self._gpus else {}
            specs[number] = {**spec, "options": {**spec["options"], "env": env}}
        return specs


def _gpus() -> int:
    import torch

    return int(torch.cuda.device_count())


def _gpu_name(position: int) -> str:
    """The name of a GPU by its position among those that this process may see."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return allowed.split(",")[position].strip() if allowed else str(position)
