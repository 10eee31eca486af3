"""Parts whose results are arrays, each in a file until the stage is done: a run that was killed goes on.

    with parts_folder(paths.parts / "index") as folder, open_engine(params.cluster) as engine:
        task = SavedTask(engine, TextEncoding(…), folder)
        for arrays in task.run(parts, {"vectors": Layout("float32", rank=2)}, fingerprint(texts)):
            ...

The worker writes the file, so that over a cluster only names travel. A file counts only with its checksums, and for
the same key, facts and code: whatever differs is done again.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol

from numpy.typing import NDArray

from pipeline.common.code import package_digest
from pipeline.common.errors import SpectrumError, readable_write_errors
from pipeline.common.files import fingerprint
from pipeline.common.hdf5 import Layout, read_arrays, write_arrays
from pipeline.workers.engine import Engine, Facts, Part, Report, Value

Arrays = dict[str, NDArray[Any]]
Layouts = Mapping[str, Layout]

_KEY = "key"


class ArrayWorker(Protocol[Value]):
    """A Worker whose results are arrays; it reports nothing."""

    @property
    def facts(self) -> Facts: ...

    def do(self, part: Value, /) -> Arrays: ...


@contextmanager
def parts_folder(folder: Path) -> Iterator[Path]:
    """A folder for the parts of a stage, which is removed when the stage is done."""
    yield folder
    with readable_write_errors(folder):
        shutil.rmtree(folder, ignore_errors=not folder.exists())
    with suppress(OSError):         # another stage's parts are there
        folder.parent.rmdir()


@dataclass(frozen=True)
class _Order(Generic[Part]):
    """A part to be done and saved, unless it is there."""

    path: Path
    part: Part
    layouts: Layouts
    key: str


@dataclass(frozen=True)
class _Saving(Generic[Part]):
    make: Callable[[], ArrayWorker[Part]]

    def __call__(self) -> "_SavingWorker[Part]":
        return _SavingWorker(self.make)


class _SavingWorker(Generic[Part]):
    def __init__(self, make: Callable[[], ArrayWorker[Part]]) -> None:
        self._worker = make()
        self.facts: Facts = self._worker.facts

    def do(self, order: _Order[Part], _report: Report) -> str:
        """The key that the saved part has."""
        key = fingerprint({"key": order.key, "code": package_digest(), "facts": dict(self.facts)})
        if _read(order, key) is None:
            write_arrays(order.path, self._worker.do(order.part), {_KEY: key})
        return key


def _read(order: _Order[Any], key: str) -> Arrays | None:
    """None where it is not there, damaged, or of something else."""
    with suppress(SpectrumError):
        arrays, attributes = read_arrays(order.path, order.layouts, [_KEY])
        if attributes[_KEY] == key:
            return arrays
    return None


class SavedTask(Generic[Part]):
    """A task whose parts are saved in `folder`."""

    def __init__(self, engine: Engine, make: Callable[[], ArrayWorker[Part]], folder: Path) -> None:
        self._task = engine.begin(_Saving(make))
        self._folder = folder

    @property
    def facts(self) -> Facts:
        return self._task.facts

    def run(self, parts: Mapping[str, Part], layouts: Layouts, key: str) -> Iterator[Arrays]:
        """The arrays of the named parts, in their order; a name is a file's. `key` stands for the parts' values, and
        for all else that decides their results beside the worker's facts."""
        orders = {name: _Order(self._folder / f"{name}.h5", part, layouts, f"{name} {key}")
                  for name, part in parts.items()}
        for order, made in zip(orders.values(), self._task.run(orders), strict=True):
            arrays = _read(order, made)
            if arrays is None:
                raise SpectrumError(f"{order.path}: a worker has just written it, but here it cannot be read; all "
                                    "machines need the same file system at this path")
            yield arrays
