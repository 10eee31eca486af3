import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from pipeline.common.errors import SpectrumError
from pipeline.common.files import fingerprint, sha256, write_json
from pipeline.store.feature_store import FeatureStore
from pipeline.store.reader import fletcher32
from pipeline.store.shard import Shard, number_of, read_shard, shard_name, shard_of, write_shard
from pipeline.store.store_file import STORE_FILE, write_store_file

RECIPE = {"kind": "test", "frames": 4}
RECIPE_ID = fingerprint(RECIPE)
SHARDS = 4


def rows_of(number: int, dim: int = 6) -> np.ndarray:
    """Video i has i % 4 rows."""
    return np.random.default_rng(number).normal(size=(number % 4, dim)).astype(np.float16)


def make(folder: Path, count: int = 20, dim: int = 6) -> dict[str, np.ndarray]:
    videos = {f"vidéo {number:04d}": rows_of(number, dim) for number in range(count)}
    counts = {}
    for shard in range(SHARDS):
        ids = sorted(video_id for video_id in videos if shard_of(video_id, SHARDS) == shard)
        parts = [videos[video_id] for video_id in ids]
        packed = np.concatenate([np.empty((0, dim), np.float16), *parts])
        offsets = np.cumsum([0, *map(len, parts)])
        write_shard(folder / shard_name(shard),
                    Shard(tuple(ids), offsets, packed, np.arange(len(packed)) / 10, ("0" * 64,) * len(ids),
                          np.ones(len(ids), np.float32)), RECIPE_ID)
        counts[shard] = (len(ids), len(packed))
    write_store_file(folder, "appearance", RECIPE, dim, counts, SHARDS,
                [{"id": "z", "path": "z.mp4", "reason": "broken"}, {"id": "b", "path": "b.mp4", "reason": "cut off"}])
    return videos


def test_what_is_written_is_read(tmp_path: Path) -> None:
    videos = make(tmp_path)
    store = FeatureStore.open(tmp_path, RECIPE_ID)
    assert store.ids == sorted(videos)
    assert len(store) == 20
    assert (store.modality, store.dim, store.recipe, store.recipe_id) == ("appearance", 6, RECIPE, RECIPE_ID)
    assert store.failures == {"b": "cut off", "z": "broken"}
    for video_id, rows in videos.items():
        assert video_id in store
        assert store[video_id].dtype == np.float16
        assert np.array_equal(store[video_id], rows)
        assert store.times(video_id).shape == (len(rows),)
    assert "other" not in store
    assert 3 not in store
    assert store.verify() == []


def test_load_packs_rows_in_the_order_asked_for(tmp_path: Path) -> None:
    videos = make(tmp_path)
    store = FeatureStore.open(tmp_path)
    ids = [*reversed(store.ids), store.ids[3], store.ids[3]]
    rows, offsets = store.load(ids)
    assert (rows.dtype, offsets.dtype) == (np.float16, np.int64)
    assert len(offsets) == len(ids) + 1
    for position, video_id in enumerate(ids):
        assert np.array_equal(rows[offsets[position]:offsets[position + 1]], videos[video_id])
    empty, none = store.load([])
    assert empty.shape == (0, 6)
    assert none.tolist() == [0]


