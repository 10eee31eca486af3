"""The folder of a store while it is written: one process at a time, no leftovers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.common.errors import SpectrumError, write_error
from pipeline.common.files import remove_temporary_files
from pipeline.store.shard import read_ids, shard_name
from pipeline.store.store_file import STORE_FILE, read_store_file


def rows_folder(folder: Path) -> Path:
    """Beside a store, which DVC tracks file by file: rows that are in no shard of it (known_rows.py)."""
    return folder.with_name(f".{folder.name}.rows")


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Refuses a second process that would write the store; the lock ends with the process, however that ends."""
    path = folder.with_name(f".{folder.name}.lock")     # beside the store, which DVC tracks file by file
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path).acquire(timeout=0)
    except Timeout:     # which is an OSError, too
        raise SpectrumError(f"{folder}: another process is writing this store (it holds {path}); "
                            "wait until it ends, then run again") from None
    except OSError as error:
        raise write_error(path, error) from None
    with lock:
        yield


def shard_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of the shards by their file's name, as in store.json; empty where there is no whole store."""
    try:
        return {entry.file: entry.sha256 for entry in read_store_file(folder).shards}
    except SpectrumError:
        return {}


def stored_ids(folder: Path) -> set[str]:
    """The ids of all videos with rows in a store, be it whole or not, or beside it, and of any recipe."""
    ids: set[str] = set()
    for path in (*folder.glob("shard-*.h5"), *rows_folder(folder).glob("*/*.h5")):
        try:
            ids.update(read_ids(path))
        except SpectrumError:       # damaged: its rows are lost
            continue
    return ids


def remove_leftovers(folder: Path, numbers: set[int]) -> None:
    """Once the shards of these numbers are published: removes all others and temporary files."""
    names = {shard_name(number) for number in numbers}
    for path in folder.glob("shard-*.h5"):
        if path.name not in names:
            (folder / STORE_FILE).unlink(missing_ok=True)
            path.unlink()
    remove_temporary_files(folder)
