"""Extraction by several processes, through dask.distributed: a task is a shard.

A task makes its shard's file and returns a report, no arrays; making it twice gives the same bytes, so a worker that
dies costs a repetition of its shard alone, and of that only what no part holds (shards.py). The store's folder, the
videos and the encoder's folder must be at the same paths for all workers.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import dask
from distributed import Client, KilledWorker, LocalCluster, get_worker, wait
from distributed.comm.core import CommClosedError

from pipeline import params
from pipeline.common.code import PACKAGES, code_digest
from pipeline.common.device import cpu_cores
from pipeline.common.errors import SpectrumError
from pipeline.common.files import fingerprint
from pipeline.encoders.base import Encoder
from pipeline.extraction.batching import no_rows
from pipeline.extraction.recipe import recipe
from pipeline.extraction.shard_maker import (
    STEPS,
    Build,
    OnProgress,
    ShardProgress,
    ShardReport,
    Task,
    make_shards,
)
from pipeline.extraction.shards import Shards

_POLL_SECONDS = 0.5         # between looks at the workers' progress
_ANSWER_SECONDS = 10        # for a scheduler to answer
_START_SECONDS = 60         # for it to have a worker
_LOST = (CancelledError, CommClosedError, OSError)
_PACKAGES = ("torch", "open_clip_torch", "transformers", "numpy", "h5py")      # whose versions may change a bit
_ENGINE = "pipeline.extraction.run"


@dataclass(frozen=True)
class Job:
    """What every worker needs."""

    build: Build
    folder: Path
    extraction: params.Extraction
    machine: params.Machine


@dataclass(frozen=True)
class _Software:
    """What has to be the same in all processes: recipe, device type, the project's code that makes rows, versions."""

    recipe_id: str
    device: str
    code: str
    versions: Mapping[str, str]

    @classmethod
    def of(cls, encoder: Encoder, extraction: params.Extraction) -> "_Software":
        module = type(encoder).__module__
        modules = [_ENGINE] + [module] * (module.partition(".")[0] in PACKAGES)
        device = getattr(encoder, "device", "cpu").partition(":")[0]        # without: no model, all on the processor
        return cls(fingerprint(recipe(encoder, extraction)), device, code_digest(*modules),
                   {package: version(package) for package in _PACKAGES})

    def differences(self, other: "_Software") -> list[str]:
        """How `self`, a worker's, differs from `other`."""
        differences = []
        if self.device != other.device:
            differences.append(f"it computes on {self.device}, not on {other.device}")
        if self.recipe_id != other.recipe_id:
            differences.append(f"its features would be of recipe {self.recipe_id}, not {other.recipe_id}")
        if self.code != other.code:
            differences.append("its copy of this project has other code")
        return differences + [f"{package} {own}, not {other.versions[package]}"
                              for package, own in self.versions.items() if own != other.versions[package]]


