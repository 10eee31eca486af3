"""A foreign file in a shard's place: it is not read, `verify` reports it, extraction replaces it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from colours import ALONE, MACHINE, SECTION, Colours
from media_factory import clip

from pipeline.common.errors import SpectrumError
from pipeline.common.files import sha256, write_json
from pipeline.extraction.run import extract
from pipeline.store.feature_store import FeatureStore
from pipeline.store.store_file import STORE_FILE

IDS = ["v0", "v1", "v2"]
ONE = SECTION.model_copy(update={"num_shards": 1})
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
    extract(clips, Colours, folder, ONE, MACHINE, ALONE)
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
def test_what_is_no_shard_is_reported_refused_and_replaced(name: str, tmp_path: Path, whole: Path,
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
    summary = extract(clips, Colours, store, ONE, MACHINE, ALONE)
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
    assert extract(clips, Colours, store, ONE, MACHINE, ALONE)["reused"] == 0
    assert FeatureStore.open(store).verify() == []


@pytest.mark.parametrize(("place", "reason"), [
    (lambda path: path.mkdir(), "no ordinary file"), (lambda path: path.symlink_to("/nowhere"), "No such file"),
    (lambda path: None, "No such file")])
def test_what_is_no_file_is_reported_in_a_sentence(tmp_path: Path, whole: Path, clips: list[tuple[str, Path]],
                                               place: Callable[[Path], object], reason: str) -> None:
    store = Path(shutil.copytree(whole, tmp_path / "store"))
    (store / NAME).unlink()
    place(store / NAME)
    (problem,) = FeatureStore.open(store).verify()
    assert problem.startswith(f"{store / NAME}: ")
    with pytest.raises(SpectrumError, match=f"{NAME}: .*{reason}"):
        FeatureStore.open(store).load(IDS)
    if reason == "no ordinary file":
        with pytest.raises(SpectrumError, match=f"{NAME}: it cannot be written"):
            extract(clips, Colours, store, ONE, MACHINE, ALONE)
    else:
        assert extract(clips, Colours, store, ONE, MACHINE, ALONE)["reused"] == 0
        assert FeatureStore.open(store).verify() == []


@pytest.mark.parametrize(("text", "reason"), [
    ('{"schema": 1}', "schema 2, found 1"), ("[]", "schema 2, found 'none'"), ("[" * 100_000, "not readable as JSON"),
    ("\udcff", "not UTF-8"), (None, "it is a folder, a pipe or a device")])
def test_any_store_json_is_refused_or_read(tmp_path: Path, whole: Path, text: str | None, reason: str) -> None:
    store = Path(shutil.copytree(whole, tmp_path / "store"))
    (store / "store.json").unlink()
    if text is None:
        (store / "store.json").mkdir()
    else:
        (store / "store.json").write_text(text, errors="surrogateescape")
    with pytest.raises(SpectrumError, match=f"store.json: .*{reason}"):
        FeatureStore.open(store)


def content_of(store: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((store / STORE_FILE).read_text())
    del content["sha256_of_the_above"]
    return content


@pytest.mark.parametrize("dtype", ["f2", "f4"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_refused_even_if_signed(tmp_path: Path, whole: Path, dtype: str,
                                                             value: float) -> None:
    store = Path(shutil.copytree(whole, tmp_path / "store"))

    def change(file: h5py.File, data: Data) -> None:
        data["rows"] = data["rows"].astype(dtype)
        data["rows"][5, 3] = value

    replaced(store, change)
    content = content_of(store)
    content["dtype"] = np.dtype(dtype).name
    content["shards"][0]["sha256"] = sha256(store / NAME)
    write_json(store / STORE_FILE, content)
    opened = FeatureStore.open(store)
    for read in (lambda: opened.load(IDS), lambda: opened["v1"]):
        with pytest.raises(SpectrumError, match=f"{NAME}: .*rows are not all finite"):
            read()
    assert opened.verify() == [f"{store / NAME}: rows are not all finite"]


def test_times_that_are_not_finite_are_refused_even_if_signed(tmp_path: Path, whole: Path) -> None:
    store = Path(shutil.copytree(whole, tmp_path / "store"))
    replaced(store, lambda file, data: data["times"].fill(np.nan))
    with pytest.raises(SpectrumError, match=f"{NAME}: .*times are not all finite"):
        FeatureStore.open(store).times("v1")


@pytest.mark.parametrize(("key", "value", "field"), [
    ("modality", 3, "modality"), ("recipe", [], "recipe"), ("dim", "12", "dim"), ("dim", 0, "dim"),
    ("dtype", "float64", "dtype"), ("shard_count", None, "shard_count"), ("shard_count", 0, "shard_count"),
    ("videos", 3.5, "videos"), ("rows", -1, "rows"), ("shards", {}, "shards"), ("shards", [3], "shards.0"),
    ("shards", [{"file": "../shard-0000.h5", "sha256": "0" * 64, "videos": 3, "rows": 12}], "shards.0.file"),
    ("shards", [{"file": NAME, "sha256": "x", "videos": 3, "rows": 12}], "shards.0.sha256"),
    ("failures", [{"id": "a", "path": "b"}], "failures.0.reason"), ("failures", "abc", "failures"),
    ("partial", [{"id": "a", "share": 7}], "partial.0.share"), ("partial", None, "partial")])
def test_a_signed_store_json_of_wrong_types_is_refused(tmp_path: Path, whole: Path, key: str, value: Any,
                                                       field: str) -> None:
    store = Path(shutil.copytree(whole, tmp_path / "store"))
    write_json(store / STORE_FILE, {**content_of(store), key: value})
    with pytest.raises(SpectrumError, match=f"store.json: not what a feature store's file holds .{field}: ") as error:
        FeatureStore.open(store)
    assert "\n" not in str(error.value)
    content = content_of(store)
    del content[key]
    write_json(store / STORE_FILE, content)
    with pytest.raises(SpectrumError, match=f"store.json: .*{key}: Field required"):
        FeatureStore.open(store)


@pytest.mark.parametrize("name", [NAME, STORE_FILE])
def test_a_pipe_in_a_file_s_place_is_refused(tmp_path: Path, whole: Path, clips: list[tuple[str, Path]],
                                             name: str) -> None:
    store = Path(shutil.copytree(whole, tmp_path / "store"))
    (store / name).unlink()
    os.mkfifo(store / name)
    for command in ("verify", "ls"):
        done = subprocess.run([sys.executable, "-m", "pipeline.store", command, store], capture_output=True, text=True,
                              timeout=60, check=False)
        assert done.returncode == 1
        assert f"{store / name}: " in done.stdout + done.stderr
        assert "it is no ordinary file" in done.stdout + done.stderr or "it is a folder, a pipe" in done.stderr
        assert "Traceback" not in done.stderr
    extract(clips, Colours, store, ONE, MACHINE, ALONE)         # puts files in their places
    assert FeatureStore.open(store).verify() == []


def test_control_characters_of_names_do_not_reach_the_terminal(tmp_path: Path, whole: Path) -> None:
    evil = tmp_path / "st\x1b[31more\x9b"
    shutil.copytree(whole, evil)
    (evil / NAME).write_bytes(b"no shard")
    content = content_of(evil)
    content["failures"] = [{"id": "a\x1b]0;b", "path": "p", "reason": "c\x07"}]
    write_json(evil / STORE_FILE, content)
    for command, folder in (("verify", evil), ("ls", evil), ("verify", tmp_path / "\x1b[2Jgone")):
        done = subprocess.run([sys.executable, "-m", "pipeline.store", command, folder], capture_output=True, text=True,
                              timeout=60, check=False)
        shown = done.stdout + done.stderr
        assert done.returncode == 1
        assert not {"\x1b", "\x9b", "\x07"} & set(shown)
        assert "\\x1b[" in shown


def test_a_file_in_a_store_s_place_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for command in (["ls", tmp_path / "file"], ["verify", tmp_path / "file" / "store"]):
        done = subprocess.run([sys.executable, "-m", "pipeline.store", *command], capture_output=True, text=True,
                              timeout=60, check=False)
        assert done.returncode == 1
        assert "store.json: it cannot be read (Not a directory)" in done.stderr
        assert "Traceback" not in done.stderr
    with pytest.raises(SpectrumError, match="file/.store.lock: it cannot be written"):
        extract([], Colours, tmp_path / "file" / "store", SECTION, MACHINE, ALONE)
