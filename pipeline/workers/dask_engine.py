"""Parts of work by several processes, through dask.distributed.

A part's result travels over the network: parts with much to tell write it to a file themselves (saved_parts.py).
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any
from uuid import uuid4

from distributed import Client, KilledWorker, get_worker, wait
from distributed.comm.core import CommClosedError

from pipeline.common.errors import SpectrumError
from pipeline.common.progress import ignore
from pipeline.params import Cluster
from pipeline.workers.engine import Facts, Listen, Part, Result, Task, Worker
from pipeline.workers.local_cluster import local_scheduler, share_of_cores
from pipeline.workers.software import Software, different_facts

_POLL_SECONDS = 0.5         # between looks at what the workers report
_ANSWER_SECONDS = 10        # for a scheduler to answer
_START_SECONDS = 60         # for it to have a worker
_LOST = (CancelledError, CommClosedError, OSError)


@contextmanager
def open_dask_engine(cluster: Cluster) -> Iterator["DaskEngine"]:
    """The workers of the cluster's scheduler; those of `local` are started, and ended afterwards."""
    _silence_dask()
    if cluster.scheduler == "local":
        with local_scheduler(cluster) as address, _connected(address) as client:
            yield DaskEngine(client, cluster, share_of_cores(cluster))
    else:
        with _connected(cluster.scheduler) as client:
            yield DaskEngine(client, cluster, 0)


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


class DaskEngine:
    side_by_side = True

    def __init__(self, client: Any, cluster: Cluster, cores: int) -> None:
        self.cores = cores
        self._client, self._cluster, self._run = client, cluster, uuid4().hex

        def allow_failures(number: int, dask_scheduler: Any) -> None:       # a scheduler need not have this project
            dask_scheduler.allowed_failures = number

        with _named_loss(cluster):
            client.run_on_scheduler(allow_failures, cluster.retries)

    def begin(self, make: Callable[[], Worker[Part, Result]]) -> Task[Part, Result]:
        order = _Order(self._run, uuid4().hex, make, str(Path.cwd()), Software.of(make))
        futures = _Futures(self._client, self._cluster, order)
        (order.facts,) = futures.run(_facts, {"the first": None}, ignore)
        return _DaskTask(futures, order.facts)


@contextmanager
def _named_loss(cluster: Cluster) -> Iterator[None]:
    try:
        yield
    except _LOST:
        raise SpectrumError(f"cluster.scheduler={cluster.scheduler}: the scheduler was lost; start it and its workers "
                            "and run again: what is finished is kept") from None


@dataclass
class _Order:
    """What a worker process needs to make the task's worker. `facts` are known once one has made it."""

    run: str
    task: str
    make: Callable[[], Worker[Any, Any]]
    folder: str                 # that paths are read from
    software: Software          # of the process that asks
    facts: Facts | None = None


class _DaskTask:
    def __init__(self, futures: "_Futures", facts: Facts) -> None:
        self.facts = facts
        self._futures = futures

    def run(self, parts: Mapping[str, Any], listen: Listen = ignore) -> Iterator[Any]:
        return self._futures.run(_do, parts, listen)


class _Futures:
    """Parts handed to the scheduler, and their results."""

    def __init__(self, client: Any, cluster: Cluster, order: _Order) -> None:
        self._client, self._cluster, self._order = client, cluster, order

    def run(self, function: Callable[..., Any], parts: Mapping[str, Any], listen: Listen) -> Iterator[Any]:
        reports: deque[tuple[str, Any]] = deque()       # filled by dask's thread
        with _named_loss(self._cluster):
            topic = f"{self._order.task}-{uuid4().hex}"
            self._client.subscribe_topic(topic, lambda event: reports.append(event[1]))
            futures = {name: self._client.submit(function, name, part, self._order, topic, pure=False,
                                                 key=f"{topic}-{name}") for name, part in parts.items()}
        try:
            for name in parts:
                self._wait_for(name, futures, reports, listen)
                with _named_loss(self._cluster):
                    result = futures.pop(name).result()
                yield result
            _deliver(reports, listen)
        finally:
            with suppress(*_LOST):
                self._client.unsubscribe_topic(topic)
                if futures:
                    self._client.cancel(list(futures.values()))

    def _wait_for(self, name: str, futures: Mapping[str, Any], reports: deque[tuple[str, Any]], listen: Listen) -> None:
        """Until the part is done; a part that failed meanwhile ends it."""
        while not futures[name].done():
            with _named_loss(self._cluster), suppress(TimeoutError), self._client.as_current():
                wait(futures[name], timeout=_POLL_SECONDS)  # type: ignore[no-untyped-call]
            _deliver(reports, listen)
            for future in futures.values():
                self._check(future)
        self._check(futures[name])

    def _check(self, future: Any) -> None:
        if future.status == "cancelled":
            with _named_loss(self._cluster):
                raise CancelledError
        if future.status != "error":
            return
        with _named_loss(self._cluster):
            error = future.exception()
        if isinstance(error, KilledWorker):
            raise SpectrumError(f"more workers died than cluster.retries={self._cluster.retries} allows while they "
                                f"made {str(error.task).split('-', 2)[2]}, the last of them "
                                f"{error.last_worker.address}; its log has more (memory?); run again to go on, what is "
                                "finished is kept")
        raise error


def _deliver(reports: deque[tuple[str, Any]], listen: Listen) -> None:
    while reports:
        listen(*reports.popleft())


# Of this worker process, by task of the last run that asked: models are loaded once and not once a part.
_made: dict[tuple[str, str], Worker[Any, Any]] = {}
_making = Lock()


def _facts(_name: str, _part: None, order: _Order, _topic: str) -> Facts:
    with _in_folder(order):
        return _worker(order).facts


def _do(name: str, part: Any, order: _Order, topic: str) -> Any:
    with _in_folder(order):
        return _worker(order).do(part, lambda report: get_worker().log_event(topic, (name, report)))


@contextmanager
def _in_folder(order: _Order) -> Iterator[None]:
    """In the folder of the process that asks, from which relative paths are read."""
    try:
        folder = chdir(order.folder)
        folder.__enter__()
    except OSError as error:
        raise SpectrumError(f"worker {get_worker().address} does not go with this run: it cannot enter {order.folder} "
                            f"({error.strerror}); all workers need the project at the same path") from None
    try:
        yield
    finally:
        folder.__exit__(None, None, None)


def _worker(order: _Order) -> Worker[Any, Any]:
    with _making:
        if (order.run, order.task) not in _made:
            for run, task in list(_made):
                if run != order.run:
                    del _made[run, task]
            differences = Software.of(order.make).differences(order.software)
            worker = order.make() if not differences else None
            if worker is not None and order.facts is not None:
                differences = different_facts(worker.facts, order.facts)
            if differences or worker is None:
                raise SpectrumError(
                    f"worker {get_worker().address} does not go with this run: {'; '.join(differences)}; install there "
                    "what is installed here (this project's code, constraints.txt), with the same weights, parameters "
                    "and kind of device")
            _made[order.run, order.task] = worker
        return _made[order.run, order.task]
