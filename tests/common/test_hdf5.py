"""The careful reader and writer of HDF5: what goes in comes out, and a hostile file is refused in a sentence."""

import os
import random
import resource
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.common.errors import SpectrumError
from pipeline.common.hdf5 import TEXTS, Layout, read_arrays, write_arrays

ROWS = np.arange(12, dtype=np.int64).reshape(4, 3)
SCORES = np.linspace(0, 1, 4000, dtype=np.float32)
IDS = ("a", "clip é 😀", "", "a")
LAYOUTS = {"ids": TEXTS, "rows": Layout("int64", rank=2), "scores": Layout("float32", rank=1)}


def write(path: Path) -> None:
    write_arrays(path, {"ids": IDS, "rows": ROWS, "scores": SCORES}, {"recipe_id": "4f", "note": "é"})


def read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    return read_arrays(path, LAYOUTS, ["recipe_id", "note"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "file.h5")
    return tmp_path / "file.h5"


def test_what_is_written_is_read(path: Path) -> None:
    arrays, attributes = read(path)
    assert attributes == {"recipe_id": "4f", "note": "é"}
    assert arrays["ids"] == IDS
    assert np.array_equal(arrays["rows"], ROWS) and np.array_equal(arrays["scores"], SCORES)
    assert (arrays["rows"].dtype, arrays["scores"].dtype) == (np.int64, np.float32)


def test_the_same_content_gives_the_same_bytes_and_a_new_file(path: Path) -> None:
    content, number = path.read_bytes(), path.stat().st_ino
    write(path)
    assert path.read_bytes() == content and path.stat().st_ino != number
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_arrays_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty.h5"
    write_arrays(path, {"ids": [], "rows": np.zeros((0, 3), np.int64)}, {})
    arrays, _ = read_arrays(path, {"ids": TEXTS, "rows": Layout("int64", rank=2)}, [])
    assert arrays["ids"] == () and arrays["rows"].shape == (0, 3)


def replace_rows(file: Any, **how: Any) -> None:
    del file["rows"]
    file.create_dataset("rows", **how)


def link_to_another_file(file: Any) -> None:
    del file["rows"]
    file["rows"] = h5py.ExternalLink("other.h5", "/rows")


def link_softly(file: Any) -> None:
    file.move("rows", "others")
    file["rows"] = h5py.SoftLink("/others")


def read_virtually(file: Any) -> None:
    del file["rows"]
    layout = h5py.VirtualLayout(ROWS.shape, ROWS.dtype)
    layout[:] = h5py.VirtualSource("other.h5", "rows", ROWS.shape)
    file.create_virtual_dataset("rows", layout)


def beside(file: Any) -> str:
    return str(Path(file.filename).with_name("other.h5"))


def store_texts_outside(file: Any) -> None:
    del file["ids"]
    file.create_dataset("ids", (4,), h5py.string_dtype(), external=[(beside(file), 0, h5py.h5f.UNLIMITED)])


def make_texts_fixed(file: Any) -> None:
    del file["ids"]
    file["ids"] = np.array([b"a", b"b"])


def make_texts_many(file: Any) -> None:
    del file["ids"]
    file.create_dataset("ids", (1 << 40,), h5py.string_dtype())


def break_utf8(file: Any) -> None:
    file["ids"][0] = b"\xff\xfe"


@pytest.mark.parametrize(("change", "message"), [
    (link_to_another_file, "no data set rows of its own"),
    (link_softly, "no data set rows of its own"),
    (lambda file: file.move("rows", "other"), "no data set rows of its own"),
    (lambda file: (file.move("rows", "other"), file.create_group("rows")), "no data set rows of its own"),
    (read_virtually, "rows have no checksums"),
    (lambda file: replace_rows(file, data=ROWS), "rows have no checksums"),
    (lambda file: replace_rows(file, data=ROWS, external=[(beside(file), 0, 96)]), "rows have no checksums"),
    (lambda file: replace_rows(file, data=ROWS, compression="gzip"), "rows have no checksums"),
    (lambda file: replace_rows(file, shape=(1 << 40, 3), dtype="i8", fletcher32=True), "larger than the file"),
    (lambda file: replace_rows(file, data=ROWS.astype("i4"), fletcher32=True), "of type int32, expected int64"),
    (lambda file: replace_rows(file, data=ROWS[0], fletcher32=True), "rows have 1 dimensions, expected 2"),
    (lambda file: file["scores"].write_direct(np.full(4000, np.inf, "f4")), "not a finite number"),
    (lambda file: file["scores"].write_direct(np.full(4000, np.nan, "f4")), "not a finite number"),
    (store_texts_outside, "no texts of any length in one piece|outside the file"),
    (make_texts_fixed, "ids are no texts"),
    (make_texts_many, "larger than the file"),
    (break_utf8, "utf-8"),
    (lambda file: file.attrs.pop("note"), "note"),
    (lambda file: file.attrs.create("note", 3), "attribute note is no text"),
    (lambda file: file.attrs.create("note", ["a", "b"]), "attribute note is no text"),
])
def test_another_layout_is_refused(path: Path, change: Callable[[Any], Any], message: str) -> None:
    write(path.with_name("other.h5"))
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(SpectrumError, match=rf"^{path}: .*({message})"):
        read(path)


def test_many_entries_of_one_long_text_do_not_fill_the_memory(tmp_path: Path) -> None:
    path, count = tmp_path / "bomb.h5", 100_000
    write_arrays(path, {"ids": ["x" * 1_000_000, *["y"] * (count - 1)]}, {})
    with h5py.File(path) as file:
        offset = file["ids"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[offset:offset + 16 * count] = content[offset:offset + 16] * count
    path.write_bytes(content)
    with pytest.raises(SpectrumError, match="ids claim to be larger than the file"):
        read_arrays(path, {"ids": TEXTS}, [])


def test_a_file_cut_off_anywhere_is_refused(path: Path) -> None:
    content = path.read_bytes()
    for length in [0, 1, 7, 8, 100, *range(500, len(content), 997), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(SpectrumError, match=str(path)):
            read(path)


def test_a_flipped_bit_of_a_value_is_noticed(path: Path) -> None:
    content = path.read_bytes()
    at = content.index(SCORES[:1000].tobytes())
    for position in range(at, at + 4000, 37):
        path.write_bytes(content[:position] + bytes([content[position] ^ 4]) + content[position + 1:])
        with pytest.raises(SpectrumError, match=str(path)):
            read(path)


def test_no_file_a_folder_a_pipe_and_something_else(tmp_path: Path) -> None:
    with pytest.raises(SpectrumError, match=r"none\.h5: no such file; run the stage that makes it"):
        read(tmp_path / "none.h5")
    with pytest.raises(SpectrumError, match="expected a file, but it is a folder"):
        read(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SpectrumError, match="expected a file, but it is a folder, a pipe"):
        read(tmp_path / "pipe")
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(SpectrumError, match=r"text\.h5: not readable, damaged or another kind of file"):
        read(tmp_path / "text.h5")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(path: Path) -> None:
    path.chmod(0)
    with pytest.raises(SpectrumError, match="Permission denied"):
        read(path)


def test_a_write_that_finds_no_room_is_a_sentence_and_keeps_the_old_file(path: Path) -> None:
    content, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    try:
        with pytest.raises(SpectrumError, match=rf"^{path}: it cannot be written \(File too large\)"):
            write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == content
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_file_in_the_folders_place_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("")
    with pytest.raises(SpectrumError, match=r"file\.h5: it cannot be written"):
        write(tmp_path / "folder" / "file.h5")
    assert stat.S_ISREG((tmp_path / "folder").stat().st_mode)


def test_a_flipped_bit_anywhere_changes_nothing_that_is_read(path: Path) -> None:
    """Texts, attributes, types and shapes included, which HDF5 itself keeps without a checksum."""
    wanted_arrays, wanted_attributes = read(path)
    data, noticed = path.read_bytes(), 0
    draw = random.Random(0)
    places = [data.index(b"clip"), data.index(b"4f"), *draw.sample(range(len(data)), 400)]
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 1 << draw.randrange(7)
        path.write_bytes(changed)
        try:
            arrays, attributes = read(path)
        except SpectrumError as error:
            assert str(path) in str(error)
            noticed += 1
            continue
        assert attributes == wanted_attributes and arrays["ids"] == wanted_arrays["ids"]
        assert all(np.array_equal(arrays[name], wanted_arrays[name]) for name in ("rows", "scores"))
    assert noticed > 100