def test_a_missing_id_is_an_error_that_names_it(tmp_path: Path) -> None:
    make(tmp_path)
    store = FeatureStore.open(tmp_path)
    for read in (lambda: store["other"], lambda: store.times("other"), lambda: store.load(["vidéo 0001", "other"])):
        with pytest.raises(SpectrumError, match="no features of video 'other': it is not in the store"):
            read()
    with pytest.raises(SpectrumError, match="'b': extracting it failed: cut off"):
        store["b"]


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(SpectrumError, match=f"recipe {RECIPE_ID}, needed is 0123456789abcdef"):
        FeatureStore.open(tmp_path, "0123456789abcdef")
    with pytest.raises(SpectrumError, match="of another|expected"):
        read_shard(tmp_path / shard_name(0), "0123456789abcdef")


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpectrumError, match="no whole feature store"):
        FeatureStore.open(tmp_path)
    (tmp_path / "store.json").write_text('{"schema": 99}')
    with pytest.raises(SpectrumError, match="schema 2"):
        FeatureStore.open(tmp_path)


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    make(tmp_path / "a")
    time.sleep(1.1)         # HDF5's times are in seconds
    make(tmp_path / "b")
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def flip(path: Path, value: bytes) -> None:
    """Flips one bit of `value` where the file has it."""
    data = bytearray(path.read_bytes())
    position = data.find(value)
    assert position >= 0
    data[position] ^= 1
    path.write_bytes(data)


def test_a_flipped_bit_is_an_error_that_names_the_shard(tmp_path: Path) -> None:
    videos = make(tmp_path)
    victim = "vidéo 0003"
    path = tmp_path / shard_name(shard_of(victim, SHARDS))
    flip(path, videos[victim].tobytes())
    store = FeatureStore.open(tmp_path)
    for read in (lambda: store[victim], lambda: store.load([victim])):
        with pytest.raises(SpectrumError, match=path.name):
            read()
    problems = store.verify()
    assert len(problems) == 2
    assert all(path.name in problem for problem in problems)


def test_verify_names_what_is_wrong(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / shard_name(0)).unlink()
    (tmp_path / shard_name(1)).write_bytes(b"no HDF5")
    (tmp_path / "shard-0009.h5").write_bytes(b"")
    content = json.loads((tmp_path / STORE_FILE).read_text())
    del content["sha256_of_the_above"]
    content["recipe"]["frames"] = 5
    content["videos"] += 1
    write_json(tmp_path / STORE_FILE, content)
    text = "\n".join(FeatureStore.open(tmp_path).verify())
    for part in ("shard-0000.h5: missing", "shard-0001.h5: its SHA-256", "shard-0001.h5: not readable",
                 "shard-0009.h5: not listed", "recipe_id does not belong", "do not add up"):
        assert part in text


@pytest.mark.parametrize(("change", "sentence"), [
    ({"ids": ("b", "a")}, "not sorted"),
    ({"offsets": np.array([0, 3, 2])}, "offsets do not rise"),
    ({"rows": np.array([[1.0], [np.nan]], np.float16)}, "rows are not all finite"),
    ({"times": np.array([0.0, np.inf])}, "times are not all finite"),
    ({"times": np.array([0.0])}, "do not fit together"),
    ({"rows": np.ones((2, 3), np.float16)}, "rows of 3 float16, expected 1 float16"),
    ({"ids": ("a", "failed")}, "ids that failed"),
])
def test_verify_tests_the_content(tmp_path: Path, change: dict[str, object], sentence: str) -> None:
    content = {"ids": ("a", "b"), "offsets": np.array([0, 1, 2]), "rows": np.ones((2, 1), np.float16),
               "times": np.array([0.0, 1.0]), "source_sha256": ("0" * 64,) * 2,
               "shares": np.ones(2, np.float32)}
    write_shard(tmp_path / shard_name(0), Shard(**content), RECIPE_ID)
    write_store_file(tmp_path, "audio", RECIPE, 1, {0: (2, 2)}, 1, [{"id": "failed", "path": "p", "reason": "r"}])
    assert FeatureStore.open(tmp_path).verify() == []
    write_shard(tmp_path / shard_name(0), Shard(**(content | change)), RECIPE_ID)
    problems = FeatureStore.open(tmp_path).verify()
    assert any(sentence in problem for problem in problems)


def test_verify_finds_a_video_in_the_wrong_shard(tmp_path: Path) -> None:
    wrong = 1 - shard_of("a", 2)
    write_shard(tmp_path / shard_name(wrong), Shard(("a",), np.array([0, 1]), np.ones((1, 1), np.float16),
                                                    np.zeros(1), ("0" * 64,), np.ones(1, np.float32)), RECIPE_ID)
    write_store_file(tmp_path, "audio", RECIPE, 1, {wrong: (1, 1)}, 2, [])
    assert any("ids of another shard" in problem for problem in FeatureStore.open(tmp_path).verify())


