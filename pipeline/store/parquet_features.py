"""Features in a Parquet file: a row a video, `video_id` and `rows`, a list of T lists of D numbers.

`datasets.load_dataset("parquet", data_files="features.parquet")` reads what is written here, types kept; read are also
files of others, whose lists need no fixed length and whose rows may be one list of D numbers.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.common.errors import SpectrumError
from pipeline.common.parquet import import_pyarrow
from pipeline.store.feature_files import FeatureFile, Shape
from pipeline.store.shard import Rows

_ID, _ROWS = "video_id", "rows"


class ParquetFeatures(FeatureFile):
    """`file` is pyarrow's ParquetFile; its columns are read at once."""

    def __init__(self, path: Path, file: Any) -> None:
        pyarrow = import_pyarrow()
        if missing := {_ID, _ROWS} - set(file.schema_arrow.names):
            raise SpectrumError(f"{path}: expected the columns {_ID} and {_ROWS}, and it has no {', '.join(missing)}; "
                                "rename its columns")
        try:
            table = file.read(columns=[_ID, _ROWS])
        except (OSError, pyarrow.ArrowException) as error:
            raise SpectrumError(f"{path}: damaged ({' '.join(str(error).split())})") from None
        ids = table[_ID].to_pylist()
        if not all(isinstance(video, str) for video in ids) or len(set(ids)) < len(ids):
            raise SpectrumError(f"{path}: expected a text in {_ID} that no other row has")
        super().__init__(path, ids)
        self._rows = dict(zip(ids, table[_ROWS], strict=True))

    def shape(self, key: str) -> Shape:
        values = self.values(key)
        return values.shape, values.dtype

    def values(self, key: str) -> Any:
        rows = self._rows[key].values
        if rows is None or rows.null_count:
            raise self.error(key, "it has no rows, or some are null")
        if not hasattr(rows, "flatten"):
            return rows.to_numpy(zero_copy_only=False)
        lengths = {len(row) for row in rows}
        values = rows.flatten()
        if len(lengths) > 1 or values.null_count:
            raise self.error(key, "its rows are of different lengths, or hold nulls")
        return values.to_numpy(zero_copy_only=False).reshape(len(rows), max(lengths, default=0))


def write_features(path: Path, batches: Iterable[Sequence[tuple[str, Rows]]], dim: int, dtype: np.dtype[Any]) -> None:
    """Every video's rows [T, dim]; a batch of videos is a row group of the file."""
    pyarrow = import_pyarrow()
    row = pyarrow.list_(pyarrow.from_numpy_dtype(dtype), dim)
    schema = pyarrow.schema([(_ID, pyarrow.string()), (_ROWS, pyarrow.list_(row))])
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for batch in batches:
            values = np.concatenate([rows for _, rows in batch]).reshape(-1)
            offsets = np.cumsum([0, *(len(rows) for _, rows in batch)], dtype=np.int32)
            column = pyarrow.ListArray.from_arrays(
                pyarrow.array(offsets), pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(values), dim))
            ids = pyarrow.array([video for video, _ in batch])
            writer.write_table(pyarrow.Table.from_arrays([ids, column.cast(schema.field(_ROWS).type)], schema=schema))
