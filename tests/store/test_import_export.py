import json
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.common.errors import SpectrumError
from pipeline.store import feature_files
from pipeline.store.exchange import ALL_ZERO, MISSING, ImportOptions, export_features, import_features, read_names
from pipeline.store.feature_store import FeatureStore

ABOUT = {"model": "a friend's", "weights": "unknown", "untrained": False}


def features(dtype: type = np.float16, count: int = 12, dim: int = 5) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {f"vid{number}": random.normal(size=(number % 4, dim)).astype(dtype) for number in range(1, count + 1)}


def flat(path: Path, content: dict[str, np.ndarray]) -> Path:
    with h5py.File(path, "w") as file:
        for key, rows in content.items():
            file[key] = rows
    return path


def npy(path: Path, content: dict[str, np.ndarray]) -> Path:
    path.mkdir()
    for key, rows in content.items():
        np.save(path / f"{key}.npy", rows)
    return path


def npz(path: Path, content: dict[str, np.ndarray]) -> Path:
    np.savez(path, **content)
    return path


def npz_folder(path: Path, content: dict[str, np.ndarray]) -> Path:
    path.mkdir()
    for key, rows in content.items():
        np.savez_compressed(path / f"{key}.npz", features=rows)
    return path


LAYOUTS = {"hdf5": (flat, "in.hdf5"), "npy": (npy, "in"), "npz": (npz, "in.npz"), "npz folder": (npz_folder, "in")}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_every_layout_comes_in_and_goes_out_bit_equal(tmp_path: Path, layout: str, dtype: type) -> None:
    content = features(dtype)
    write, name = LAYOUTS[layout]
    done = import_features(write(tmp_path / name, content), tmp_path / "store", ImportOptions(ABOUT, num_shards=3))
    assert done == {"videos": 12, "rows": 18, "dim": 5, "dtype": np.dtype(dtype).name, "failed": 0,
                    "of_zeros": 0, "extra": 0}
    store = FeatureStore.open(tmp_path / "store")
    assert store.verify() == []
    assert store.ids == sorted(content)
    assert store.times("vid3").tolist() == [0, 1, 2]
    assert store.recipe["kind"] == "imported"
    assert store.recipe["source"]["name"] == name
    assert store.recipe["times"] == "unknown: row numbers"
    for video_id, rows in content.items():
        assert store[video_id].dtype == dtype
        assert store[video_id].tobytes() == rows.tobytes()

    for out, path in (("hdf5", tmp_path / "o.h5"), ("npz", tmp_path / "o.npz"), ("npy", tmp_path / "o")):
        export_features(store, path, out)
        found = read_back(path)
        assert set(found) == set(content)
        for video_id, rows in content.items():
            assert (found[video_id].dtype, found[video_id].shape) == (rows.dtype, rows.shape)
            assert found[video_id].tobytes() == rows.tobytes()
        again = FeatureStore.open(tmp_path / "store")
        import_features(path, tmp_path / f"again-{out}", ImportOptions(ABOUT, num_shards=3))
        again = FeatureStore.open(tmp_path / f"again-{out}")
        assert np.array_equal(again.load(store.ids)[0], store.load(store.ids)[0])


def read_back(path: Path) -> dict[str, np.ndarray]:
    if path.is_dir():
        return {file.stem: np.load(file) for file in path.iterdir()}
    if path.suffix == ".npz":
        with np.load(path) as archive:
            return {key: archive[key] for key in archive.files}
    with h5py.File(path) as file:
        return {key: file[key][()] for key in file}


def test_export_gives_the_same_bytes_each_time_and_overwrites_nothing(tmp_path: Path) -> None:
    import_features(flat(tmp_path / "in.h5", features()), tmp_path / "store", ImportOptions(ABOUT))
    store = FeatureStore.open(tmp_path / "store")
    for layout in ("hdf5", "npz"):
        export_features(store, tmp_path / f"a.{layout}", layout)
        export_features(store, tmp_path / f"b.{layout}", layout)
        assert (tmp_path / f"a.{layout}").read_bytes() == (tmp_path / f"b.{layout}").read_bytes()
        with pytest.raises(SpectrumError, match="there already"):
            export_features(store, tmp_path / f"a.{layout}", layout)


def test_a_video_with_one_vector_is_one_row(tmp_path: Path) -> None:
    import_features(flat(tmp_path / "in.h5", {"a": np.arange(4, dtype=np.float32)}), tmp_path / "store",
                    ImportOptions(ABOUT))
    assert FeatureStore.open(tmp_path / "store")["a"].tolist() == [[0, 1, 2, 3]]


