"""Small HDF5 files of arrays and texts: written whole or not at all, read with care.

    write_arrays(path, {"ids": ["a", "b"], "rows": rows}, {"recipe_id": "4f…"})
    arrays, attributes = read_arrays(path, {"ids": TEXTS, "rows": Layout("int64", rank=2)}, ["recipe_id"])

A file may come from anywhere. What its names lead to may lie in other files, what it claims may not fit into memory,
and a bit of it may be flipped: each becomes one sentence that names the file. Arrays lie in chunks, each with a
checksum, but HDF5 has none for texts, attributes, types and shapes: a SHA-256 stands beside every data set, and one
over all attributes.
"""

import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.common.commands import MAKE
from pipeline.common.errors import SpectrumError
from pipeline.common.files import atomic_write

if TYPE_CHECKING:
    import h5py

_CHECKSUM = "sha256"     # attribute of a data set, and of the file over its other attributes
_HEAP_ENTRY = np.dtype([("length", "<u4"), ("address", "<u8"), ("number", "<u4")])  # of a text, as HDF5 stores it


@dataclass(frozen=True)
class Layout:
    """What a data set of a file must be: its type, a name of numpy's or `text`, and its number of dimensions."""

    dtype: str
    rank: int


TEXTS = Layout("text", rank=1)

# What h5py raises on a file that is damaged or something else.
_DAMAGE = (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError, OverflowError, MemoryError)

Arrays = dict[str, Any]     # numpy arrays by name; a tuple of strings where the layout is TEXTS


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any] | Sequence[str]], attributes: Mapping[str, str]) -> None:
    """Publishes a file of these data sets and texts as attributes. The same content gives the same bytes.

    HDF5 lays the file out in memory: writing to a full disk it loses errors and ends the process later. Raises
    SpectrumError where the file cannot be written.
    """
    content = _lay_out(arrays, attributes)
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def _lay_out(arrays: Mapping[str, NDArray[Any] | Sequence[str]], attributes: Mapping[str, str]) -> bytes:
    import h5py

    # In the order given: HDF5 lays out a file in the order of creation.
    with h5py.File("arrays", "w", driver="core", backing_store=False) as file:
        for name, value in attributes.items():
            file.attrs[name] = value
        file.attrs[_CHECKSUM] = _sha256(dict(attributes))
        for name, values in arrays.items():
            if isinstance(values, np.ndarray):
                # HDF5 has no chunks of nothing, and a checksum needs chunks.
                dataset = file.create_dataset(name, data=values, fletcher32=values.size > 0, track_times=False)
            else:
                dataset = file.create_dataset(name, data=list(values), dtype=h5py.string_dtype(), track_times=False)
            dataset.attrs[_CHECKSUM] = _sha256(values)
        file.flush()
        content: bytes = file.id.get_file_image()
    return content


def read_arrays(path: Path, layouts: Mapping[str, Layout], attributes: Sequence[str]) -> tuple[Arrays, dict[str, str]]:
    """The data sets of `layouts` and the texts of `attributes`, all there and laid out as `write_arrays` does it.

    Raises SpectrumError where the file is missing, no regular file, damaged, or has something else in their place.
    """
    import h5py

    size = _measure(path)
    try:
        with h5py.File(path, "r") as file:
            texts = _read_attributes(file, attributes)
            arrays: Arrays = {name: _read(file, path, name, layout, size) for name, layout in layouts.items()}
    except _DAMAGE as error:
        raise describe_damage(path, error) from None
    return arrays, texts


def describe_damage(path: Path, reason: Exception | str) -> SpectrumError:
    """The error for a file that is not what it should be, in the words of every reader of such files."""
    known = isinstance(reason, OSError) and reason.errno
    text = os.strerror(known) if known else " ".join(str(reason).split())       # HDF5's own may have several lines
    return SpectrumError(f"{path}: not readable, damaged or another kind of file ({text}); make it again with "
                         "`dvc repro`, or bring it back with `dvc checkout --force`")


