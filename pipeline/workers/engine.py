"""What does the parts of a stage's work: this process, or the workers of the dask cluster that `cluster` names.

    with open_engine(params.cluster) as engine:
        task = engine.begin(TextEncoding(section, folder, "auto"))      # makes a worker: loads a model, opens files
        for vectors in task.run({"0-2048": texts, "2048-4096": more}):  # in this order
            ...

A part is a pure function of its value, and of files and parameters that a worker reaches by the path that the stage
uses: all processes see the same file system. Doing it twice gives the same bytes, so a worker that dies costs a
repetition of its part alone. Only workers load models: the stage's own process needs none, and no GPU.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

from pipeline.common.progress import ignore
from pipeline.params import Cluster

Part = TypeVar("Part")
Result = TypeVar("Result")
Value = TypeVar("Value", contravariant=True)
Outcome = TypeVar("Outcome", covariant=True)

Facts = Mapping[str, Any]
Report = Callable[[Any], None]              # what a part that is being done tells
Listen = Callable[[str, Any], None]         # the same, with the part's name


class Worker(Protocol[Value, Outcome]):
    """Does parts, in the process that made it.

    `facts` is all that decides the results beside the parts, such as a recipe and the kind of device: JSON, the same
    in every process.
    """

    @property
    def facts(self) -> Facts: ...

    def do(self, part: Value, report: Report, /) -> Outcome: ...


class Task(Protocol[Value, Outcome]):
    """`facts` are those of its workers."""

    @property
    def facts(self) -> Facts: ...

    def run(self, parts: Mapping[str, Value], listen: Listen = ...) -> Iterator[Outcome]:
        """The results of the named parts, in their order. What they report goes to `listen`.

        Over a cluster raises SpectrumError where a worker's code, versions or facts are others, where more than
        `cluster.retries` workers died over one part, and where the scheduler is lost.
        """
        ...


class Engine(Protocol):
    """`side_by_side`: parts are done at the same time. `cores`: that a worker has; 0: all of its machine."""

    side_by_side: bool
    cores: int

    def begin(self, make: Callable[[], Worker[Part, Result]]) -> Task[Part, Result]:
        """`make` makes a worker in every process that does parts: for a cluster it has to be picklable."""
        ...


@contextmanager
def open_engine(cluster: Cluster) -> Iterator[Engine]:
    """Raises SpectrumError where no scheduler answers, or it has no workers."""
    if cluster.scheduler == "none":
        yield Alone()
        return
    from pipeline.workers.dask_engine import open_dask_engine  # dask, which one process does without

    with open_dask_engine(cluster) as engine:
        yield engine


class Alone:
    """This process does one part after the other."""

    side_by_side = False
    cores = 0

    def begin(self, make: Callable[[], Worker[Part, Result]]) -> Task[Part, Result]:
        return _TaskAlone(make())


class _TaskAlone:
    def __init__(self, worker: Worker[Any, Any]) -> None:
        self._worker = worker
        self.facts = worker.facts

    def run(self, parts: Mapping[str, Any], listen: Listen = ignore) -> Iterator[Any]:
        for name, part in parts.items():
            yield self._worker.do(part, partial(listen, name))
