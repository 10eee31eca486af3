"""Feature files as others publish them, read with distrust.

    with open_features(Path("MSVD_CLIP.hdf5")) as source:
        source.keys                     # ("vid1", "vid2", …)
        source.shape("vid1")            # (shape, dtype), without reading the values
        source.read("vid1")             # [T, D]

A flat HDF5 file with one data set a video, a folder of .npy or .npz files (one a video, named by it), one .npz
archive, or a .parquet file. No pickle is loaded, and an HDF5 file is not followed to other files: links, external
storage and virtual data sets are refused.
"""

import hashlib
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.common import parquet
from pipeline.common.errors import SpectrumError
from pipeline.common.file_digests import file_digest
from pipeline.store.shard import DAMAGE

MAX_BYTES = 1 << 30     # of one video's features: what claims more is damaged, or is no features
Shape = tuple[tuple[int, ...], np.dtype[Any]]


class FeatureFile(ABC):
    """An open feature file or folder; `keys` are sorted."""

    def __init__(self, path: Path, keys: list[str]) -> None:
        self.path = path
        self.keys = tuple(sorted(keys))

    @abstractmethod
    def shape(self, key: str) -> Shape:
        """Shape and type of a video's features."""

    @abstractmethod
    def values(self, key: str) -> Any:
        """A video's features as they are."""

    def read(self, key: str) -> NDArray[Any]:
        """A video's rows [T, D]; one row where the file has [D]. Raises SpectrumError for what is no features."""
        shape, dtype = self.shape(key)
        if dtype.kind != "f" or len(shape) not in (1, 2):
            raise self.error(key, f"{dtype} {list(shape)}, expected floating point [T, D] or [D]")
        if int(np.prod(shape, dtype=object)) * dtype.itemsize > MAX_BYTES:
            raise self.error(key, f"it claims to be {list(shape)}, more than {MAX_BYTES >> 20} MB")
        try:
            return np.atleast_2d(np.asarray(self.values(key)))
        except (*DAMAGE, EOFError, zipfile.BadZipFile) as error:
            raise self.error(key, f"not readable, damaged ({error})") from None

    def error(self, key: str, problem: str) -> SpectrumError:
        """What to raise where a video's features cannot be used."""
        return SpectrumError(f"{self.path}: features of {key!r}: {problem}")


@contextmanager
def open_features(path: Path) -> Iterator[FeatureFile]:
    """Raises SpectrumError where `path` is none of the layouts, or is damaged."""
    if path.is_dir():
        yield _ArrayFolder(path)
    elif not path.is_file():
        raise SpectrumError(f"{path}: no such file or folder of features")
    elif path.suffix.lower() == parquet.SUFFIX:
        from pipeline.store.parquet_features import ParquetFeatures  # which knows this module

        with parquet.open_parquet(path) as file:
            yield ParquetFeatures(path, file)
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield _ArrayArchive(path, archive)
    else:
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            raise SpectrumError(f"{path}: expected a flat HDF5 file, an .npz archive or a folder of .npy or .npz "
                                f"files, and it cannot be read as one ({error})") from None
        with file:
            yield FlatFile(path, file)


def features_sha256(path: Path) -> str:
    """SHA-256 of a file; of a folder, over its files' names and SHA-256."""
    if path.is_file():
        return file_digest(path)
    lines = [f"{file_digest(file)}  {file.name}\n" for file in sorted(_array_files(path))]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class FlatFile(FeatureFile):
    """An HDF5 file with one data set a video."""

    def __init__(self, path: Path, file: Any) -> None:
        try:
            super().__init__(path, list(file))
        except DAMAGE as error:
            raise SpectrumError(f"{path}: not readable, damaged ({error})") from None
        self._file = file

    def shape(self, key: str) -> Shape:
        dataset = self.dataset(key)
        return dataset.shape or (), dataset.dtype

    def values(self, key: str) -> Any:
        return self.dataset(key)[()]

    def dataset(self, key: str) -> Any:
        """The open data set, after a check that it is one and keeps its values in this file."""
        try:
            link = self._file.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise self.error(key, f"it is a {type(link).__name__} to elsewhere; features are read from their own "
                                      "file alone: `h5repack` or h5py can copy them into one")
            dataset = self._file[key]
            if not isinstance(dataset, h5py.Dataset):
                raise self.error(key, "it is a group, expected one data set a video: a flat file")
            if dataset.is_virtual or dataset.external:
                raise self.error(key, "its values are kept in another file, which is not read; `h5repack` or h5py can "
                                      "copy them into one")
        except DAMAGE as error:
            raise self.error(key, f"not readable, damaged ({error})") from None
        return dataset


class _ArrayArchive(FeatureFile):
    """An .npz archive with one array a video."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        names = archive.namelist()
        others = [name for name in names if not name.endswith(".npy")]
        if others or len(set(names)) != len(names):
            raise SpectrumError(f"{path}: expected an .npz archive of arrays with a name each, found "
                                f"{others or names!r:.100}")
        super().__init__(path, [name.removesuffix(".npy") for name in names])
        self._archive = archive

    def shape(self, key: str) -> Shape:
        try:
            with self._archive.open(f"{key}.npy") as file:
                return _header(file)
        except (*DAMAGE, EOFError, zipfile.BadZipFile) as error:
            raise self.error(key, _why(error)) from None

    def values(self, key: str) -> Any:
        with self._archive.open(f"{key}.npy") as file:
            values = np.lib.format.read_array(file, allow_pickle=False)
            if file.read(1):            # which also makes zipfile test its checksum
                raise ValueError("there is more than one array")
            return values


class _ArrayFolder(FeatureFile):
    """A folder with one .npy file a video, or one .npz file a video that holds one array."""

    def __init__(self, path: Path) -> None:
        files = _array_files(path)
        self._files = {file.stem: file for file in files}
        if not files or len(self._files) != len(files):
            raise SpectrumError(f"{path}: expected a folder with one .npy or .npz file a video, found "
                                f"{len(files)} such files of {len(self._files)} names")
        super().__init__(path, list(self._files))

    def shape(self, key: str) -> Shape:
        try:
            with self._open(key) as file:
                return _header(file)
        except (*DAMAGE, EOFError, zipfile.BadZipFile) as error:
            raise self.error(key, _why(error)) from None

    def values(self, key: str) -> Any:
        with self._open(key) as file:
            return np.lib.format.read_array(file, allow_pickle=False)

    @contextmanager
    def _open(self, key: str) -> Iterator[IO[bytes]]:
        path = self._files[key]
        if path.suffix == ".npy":
            with path.open("rb") as file:
                yield file
            return
        with zipfile.ZipFile(path) as archive:
            if len(archive.namelist()) != 1:
                raise ValueError(f"expected one array, found {archive.namelist()!r:.100}")
            with archive.open(archive.namelist()[0]) as member:
                yield member


def _array_files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.suffix in (".npy", ".npz") and not path.name.startswith(".")
            and path.is_file()]


def _header(file: IO[bytes]) -> Shape:
    """Of an .npy file, which moves on to its values."""
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    return shape, dtype


def _why(error: Exception) -> str:
    return f"not readable as a plain array ({error})"