def test_keys_become_ids_by_the_manifest_or_a_map_and_go_back(tmp_path: Path) -> None:
    rows = features()
    source = flat(tmp_path / "in.h5", {"abc_1_9": rows["vid1"], "vid2": rows["vid2"], "video2": rows["vid3"],
                                       "other": rows["vid5"]})
    (tmp_path / "videos.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [
        {"id": "vid1", "path": "", "split": "train", "names": ["abc_1_9"]},
        {"id": "vid2", "path": "", "split": "train"}, {"id": "vid3", "path": "", "split": "test"}]))
    (tmp_path / "map.txt").write_bytes(b"video2 vid3\r\n\r\nvideo9 vid10\r\n")
    names = read_names([tmp_path / "videos.jsonl", tmp_path / "map.txt"])
    assert names == {"vid1": "vid1", "abc_1_9": "vid1", "vid2": "vid2", "vid3": "vid3", "video2": "vid3"}
    done = import_features(source, tmp_path / "store", ImportOptions(ABOUT, names))
    assert (done["videos"], done["extra"]) == (3, 1)
    store = FeatureStore.open(tmp_path / "store")
    for video_id in ("vid1", "vid2", "vid3"):
        assert np.array_equal(store[video_id], rows[video_id])
    export_features(store, tmp_path / "o.h5", "hdf5", names)
    assert sorted(read_back(tmp_path / "o.h5")) == ["abc_1_9", "vid2", "video2"]
    assert read_names([]) is None
    assert read_names([tmp_path / "map.txt"]) == {"video2": "vid3", "video9": "vid10"}


@pytest.mark.parametrize(("text", "match"), [
    ("a b c\n", "line 1: expected two columns"), ("a b\na c\n", "line 2: 'a' is 'b' and 'c'"), ("a\n", "two columns")])
def test_a_wrong_map_is_refused(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "map.txt").write_text(text)
    with pytest.raises(SpectrumError, match=match):
        read_names([tmp_path / "map.txt"])
    with pytest.raises(SpectrumError, match="cannot be read"):
        read_names([tmp_path / "none.txt"])
    (tmp_path / "videos.jsonl").write_text('{"name": "a"}\n')
    with pytest.raises(SpectrumError, match="line 1: expected an object with an id"):
        read_names([tmp_path / "videos.jsonl"])


def test_videos_without_features_are_listed_or_refused(tmp_path: Path) -> None:
    source = flat(tmp_path / "in.h5", features(count=4))
    names = {f"vid{number}": f"vid{number}" for number in range(1, 6)}
    with pytest.raises(SpectrumError, match="no features of 1 of 5 videos \\('vid5'\\)"):
        import_features(source, tmp_path / "store", ImportOptions(ABOUT, names))
    assert not (tmp_path / "store").exists()
    done = import_features(source, tmp_path / "store", ImportOptions(ABOUT, names, allowed_missing=0.2))
    assert done["failed"] == 1
    store = FeatureStore.open(tmp_path / "store")
    assert store.failures == {"vid5": MISSING}
    assert store.verify() == []
    with pytest.raises(SpectrumError, match="no features of it"):
        store["vid5"]
    with pytest.raises(SpectrumError, match="none of its 4 keys"):
        import_features(source, tmp_path / "other", ImportOptions(ABOUT, {"x": "y"}))
    with pytest.raises(SpectrumError, match="'b' is there as 'vid1' and as 'vid2'"):
        import_features(source, tmp_path / "other", ImportOptions(ABOUT, {"vid1": "b", "vid2": "b"}))


def test_rows_of_nothing_but_zeros_are_no_features(tmp_path: Path) -> None:
    """So some publish a clip without sound; a row of zeros among others, and a clip of no row, stay."""
    content = features(count=4) | {"zero": np.zeros((3, 5), np.float16), "none": np.zeros((0, 5), np.float16)}
    content["vid3"][1] = 0
    source = flat(tmp_path / "in.h5", content)
    with pytest.raises(SpectrumError, match=r"no features of 1 of 6 videos \('zero'; 1 have rows of zeros\)"):
        import_features(source, tmp_path / "store", ImportOptions(ABOUT))
    assert not (tmp_path / "store").exists()
    done = import_features(source, tmp_path / "store", ImportOptions(ABOUT, allowed_missing=1))
    assert (done["videos"], done["failed"], done["of_zeros"]) == (5, 1, 1)
    store = FeatureStore.open(tmp_path / "store")
    assert store.failures == {"zero": ALL_ZERO}
    assert store.verify() == []
    assert not store["vid3"][1].any() and store["none"].shape == (0, 5)
    with pytest.raises(SpectrumError, match="no features of 1 of 1 videos"):
        import_features(flat(tmp_path / "zeros.h5", {"zero": content["zero"]}), tmp_path / "other",
                        ImportOptions(ABOUT, allowed_missing=1))


