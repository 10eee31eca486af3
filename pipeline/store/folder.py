"""The folder of a store while it is written: by one process at a time, errors told in a sentence, nothing left over."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.common.errors import SpectrumError
from pipeline.store.shard import shard_name
from pipeline.store.store_file import INDEX, read_index

PARTS = ".parts"        # a folder in the store's: finished videos of shards that are not


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Refuses a second process that would write the store; the lock ends with the process, however that ends."""
    path = folder.with_name(f".{folder.name}.lock")     # beside the store, which DVC tracks file by file
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(path).acquire(timeout=0)
    except Timeout:     # which is an OSError, too
        raise SpectrumError(f"{folder}: another process is writing this store (it holds {path}); "
                            "wait until it ends, then run again") from None
    except OSError as error:
        raise _unwritable(path, error) from None
    with held:
        yield


@contextmanager
def told(path: Path) -> Iterator[None]:
    """A write that fails becomes a sentence: a full disk, a quota, a folder that is not ours."""
    try:
        yield
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> SpectrumError:
    return SpectrumError(f"{path}: it cannot be written ({error.strerror or error}); make room or mend the folder's "
                         "permissions and run again: what is finished is kept")


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of the shards by their file's name, as store.json has them; nothing where there is no whole store."""
    try:
        return {entry["file"]: entry["sha256"] for entry in read_index(folder)["shards"]}
    except SpectrumError:
        return {}


def tidy(folder: Path, numbers: set[int]) -> None:
    """Removes the shards of no video, parts, and what a worker that was killed left: the other shards are published."""
    names = {shard_name(number) for number in numbers}
    for path in folder.glob("shard-*.h5"):
        if path.name not in names:
            (folder / INDEX).unlink(missing_ok=True)
            path.unlink()
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    remove_stale(folder)


def remove_stale(folder: Path) -> None:
    """Deletes temporary files that killed processes left; to be called by the only writer."""
    for path in [*folder.glob(".*.tmp"), *(folder / PARTS).glob(".*.tmp")]:
        path.unlink(missing_ok=True)
