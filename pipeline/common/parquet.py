"""Parquet files, which `datasets`, pandas and Arrow read; pyarrow is an extra that most work does without."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.common.errors import SpectrumError
from pipeline.common.files import atomic_write

SUFFIX = ".parquet"


def import_pyarrow() -> Any:
    """pyarrow, with its module `parquet`. Raises SpectrumError where it is not installed."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise SpectrumError("Parquet files need pyarrow, which is not installed; run `pip install pyarrow`, or install "
                            "this package with its extra [parquet]") from None
    return pyarrow


@contextmanager
def open_parquet(path: Path) -> Iterator[Any]:
    """pyarrow's ParquetFile. Raises SpectrumError where the file is missing or something else."""
    pyarrow = import_pyarrow()
    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise SpectrumError(f"{path}: not readable as Parquet ({' '.join(str(error).split())}); write it "
                            "again") from None
    with file:
        yield file


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Rows of JSON values; types are those that the values have. An object without entries has no place in Parquet."""
    pyarrow = import_pyarrow()
    try:
        table = pyarrow.Table.from_pylist([_without_empty(row) for row in rows])
    except pyarrow.ArrowException as error:
        raise SpectrumError(f"{path}: a column has values of two types ({error}); give them one type") from None
    with atomic_write(path) as temporary:
        pyarrow.parquet.write_table(table, temporary)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows as JSON values. What is null is left out: a row without an entry has null in the entry's column."""
    with open_parquet(path) as file:
        try:
            return [_without_empty(row) for row in file.read().to_pylist()]
        except (OSError, import_pyarrow().ArrowException) as error:
            raise SpectrumError(f"{path}: damaged ({' '.join(str(error).split())}); write it again") from None


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_empty(own) for key, own in value.items() if own is not None and own != {}}
    if isinstance(value, list):
        return [_without_empty(own) for own in value]
    return value