def _measure(path: Path) -> int:
    """The size of a regular file, in bytes. To open a pipe that nobody writes to would wait for ever."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise SpectrumError(f"{path}: no such file; {MAKE}") from None
    except OSError as error:
        raise SpectrumError(f"{path}: it cannot be read ({error.strerror}); mend the path or its permissions") from None
    if not stat.S_ISREG(status.st_mode):
        raise SpectrumError(f"{path}: expected a file, but it is a folder, a pipe or a device; move it away and run "
                            "the stage that makes it, or `dvc repro`")
    return status.st_size


def _read_attributes(file: "h5py.File", names: Sequence[str]) -> dict[str, str]:
    found = {name: value for name, value in file.attrs.items() if name != _CHECKSUM}
    for name in names:
        if not isinstance(found[name], str):
            raise ValueError(f"its attribute {name} is no text")
    if not all(isinstance(value, str) for value in found.values()) or file.attrs[_CHECKSUM] != _sha256(found):
        raise ValueError("its attributes are not those that were written")
    return {name: found[name] for name in names}


def _sha256(values: NDArray[Any] | Sequence[str] | Mapping[str, str]) -> str:
    if not isinstance(values, np.ndarray):
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    digest = hashlib.sha256(f"{values.dtype.str} {values.shape}".encode())
    digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def _read(file: "h5py.File", path: Path, name: str, layout: Layout, size: int) -> Any:
    import h5py

    # A soft or external link may lead to another file.
    is_own = name in file and file.id.links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD
    dataset = file[name] if is_own else None
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"it has no data set {name} of its own")
    if dataset.ndim != layout.rank:
        raise ValueError(f"its {name} have {dataset.ndim} dimensions, expected {layout.rank}")
    values = _read_texts(file, path, dataset, size) if layout.dtype == "text" else _read_array(dataset, layout, size)
    if dataset.attrs[_CHECKSUM] != _sha256(values):
        raise ValueError(f"its {name} are not those that were written")
    return values


def _read_array(dataset: "h5py.Dataset", layout: Layout, size: int) -> NDArray[Any]:
    name = dataset.name[1:]
    if dataset.dtype != np.dtype(layout.dtype):
        raise ValueError(f"its {name} are of type {dataset.dtype}, expected {layout.dtype}")
    if dataset.nbytes > size:
        raise ValueError(f"its {name} claim to be larger than the file")
    if dataset.size and not is_checksummed(dataset):
        raise ValueError(f"its {name} have no checksums")
    values: NDArray[Any] = dataset[()]
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"its {name} hold a value that is not a finite number")
    return values


def is_checksummed(dataset: "h5py.Dataset") -> bool:
    """Whether it lies in chunks with fletcher32 and nothing else: then it is neither virtual nor in another file."""
    import h5py

    creation = dataset.id.get_create_plist()
    return bool(creation.get_layout() == h5py.h5d.CHUNKED and creation.get_nfilters() == 1
                and creation.get_filter(0)[0] == h5py.h5z.FILTER_FLETCHER32)


def _read_texts(file: "h5py.File", path: Path, dataset: "h5py.Dataset", size: int) -> tuple[str, ...]:
    """UTF-8 texts of any length. Many entries may point to one long text, so their lengths are added up first."""
    import h5py

    creation = dataset.id.get_create_plist()
    string = h5py.check_string_dtype(dataset.dtype)
    if string is None or string.length is not None or creation.get_layout() != h5py.h5d.CONTIGUOUS:
        raise ValueError(f"its {dataset.name[1:]} are no texts of any length in one piece")
    if creation.get_external_count() or file.userblock_size:
        raise ValueError(f"its {dataset.name[1:]} lie outside the file")
    count = int(dataset.size)
    if not count:
        return ()
    offset = dataset.id.get_offset()
    if offset is None or dataset.id.get_storage_size() != count * _HEAP_ENTRY.itemsize \
            or offset + count * _HEAP_ENTRY.itemsize > size:
        raise ValueError(f"its {dataset.name[1:]} claim to be larger than the file")
    with path.open("rb") as raw:
        raw.seek(offset)
        entries = np.frombuffer(raw.read(count * _HEAP_ENTRY.itemsize), _HEAP_ENTRY)
    if int(entries["length"].sum(dtype=np.int64)) > size:
        raise ValueError(f"its {dataset.name[1:]} claim to be larger than the file")
    return tuple(dataset.asstr()[:])
