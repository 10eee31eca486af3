"""A file in a shard's place that somebody else made: nothing of it is read, `verify` tells, extraction replaces it."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from colours import ALONE, SECTION, Colours
from media_factory import clip

from pipeline import extraction
from pipeline.common.errors import SpectrumError
from pipeline.store import FeatureStore

IDS = ["v0", "v1", "v2"]
ONE = SECTION.model_copy(update={"shards": 1})
NAME = "shard-0000.h5"
HUGE = 10 ** 13         # lines that take no room in the file, 200 TB in memory

Data = dict[str, Any]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("clips")
    return [(video_id, clip(folder / f"{video_id}.mp4", 4, first=20 * i)) for i, video_id in enumerate(IDS)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, clips: list[tuple[str, Path]]) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "store"
    extraction.extract(clips, Colours, folder, ONE, ALONE)
    return folder


def replaced(store: Path, change: Callable[[h5py.File, Data], object]) -> None:
    """The shard with what `change` makes of it; what it leaves in the data is laid out as `write_shard` does it."""
    path = store / NAME
    with h5py.File(path) as file:
        data: Data = {name: file[name][:] for name in file}
        about = dict(file.attrs)
    with h5py.File(path, "w") as file:
        file.attrs.update(about)
        change(file, data)
        for name, values in data.items():
            file.create_dataset(name, data=values, chunks=values.shape, fletcher32=True)


def empty(name: str, *tail: int) -> Callable[[h5py.File, Data], object]:
    """Claims a size that nothing has."""
    def change(file: h5py.File, data: Data) -> None:
        dtype = data.pop(name).dtype
        file.create_dataset(name, (HUGE, *tail), dtype, chunks=(100, *tail), fletcher32=True)
    return change


def elsewhere(file: h5py.File, data: Data) -> None:
    file["times"] = h5py.ExternalLink("/other.h5", "times")
    del data["times"]


def raw(file: h5py.File, data: Data) -> None:
    size = data.pop("times").nbytes
    file.create_dataset("times", (size // 8,), "f8", external=[("/etc/passwd", 0, size)])


def virtual(file: h5py.File, data: Data) -> None:
    layout = h5py.VirtualLayout(data.pop("rows").shape, "f2")
    layout[:] = h5py.VirtualSource("/gone.h5", "rows", layout.shape)
    file.create_virtual_dataset("rows", layout)         # which reads as zeros


CHANGES: dict[str, tuple[Callable[[h5py.File, Data], object], str]] = {
    "huge rows": (empty("rows", 12), "rows are not laid out"),
    "huge ids": (empty("ids"), "ids are not laid out"),
    "in another HDF5 file": (elsewhere, "no data set times of its own"),
    "in another file": (raw, "times are not laid out"),
    "virtual": (virtual, "rows are not laid out"),
    "a group": (lambda file, data: (data.pop("shares"), file.create_group("shares")), "no data set shares of its own"),
    "a number": (lambda file, data: (data.pop("rows"), file.create_dataset("rows", data=3.0)), "rows are not laid"),
    "nothing": (lambda file, data: data.clear(), "no data set ids"),
    "words for rows": (lambda file, data: data.update(rows=data["ids"]), "rows are not laid out"),
    "a row short": (lambda file, data: data.update(rows=data["rows"][:-1]), "do not fit together"),
    "an id short": (lambda file, data: data.update(ids=data["ids"][:-1]), "do not fit together"),
    "an id twice": (lambda file, data: data.update(ids=data["ids"][[0, 0, 2]]), "not sorted and unique"),
    "offsets beyond": (lambda file, data: data.update(offsets=data["offsets"] * 100), "offsets do not rise"),
    "offsets below": (lambda file, data: data.update(offsets=np.array([0, -4, 8, 12])), "offsets do not rise"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_no_shard_is_told_refused_and_replaced(name: str, tmp_path: Path, whole: Path,
                                                       clips: list[tuple[str, Path]]) -> None:
    change, reason = CHANGES[name]
    store = Path(shutil.copytree(whole, tmp_path / "store"))
    replaced(store, change)
    opened = FeatureStore.open(store)
    problems = opened.verify()
    assert "SHA-256" in problems[0]
    assert reason in problems[1]
    for read in (lambda: opened.load(IDS), lambda: opened.times("v1"), lambda: opened.ids, lambda: "v1" in opened):
        with pytest.raises(SpectrumError, match=f"{NAME}: .*{reason}"):
            read()
    (store / "store.json").unlink()         # as a run leaves it that was killed: nothing says which bytes are right
    summary = extraction.extract(clips, Colours, store, ONE, ALONE)
    assert (summary["reused"], summary["videos"]) == (0, 3)
    assert (store / NAME).read_bytes() == (whole / NAME).read_bytes()


@pytest.mark.parametrize("change", [
    lambda file, data: data["rows"].fill(np.nan),
    lambda file, data: data["times"].fill(np.inf),
    lambda file, data: data["shares"].fill(7),
    lambda file, data: data.update(rows=data["rows"][:, :5]),
    lambda file, data: data.update(rows=data["rows"].astype("f4")),
])
def test_values_that_no_encoder_gives_are_not_taken_over(tmp_path: Path, whole: Path, clips: list[tuple[str, Path]],
                                                         change: Callable[[h5py.File, Data], object]) -> None:
    store = Path(shutil.copytree(whole, tmp_path / "store"))
    replaced(store, change)
    assert len(FeatureStore.open(store).verify()) > 1
    (store / "store.json").unlink()
    assert extraction.extract(clips, Colours, store, ONE, ALONE)["reused"] == 0
    assert FeatureStore.open(store).verify() == []


@pytest.mark.parametrize(("place", "reason"), [
    (lambda path: path.mkdir(), "Is a directory"), (lambda path: path.symlink_to("/nowhere"), "No such file"),
    (lambda path: None, "No such file")])
def test_what_is_no_file_is_told_in_a_sentence(tmp_path: Path, whole: Path, clips: list[tuple[str, Path]],
                                               place: Callable[[Path], object], reason: str) -> None:
    store = Path(shutil.copytree(whole, tmp_path / "store"))
    (store / NAME).unlink()
    place(store / NAME)
    (problem,) = FeatureStore.open(store).verify()
    assert problem.startswith(f"{store / NAME}: ")
    with pytest.raises(SpectrumError, match=f"{NAME}: .*{reason}"):
        FeatureStore.open(store).load(IDS)
    if reason == "Is a directory":
        with pytest.raises(SpectrumError, match=f"{NAME}: it cannot be written"):
            extraction.extract(clips, Colours, store, ONE, ALONE)
    else:
        assert extraction.extract(clips, Colours, store, ONE, ALONE)["reused"] == 0
        assert FeatureStore.open(store).verify() == []


@pytest.mark.parametrize(("text", "reason"), [
    ('{"schema": 1}', "schema 2, found 1"), ("[]", "schema 2, found 'none'"), ("[" * 100_000, "not readable, damaged"),
    ("\udcff", "not readable, damaged"), (None, "it cannot be read")])
def test_any_store_json_is_refused_or_read(tmp_path: Path, whole: Path, text: str | None, reason: str) -> None:
    store = Path(shutil.copytree(whole, tmp_path / "store"))
    (store / "store.json").unlink()
    if text is None:
        (store / "store.json").mkdir()
    else:
        (store / "store.json").write_text(text, errors="surrogateescape")
    with pytest.raises(SpectrumError, match=f"store.json: .*{reason}"):
        FeatureStore.open(store)


def test_a_file_in_a_store_s_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for command in (["ls", tmp_path / "file"], ["verify", tmp_path / "file" / "store"]):
        done = subprocess.run([sys.executable, "-m", "pipeline.store", *command], capture_output=True, text=True,
                              timeout=60, check=False)
        assert done.returncode == 1
        assert "store.json: it cannot be read (Not a directory)" in done.stderr
        assert "Traceback" not in done.stderr
    with pytest.raises(SpectrumError, match="file/.store.lock: it cannot be written"):
        extraction.extract([], Colours, tmp_path / "file" / "store", SECTION, ALONE)
