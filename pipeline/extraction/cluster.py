"""Extraction by several processes, through dask.distributed: a task is a shard.

A task makes its shard's file and returns a receipt, no arrays; making it twice gives the same bytes, so a worker that
dies costs a repetition of its shard alone, and of that only what no part holds (shards.py). The store's folder, the
videos and the encoder's folder must be at the same paths for all workers.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import dask
from distributed import Client, KilledWorker, LocalCluster, get_worker, wait
from distributed.comm.core import CommClosedError

from pipeline import params
from pipeline.common.device import cpu_cores
from pipeline.common.errors import SpectrumError
from pipeline.common.files import fingerprint
from pipeline.encoders.base import Encoder
from pipeline.extraction import PARTS, Build, Receipt, Task, Told, make, recipe
from pipeline.store.folder import hashes

_TICK = 0.5             # seconds between looks at what the workers told
_PATIENCE = 60          # seconds for a scheduler to answer and to have a worker
_LOST = (CancelledError, CommClosedError, OSError)
_PACKAGES = ("torch", "open_clip_torch", "transformers", "numpy", "h5py")      # whose versions may change a bit


def make_by_workers(tasks: Sequence[Task], build: Build, encoder: Encoder, folder: Path, section: params.Extraction,
                    cluster: params.Cluster, told: Told) -> tuple[list[Receipt], dict[str, float]]:
    """As extraction.make, by the workers of `cluster`; the seconds are summed over them.

    Raises SpectrumError where a worker's encoder is of another recipe, where more than `cluster.retries` workers
    died over one shard, and where the scheduler is lost: what is finished is kept for the next run.
    """
    folder = folder.resolve()
    tasks = [Task(task.number, tuple((video_id, path.absolute()) for video_id, path in task.videos)) for task in tasks]
    wanted, sha256s = fingerprint(recipe(encoder, section)), hashes(folder)
    topic = f"extraction-{uuid4().hex}"
    heard: dict[int, tuple[int, int, int]] = {}
    count = cluster.workers or _gpus() or cpu_cores()
    if cluster.scheduler == "local" and not section.decoders:       # they share this machine's cores
        section = section.model_copy(update={"decoders": max(1, cpu_cores() // count)})
    with _client(cluster, count) as client:
        client.subscribe_topic(topic, lambda event: heard.update({event[1][0]: event[1][1:]}))
        futures = [client.submit(_make, task, build, (wanted, _versions()), folder, section, sha256s, topic,
                                 pure=False, key=f"{topic}-{task.number}") for task in tasks]

        def tell() -> None:
            for number, done in list(heard.items()):
                told(number, *done)

        return _collected(client, futures, cluster, tell)


@contextmanager
def _client(cluster: params.Cluster, count: int) -> Iterator[Any]:
    """A client of the cluster's scheduler; `local` starts one with `count` workers, and ends it."""
    if cluster.scheduler != "local":
        with _connected(cluster.scheduler) as client:
            yield client
        return
    threads = max(1, cpu_cores() // count)
    # Before a worker starts: torch, which its main module may import at once, takes no other number later.
    before = {f"distributed.nanny.pre-spawn-environ.{name}": threads for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    with (dask.config.set({"distributed.scheduler.allowed-failures": cluster.retries, **before}),
          _OneEach(count) as local, _connected(local.scheduler_address) as client):
        yield client


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise SpectrumError(f"cluster.scheduler={address}: no dask scheduler answers there ({error}); start one "
                            "(`dask scheduler`), or set cluster.scheduler=local or none") from None
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
        yield client
    except TimeoutError:
        raise SpectrumError(f"cluster.scheduler={address}: it has no workers after {_PATIENCE} s; start some "
                            f"(`dask worker {address} --nthreads 1`)") from None
    finally:
        with suppress(*_LOST, TimeoutError):
            client.close(timeout=5)  # type: ignore[no-untyped-call]


class _OneEach(LocalCluster):
    """Workers on this machine, each with a GPU of its own where there are some."""

    def __init__(self, count: int) -> None:
        self._gpus = _gpus()
        super().__init__(  # type: ignore[no-untyped-call]
            n_workers=0, threads_per_worker=1, memory_limit=0, dashboard_address=None, silence_logs=logging.CRITICAL)
        self.scale(count)  # type: ignore[no-untyped-call]

    def new_worker_spec(self) -> dict[Any, dict[str, Any]]:
        found = {}
        specs = super().new_worker_spec()  # type: ignore[no-untyped-call]
        for place, spec in specs.items():
            env = {"CUDA_VISIBLE_DEVICES": _visible(int(place) % self._gpus)} if self._gpus else {}
            found[place] = {**spec, "options": {**spec["options"], "env": env}}
        return found


def _gpus() -> int:
    import torch

    return int(torch.cuda.device_count())


def _visible(place: int) -> str:
    """The name of the GPU at `place` among those that this process may see."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    return allowed.split(",")[place].strip() if allowed else str(place)


def _versions() -> dict[str, str]:
    return {package: version(package) for package in _PACKAGES}


_held: dict[str, Encoder] = {}      # of this worker process, by recipe: weights are loaded once, not once a task


def _make(task: Task, build: Build, asked: tuple[str, dict[str, str]], folder: Path, section: params.Extraction,
          sha256s: Mapping[str, str], topic: str) -> tuple[Receipt, dict[str, float]]:
    """A task, in the worker."""
    worker, (wanted, versions) = get_worker(), asked
    if wanted not in _held:
        encoder = build()
        found = fingerprint(recipe(encoder, section))
        others = [f"{name} {here}, not {versions[name]}" for name, here in _versions().items()
                  if here != versions[name]]
        if found != wanted or others:
            what = "; ".join([f"its features would be of recipe {found}, not {wanted}"] * (found != wanted) + others)
            raise SpectrumError(f"worker {worker.address} does not go with this run: {what}; install there what is "
                                "installed here (constraints.txt), with the same weights and parameters")
        _held.clear()
        _held[wanted] = encoder
    receipts, seconds = make([task], _held[wanted], folder, section, sha256s,
                             lambda *done: worker.log_event(topic, done))
    return receipts[0], seconds


def _collected(client: Any, futures: list[Any], cluster: params.Cluster,
               tell: Callable[[], None]) -> tuple[list[Receipt], dict[str, float]]:
    """The receipts, in the order of the tasks; meanwhile `tell` is called now and then."""
    left, failed = set(futures), None
    try:
        while left and failed is None:
            with suppress(TimeoutError), client.as_current():
                found = wait(left, timeout=_TICK, return_when="FIRST_COMPLETED")  # type: ignore[no-untyped-call]
                left = set(found.not_done)
            tell()
            for future in futures:
                if future.status == "error":
                    failed = future.exception()
                if future.status == "cancelled":
                    raise CancelledError
        made: list[tuple[Receipt, dict[str, float]]] = [] if failed else client.gather(futures)
    except _LOST:
        raise SpectrumError(f"cluster.scheduler={cluster.scheduler}: the scheduler was lost; start it and its workers "
                            "and run again: what is finished is kept") from None
    if isinstance(failed, KilledWorker):
        number = str(failed.task).rpartition("-")[2]
        raise SpectrumError(f"more workers died than cluster.retries={cluster.retries} allows while they made shard "
                            f"{number}, the last of them {failed.last_worker.address}; its log says more (memory?); "
                            "run again to go on, what is finished is kept")
    if failed is not None:
        raise failed
    seconds = {part: sum(one[part] for _, one in made) for part in PARTS}
    return [receipt for receipt, _ in made], seconds