def test_a_damaged_file_is_named_when_opened(tmp_path: Path) -> None:
    make(tmp_path)
    for number in range(SHARDS):
        (tmp_path / shard_name(number)).write_bytes(b"no HDF5")
    with pytest.raises(SpectrumError, match=r"shard-000\d\.h5: not readable"):
        FeatureStore.open(tmp_path)["vidéo 0001"]


def _child_reads(store: FeatureStore, video_id: str, answers: "multiprocessing.SimpleQueue[bytes]") -> None:
    answers.put(store[video_id].tobytes())


def test_a_forked_child_reads(tmp_path: Path) -> None:
    videos = make(tmp_path)
    store = FeatureStore.open(tmp_path)
    assert np.array_equal(store["vidéo 0003"], videos["vidéo 0003"])
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.SimpleQueue[bytes] = context.SimpleQueue()
    child = context.Process(target=_child_reads, args=(store, "vidéo 0003", answers))
    child.start()
    child.join(20)
    assert child.exitcode == 0
    assert answers.get() == videos["vidéo 0003"].tobytes()


@pytest.mark.parametrize(("lines", "columns"), [(1, 1), (1, 700), (64, 512), (700, 3), (5, 40_000)])
@pytest.mark.parametrize("content", ["random", "zeros", "ones"])
def test_our_checksum_is_that_of_hdf5(tmp_path: Path, lines: int, columns: int, content: str) -> None:
    shape = (3, lines, columns)
    words = {"random": np.random.default_rng(lines).integers(0, 1 << 16, shape), "zeros": np.zeros(shape),
             "ones": np.full(shape, 65535)}[content].astype("<u2")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("a", data=words, chunks=(1, lines, columns), fletcher32=True)
        stored = [dataset.id.read_direct_chunk((n, 0, 0))[1][-4:] for n in range(3)]
    assert fletcher32(words).tolist() == [int.from_bytes(four, "little") for four in stored]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_load_reads_only_what_is_asked_for_of_many_chunks(tmp_path: Path, dtype: type) -> None:
    """Chunks of 16 rows in runs of 16 chunks: any subset in any order, twice the same, first and last."""
    random = np.random.default_rng(0)
    lengths = random.integers(0, 9, 400)
    rows = random.normal(size=(int(lengths.sum()), 2048)).astype(dtype)
    ids = tuple(f"v{number:03d}" for number in range(400))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    recipe = {"kind": "test", "dtype": np.dtype(dtype).name}
    write_shard(tmp_path / shard_name(0), Shard(ids, offsets, rows, np.zeros(len(rows)), ("0" * 64,) * 400,
                                                np.ones(400, np.float32)), fingerprint(recipe))
    write_store_file(tmp_path, "appearance", recipe, 2048, {0: (400, len(rows))}, 1, [])
    store = FeatureStore.open(tmp_path)
    for wanted in ([*range(400)], [0], [399, 0], [*random.permutation(400)], [*random.integers(0, 400, 50)], [7, 7, 3]):
        loaded, bounds = store.load([ids[number] for number in wanted])
        assert loaded.dtype == dtype
        expected = [rows[offsets[number]:offsets[number + 1]] for number in wanted]
        assert np.array_equal(loaded, np.concatenate(expected))
        assert np.diff(bounds).tolist() == [len(part) for part in expected]
    with h5py.File(tmp_path / shard_name(0)) as file:       # an ordinary file to everybody else
        assert file["rows"].fletcher32
        assert np.array_equal(file["rows"][:], rows)