@pytest.mark.parametrize(("content", "match"), [
    ({"a": np.ones((2, 3), np.float32), "b": np.ones((2, 4), np.float32)}, "'b': rows of 4 float32, but those of 'a'"),
    ({"a": np.ones((2, 3), np.float32), "b": np.ones((2, 3), np.float16)}, "'b': rows of 3 float16, but those of 'a'"),
    ({"a": np.ones((2, 3)), "b": np.ones((2, 3))}, "float64, a store keeps float16 or float32"),
    ({"a": np.array([[1, np.nan]], np.float32)}, "1 of 1 rows, the first of them 0, hold values that are not finite"),
    ({"a": np.array([[1, 2]])}, "int64 .1, 2., expected floating point"),
    ({"a": np.ones((2, 3, 4), np.float32)}, "expected floating point .T, D. or .D."),
    ({"a": np.float32(1)}, "expected floating point"),
    ({}, "none of its 0 keys"),
])
def test_what_is_wrong_with_features_is_reported(tmp_path: Path, content: dict[str, np.ndarray], match: str) -> None:
    with pytest.raises(SpectrumError, match=match):
        import_features(flat(tmp_path / "in.h5", content), tmp_path / "store", ImportOptions(ABOUT))
    assert not (tmp_path / "store").exists()


def test_rounding_has_to_be_asked_for(tmp_path: Path) -> None:
    source = flat(tmp_path / "in.h5", {"a": np.array([[0.1, 1e5]])})
    import_features(source, tmp_path / "store", ImportOptions(ABOUT, dtype="float32"))
    assert FeatureStore.open(tmp_path / "store")["a"].tolist() == [[np.float32(0.1), 1e5]]
    with pytest.raises(SpectrumError, match="not finite in float16"):
        import_features(source, tmp_path / "half", ImportOptions(ABOUT, dtype="float16"))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    """A pickle in an array would run code of its maker."""
    trap = np.array([[Trap()]], object)
    npy(tmp_path / "in", {"a": trap})
    np.savez(tmp_path / "in.npz", a=trap)
    for source in (tmp_path / "in", tmp_path / "in.npz"):
        with pytest.raises(SpectrumError, match="'a': object .1, 1., expected floating point"):
            import_features(source, tmp_path / "store", ImportOptions(ABOUT))
    assert not Trap.sprung


class Trap:
    sprung = False

    def __reduce__(self) -> tuple[object, ...]:
        return setattr, (Trap, "sprung", True)


def test_a_file_that_points_elsewhere_is_refused(tmp_path: Path) -> None:
    secret = flat(tmp_path / "secret.h5", {"a": np.ones((2, 3), np.float32)})
    np.ones((2, 3), np.float32).tofile(tmp_path / "secret.bin")

    def external(file: h5py.File) -> None:
        file["a"] = h5py.ExternalLink(str(secret), "/a")

    def soft(file: h5py.File) -> None:
        file["a"] = h5py.SoftLink("/elsewhere")

    def group(file: h5py.File) -> None:
        file["a/b"] = np.ones((2, 3), np.float32)

    def storage(file: h5py.File) -> None:
        file.create_dataset("a", (2, 3), "f4", external=[(str(tmp_path / "secret.bin"), 0, 24)])

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((2, 3), "f4")
        layout[:] = h5py.VirtualSource(str(secret), "a", (2, 3))
        file.create_virtual_dataset("a", layout)

    def giant(file: h5py.File) -> None:
        file.create_dataset("a", (1 << 40, 512), "f4", chunks=(1, 512))

    for number, (make, match) in enumerate([(external, "ExternalLink"), (soft, "SoftLink"), (group, "is a group"),
                                            (storage, "another file"), (virtual, "another file"), (giant, "claims")]):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            make(file)
        with pytest.raises(SpectrumError, match=match):
            import_features(tmp_path / f"{number}.h5", tmp_path / "store", ImportOptions(ABOUT))