def make_by_workers(tasks: Sequence[Task], job: Job, encoder: Encoder, cluster: params.Cluster,
                    on_progress: OnProgress) -> tuple[list[ShardReport], dict[str, float]]:
    """As make_shards, by the workers of `cluster`; the seconds are summed over them.

    Raises SpectrumError where a worker's encoder is of another recipe or its code another, where more than
    `cluster.retries` workers died over one shard, and where the scheduler is lost: what is finished is kept for the
    next run.
    """
    job = replace(job, folder=job.folder.absolute())     # a link to a store stays one: its rows lie beside it
    tasks = [Task(task.number, tuple((video_id, path.absolute()) for video_id, path in task.videos)) for task in tasks]
    expected = _Software.of(encoder, job.extraction)
    topic = f"extraction-{uuid4().hex}"
    latest: dict[int, ShardProgress] = {}
    count = cluster.workers or _gpus() or cpu_cores()
    if cluster.scheduler == "local" and not job.machine.decoder_processes:      # they share this machine's cores
        processes = max(1, cpu_cores() // count)
        job = replace(job, machine=job.machine.model_copy(update={"decoder_processes": processes}))

    def receive(event: tuple[Any, tuple[int, int, int, int]]) -> None:
        progress = ShardProgress(*event[1])
        latest[progress.number] = progress

    def report_progress() -> None:
        for progress in list(latest.values()):
            on_progress(progress)

    with _client(cluster, count) as client:
        client.subscribe_topic(topic, receive)
        futures = [client.submit(_make, task, job, expected, topic, pure=False, key=f"{topic}-{task.number}")
                   for task in tasks]
        return _results(client, futures, cluster, report_progress)


@contextmanager
def _client(cluster: params.Cluster, count: int) -> Iterator[Any]:
    """A client of the cluster's scheduler; `local` starts one with `count` workers, and ends it."""
    _silence_dask()
    if cluster.scheduler != "local":
        with _connected(cluster.scheduler) as client:
            yield client
        return
    threads = max(1, cpu_cores() // count)
    # Before a worker starts: torch, which its main module may import, takes no other number later.
    before = {f"distributed.nanny.pre-spawn-environ.{name}": threads for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    with (dask.config.set({"distributed.scheduler.allowed-failures": cluster.retries, **before}),
          _GpuCluster(count) as local, _connected(local.scheduler_address) as client):
        yield client


def _silence_dask() -> None:
    """What dask logs is no sentence, but tracebacks. They may come late, so the loggers stay silent to the end."""
    for name in ("distributed", "tornado", "asyncio", *logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "tornado", "asyncio"):
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [logging.NullHandler()], False


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    try:
        client = Client(address, timeout=_ANSWER_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise SpectrumError(f"cluster.scheduler={address}: no dask scheduler answers there ({error}); start one "
                            "(`dask scheduler`), or set cluster.scheduler=local or none") from None
    try:
        _wait_for_a_worker(client, address)
        yield client
    finally:
        with suppress(*_LOST, TimeoutError):
            client.close(timeout=5)  # type: ignore[no-untyped-call]


def _wait_for_a_worker(client: Any, address: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    probe = client.submit(bool, pure=False)     # of a scheduler that is lost dask cancels tasks at once
    while not probe.done():
        time.sleep(_POLL_SECONDS / 5)
        if time.monotonic() > deadline:
            raise SpectrumError(f"cluster.scheduler={address}: it has no workers after {_START_SECONDS} s; start some "
                                f"(`dask worker {address} --nthreads 1`)")


def _lost(scheduler: str) -> SpectrumError:
    return SpectrumError(f"cluster.scheduler={scheduler}: the scheduler was lost; start it and its workers and run "
                         "again: what is finished is kept")


class _GpuCluster(LocalCluster):
    """Workers on this machine, each with a GPU of its own where there are some."""

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


# Of this worker process: weights are loaded once and not once a task, and so is what lies beside the store.
_encoders: dict[str, Encoder] = {}      # by recipe
_shards: dict[str, Shards] = {}         # by run


def _make(task: Task, job: Job, expected: _Software, topic: str) -> tuple[ShardReport, dict[str, float]]:
    """A task, in the worker."""
    worker = get_worker()
    if expected.recipe_id not in _encoders:
        encoder = job.build()
        if differences := _Software.of(encoder, job.extraction).differences(expected):
            raise SpectrumError(f"worker {worker.address} does not go with this run: {'; '.join(differences)}; install "
                                "there what is installed here (this project's code, constraints.txt), with the same "
                                "weights, parameters and kind of device")
        _encoders.clear()
        _encoders[expected.recipe_id] = encoder
    encoder = _encoders[expected.recipe_id]
    if topic not in _shards:
        _shards.clear()
        _shards[topic] = Shards(job.folder, expected.recipe_id, no_rows(encoder))
    reports, seconds = make_shards([task], encoder, _shards[topic], job.extraction, job.machine,
                                   lambda progress: worker.log_event(topic, astuple(progress)))
    return reports[0], seconds


def _results(client: Any, futures: list[Any], cluster: params.Cluster,
             report_progress: Callable[[], None]) -> tuple[list[ShardReport], dict[str, float]]:
    """The reports, in the order of the tasks; meanwhile `report_progress` is called now and then."""
    left, failed = set(futures), None
    try:
        while left and failed is None:
            with suppress(TimeoutError), client.as_current():
                done = wait(left, timeout=_POLL_SECONDS, return_when="FIRST_COMPLETED")  # type: ignore[no-untyped-call]
                left = set(done.not_done)
            report_progress()
            for future in futures:
                if future.status == "error":
                    failed = future.exception()
                if future.status == "cancelled":
                    raise CancelledError
        made: list[tuple[ShardReport, dict[str, float]]] = [] if failed else client.gather(futures)
    except _LOST:
        raise _lost(cluster.scheduler) from None
    if isinstance(failed, KilledWorker):
        number = str(failed.task).rpartition("-")[2]
        raise SpectrumError(f"more workers died than cluster.retries={cluster.retries} allows while they made shard "
                            f"{number}, the last of them {failed.last_worker.address}; its log has more (memory?); "
                            "run again to go on, what is finished is kept")
    if failed is not None:
        raise failed
    seconds = {step: sum(one[step] for _, one in made) for step in STEPS}
    return [report for report, _ in made], seconds