def test_a_shard_that_is_replaced_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    videos = make(tmp_path)
    store = FeatureStore.open(tmp_path)
    assert np.array_equal(store["vidéo 0003"], videos["vidéo 0003"])
    path = tmp_path / shard_name(shard_of("vidéo 0003", SHARDS))
    write_shard(path, read_shard(path, RECIPE_ID), RECIPE_ID)
    with pytest.raises(SpectrumError, match="replaced while it was being read"):
        store["vidéo 0003"]


def test_partial_videos_are_listed(tmp_path: Path) -> None:
    shares = np.array([1, 0.25, 0.5], np.float32)
    write_shard(tmp_path / shard_name(0), Shard(("a", "b", "c"), np.arange(4), np.ones((3, 1), np.float16), np.zeros(3),
                                                ("0" * 64,) * 3, shares), RECIPE_ID)
    write_store_file(tmp_path, "audio", RECIPE, 1, {0: (3, 3)}, 1, [])
    store = FeatureStore.open(tmp_path)
    assert store.partial == {"b": 0.25, "c": 0.5}
    assert store.verify() == []
    assert read_shard(tmp_path / shard_name(0), RECIPE_ID).shares.tolist() == shares.tolist()
    content = json.loads((tmp_path / STORE_FILE).read_text())
    del content["sha256_of_the_above"]
    content["partial"] = content["partial"][:1]
    write_json(tmp_path / STORE_FILE, content)
    assert any("partial videos" in problem for problem in FeatureStore.open(tmp_path).verify())


def test_any_flipped_bit_is_found_and_no_wrong_value_is_read(tmp_path: Path) -> None:
    """In values, ids, offsets, times, attributes, HDF5's own structures, and in store.json."""
    videos = make(tmp_path)
    whole = FeatureStore.open(tmp_path)
    times = {video_id: whole.times(video_id) for video_id in videos}
    path = tmp_path / shard_name(shard_of("vidéo 0003", SHARDS))
    data = path.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for bit in random.choice(8 * len(data), 400, replace=False).tolist():
        _write_flipped(path, data, bit)
        store = FeatureStore.open(tmp_path)
        assert any(path.name in problem for problem in store.verify()), f"bit {bit}"
        for video_id, rows in videos.items():
            if shard_of(video_id, SHARDS) == number_of(path.name):
                try:
                    assert np.array_equal(store[video_id], rows), f"bit {bit}"
                    assert np.array_equal(store.times(video_id), times[video_id]), f"bit {bit}"
                except SpectrumError:
                    refused += 1
    assert refused > 100
    path.write_bytes(data)
    index = tmp_path / "store.json"
    data = index.read_bytes()
    for bit in random.choice(8 * len(data), 400, replace=False).tolist():
        _write_flipped(index, data, bit)
        with pytest.raises(SpectrumError, match="store.json"):
            FeatureStore.open(tmp_path)


def _write_flipped(path: Path, data: bytes, bit: int) -> None:
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    path.write_bytes(flipped)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pipeline.store", *map(str, arguments)], capture_output=True,
                          text=True, timeout=60, check=False)


def test_the_command_line(tmp_path: Path) -> None:
    make(tmp_path)
    done = run("verify", tmp_path)
    assert (done.returncode, "whole: 20 videos, 0 of them partial, 2 failed" in done.stdout) == (0, True)
    done = run("ls", tmp_path)
    assert done.returncode == 0
    assert "vidéo 0003\t3 rows\t" in done.stdout
    assert "vidéo 0004\t0 rows\tnone" in done.stdout
    assert "z\tfailed\tbroken" in done.stdout
    assert "  1 failed: broken" in done.stdout
    path = tmp_path / shard_name(2)
    digest = sha256(path)
    path.write_bytes(path.read_bytes()[:-10])
    assert sha256(path) != digest
    done = run("verify", tmp_path)
    assert done.returncode == 1
    assert path.name in done.stdout
    done = run("verify", tmp_path / "none")
    assert done.returncode == 1
    assert "no whole feature store" in done.stderr
    assert "Traceback" not in done.stderr