def test_what_is_no_feature_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no features")
    (tmp_path / "empty").mkdir()
    for path, match in ((tmp_path / "none", "no such file"), (tmp_path / "text", "cannot be read as one"),
                        (tmp_path / "empty", "found 0 such files")):
        with pytest.raises(SpectrumError, match=match):
            import_features(path, tmp_path / "store", ImportOptions(ABOUT))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "hello")
    with pytest.raises(SpectrumError, match="npz archive of arrays"):
        import_features(tmp_path / "a.zip", tmp_path / "store", ImportOptions(ABOUT))
    np.savez(npy(tmp_path / "two", {}) / "a.npz", x=np.ones((1, 2)), y=np.ones((1, 2)))
    with pytest.raises(SpectrumError, match="expected one array"):
        import_features(tmp_path / "two", tmp_path / "store", ImportOptions(ABOUT))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_damaged_source_is_reported(tmp_path: Path, layout: str) -> None:
    """Cut off anywhere: an error, or the right rows; never a store of wrong ones."""
    write, name = LAYOUTS[layout]
    content = {"a": np.random.default_rng(0).normal(size=(9, 8)).astype(np.float32)}
    path = write(tmp_path / name, content)
    file = next(path.iterdir()) if path.is_dir() else path
    data = file.read_bytes()
    for place in (0, 5, 60, len(data) // 2, len(data) - 3):
        file.write_bytes(data[:place])
        with pytest.raises(SpectrumError):
            import_features(path, tmp_path / "store", ImportOptions(ABOUT))


def test_an_import_that_ends_early_leaves_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = flat(tmp_path / "in.h5", features())
    import_features(source, tmp_path / "store", ImportOptions(ABOUT, num_shards=4))
    reads = 0
    read = feature_files.FeatureFile.read

    def failing(self: feature_files.FeatureFile, key: str) -> np.ndarray:
        nonlocal reads
        reads += 1
        if reads > 20:      # 12 for the test of all, then while the shards are written
            raise KeyboardInterrupt
        return read(self, key)

    monkeypatch.setattr(feature_files.FeatureFile, "read", failing)
    with pytest.raises(KeyboardInterrupt):
        import_features(source, tmp_path / "store", ImportOptions(ABOUT, num_shards=4))
    with pytest.raises(SpectrumError, match="no whole feature store"):
        FeatureStore.open(tmp_path / "store")
    monkeypatch.undo()
    import_features(source, tmp_path / "store", ImportOptions(ABOUT, num_shards=2))
    assert FeatureStore.open(tmp_path / "store").verify() == []


@pytest.mark.parametrize("video_id", ["a/b", "..", "x" * 300])
def test_an_id_that_cannot_name_a_file_needs_a_map(tmp_path: Path, video_id: str) -> None:
    import_features(flat(tmp_path / "in.h5", {"k": np.ones((1, 2), np.float16)}), tmp_path / "store",
                    ImportOptions(ABOUT, {"k": video_id}))
    store = FeatureStore.open(tmp_path / "store")
    with pytest.raises(SpectrumError, match="cannot name a data set or a file"):
        export_features(store, tmp_path / "out", "npy")
    assert not (tmp_path / "out").exists()
    export_features(store, tmp_path / "out", "npy", {"k": video_id})
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["k.npy"]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pipeline.store", *map(str, arguments)], capture_output=True,
                          text=True, timeout=60, check=False)


def test_the_command_line(tmp_path: Path) -> None:
    source = flat(tmp_path / "in.h5", features())
    done = run("import", source, tmp_path / "store", "--encoder", "ViT-B-32/openai")
    assert (done.returncode, done.stderr) == (0, "")
    assert ("12 videos, 18 rows of 5 float16; 0 videos without features (0 with rows of zeros), 0 keys that are no id"
            in done.stdout)
    recipe = FeatureStore.open(tmp_path / "store").recipe
    assert recipe["model"] == "ViT-B-32/openai"
    done = run("import", source, tmp_path / "store")
    assert (done.returncode, "there is a store already" in done.stderr) == (1, True)
    for option, value in (("--modality", "smell"), ("--dtype", "int8")):
        done = run("import", source, tmp_path / "other", option, value)
        assert (done.returncode, f"'{value}' is not one of" in done.stderr) == (2, True)
    assert run("import", source, tmp_path / "wide", "--dtype", "float32", "--modality", "audio").returncode == 0
    wide = FeatureStore.open(tmp_path / "wide")
    assert (wide.dtype, wide.modality) == (np.float32, "audio")
    done = run("export", tmp_path / "store", tmp_path / "o", "--layout", "npy")
    assert (done.returncode, len(list((tmp_path / "o").iterdir()))) == (0, 12)
    done = run("export", tmp_path / "store", tmp_path / "o", "--layout", "npy")
    assert (done.returncode, "there already" in done.stderr, "Traceback" in done.stderr) == (1, True, False)
