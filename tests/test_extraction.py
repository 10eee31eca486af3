import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from colours import SECTION, SHARDS, Colours
from media_factory import clip

from pipeline import extraction
from pipeline.decoder import Decoder
from pipeline.encoders import appearance, audio
from pipeline.errors import SpectrumError
from pipeline.files import sha256
from pipeline.params import AppearanceEncoder, AudioEncoder
from pipeline.store import FeatureStore, shard_of


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("clips")
    return [(f"v{i}", clip(folder / f"v{i}.mp4", 8, first=10 * i + 1, sound=440.0 if i % 2 else None))
            for i in range(9)]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_store_of_all_videos(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    encoder = Colours()
    summary = extraction.extract(clips, encoder, tmp_path, SECTION)
    assert {key: value for key, value in summary.items() if key != "seconds"} == {
        "videos": 9, "rows": 36, "reused": 0, "failed": 0, "silent": 0}
    assert set(summary["seconds"]) == {"decode", "prepare", "encode", "write", "wait"}
    store = FeatureStore.open(tmp_path)
    assert store.verify() == []
    assert store.ids == [f"v{i}" for i in range(9)]
    with Decoder(30) as decoder:
        for video_id, path in clips:
            read = list(encoder.read(decoder, path))
            wanted = np.stack([encoder.prepare(item).reshape(-1) for _, item in read]).astype(np.float16)
            assert np.array_equal(store[video_id], wanted)
            assert store.times(video_id).tolist() == [moment for moment, _ in read]


def test_the_number_of_workers_and_the_batch_change_no_byte(tmp_path: Path,
                                                            clips: list[tuple[str, Path]]) -> None:
    runs = []
    for number, (decoders, videos) in enumerate([(1, clips), (3, clips[::-1])]):
        folder = tmp_path / str(number)
        extraction.extract(videos, Colours(), folder, SECTION.model_copy(update={"decoders": decoders}))
        runs.append(content(folder))
    assert runs[0] == runs[1]
    assert len(runs[0]) == SHARDS + 1


def test_a_second_run_encodes_nothing_and_changes_nothing(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    extraction.extract(clips, Colours(), tmp_path, SECTION)
    before = content(tmp_path)
    inodes = {path.name: path.stat().st_ino for path in tmp_path.glob("shard-*")}
    encoder = Colours()
    summary = extraction.extract(clips, encoder, tmp_path, SECTION)
    assert (summary["reused"], summary["videos"], encoder.encoded) == (9, 9, 0)
    assert content(tmp_path) == before
    assert inodes == {path.name: path.stat().st_ino for path in tmp_path.glob("shard-*")}


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> appearance.Appearance:
    """A small real CLIP: a batch's other frames must not change a row's bytes."""
    import open_clip

    folder = tmp_path_factory.mktemp("model")
    (folder / "extraction-tiny.json").write_text(json.dumps({
        "embed_dim": 24,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }))
    open_clip.add_model_config(folder)
    section = AppearanceEncoder(name="tiny", model="extraction-tiny", weights="random", frames=4, batch=8)
    appearance.prepare(section, folder, seed=0)
    return appearance.load(section, folder, "cpu")


def test_new_and_changed_videos_are_encoded_alone_to_the_same_bytes(
        tmp_path: Path, clips: list[tuple[str, Path]], tiny_clip: appearance.Appearance) -> None:
    videos = [(video_id, shutil.copy(path, tmp_path)) for video_id, path in clips]
    extraction.extract(videos[:-1], tiny_clip, tmp_path / "store", SECTION)
    before = content(tmp_path / "store")
    clip(Path(videos[0][1]), 8, first=200)              # changed; the last one is new
    touched = {f"shard-{shard_of(videos[i][0], SHARDS):04d}.h5" for i in (0, -1)}
    summary = extraction.extract(videos, tiny_clip, tmp_path / "store", SECTION)
    assert summary["reused"] == 7
    after = content(tmp_path / "store")
    assert {name for name in after if after[name] != before.get(name)} == touched | {"store.json"}
    extraction.extract(videos, tiny_clip, tmp_path / "fresh", SECTION)
    assert content(tmp_path / "fresh") == after


def test_a_removed_video_leaves_the_store(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    extraction.extract(clips, Colours(), tmp_path / "store", SECTION)
    assert extraction.extract(clips[:2], Colours(), tmp_path / "store", SECTION)["reused"] == 2
    extraction.extract(clips[:2], Colours(), tmp_path / "fresh", SECTION)
    assert content(tmp_path / "store") == content(tmp_path / "fresh")
    assert FeatureStore.open(tmp_path / "store").verify() == []


def test_another_recipe_is_extracted_anew(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    extraction.extract(clips, Colours(4), tmp_path, SECTION)
    assert extraction.extract(clips, Colours(3), tmp_path, SECTION)["reused"] == 0
    assert FeatureStore.open(tmp_path)["v0"].shape == (3, 12)


def test_a_damaged_shard_is_made_again(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    extraction.extract(clips, Colours(), tmp_path, SECTION)
    before = content(tmp_path)
    victim = tmp_path / "shard-0001.h5"
    data = bytearray(before[victim.name])
    data[-1] ^= 1
    for damaged in (bytes(data), before[victim.name][:-40], b"no HDF5"):
        victim.write_bytes(damaged)
        summary = extraction.extract(clips, Colours(), tmp_path, SECTION)
        assert 0 < summary["reused"] < 9
        assert content(tmp_path) == before


def test_bad_videos_are_listed_and_the_run_goes_on(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    os.mkfifo(tmp_path / "pipe.mp4")
    bad = [("text", tmp_path / "text.mp4"), ("gone", tmp_path / "gone.mp4"), ("pipe", tmp_path / "pipe.mp4")]
    section = SECTION.model_copy(update={"allowed_failures": 0.25})
    summary = extraction.extract([*bad, *clips], Colours(), tmp_path / "store", section)
    assert (summary["videos"], summary["failed"]) == (9, 3)
    index = json.loads((tmp_path / "store" / "store.json").read_text())
    assert [(failure["id"], failure["path"]) for failure in index["failures"]] == [
        (video_id, str(path)) for video_id, path in sorted(bad)]
    store = FeatureStore.open(tmp_path / "store")
    assert store.failures["gone"] == "no such file"
    assert store.failures["pipe"] == "it is no ordinary file"
    assert "no video file" in store.failures["text"]
    assert store.verify() == []
    good = extraction.extract(clips, Colours(), tmp_path / "good", SECTION)
    assert good["rows"] == summary["rows"]
    assert np.array_equal(FeatureStore.open(tmp_path / "good")["v3"], store["v3"])


def test_too_many_failures_fail_the_run_after_the_store_is_written(tmp_path: Path,
                                                                   clips: list[tuple[str, Path]]) -> None:
    bad = [(f"bad{i}", tmp_path / f"bad{i}.mp4") for i in range(4)]
    with pytest.raises(SpectrumError, match=r"4 of 13 videos failed.*bad0\.mp4: no such file; .*; …"):
        extraction.extract([*clips, *bad], Colours(), tmp_path / "store", SECTION)
    assert len(FeatureStore.open(tmp_path / "store")) == 9
    with pytest.raises(SpectrumError, match="4 of 4"):
        extraction.extract(bad, Colours(), tmp_path / "none", SECTION)
    assert len(FeatureStore.open(tmp_path / "none")) == 0


def test_clips_without_sound_have_no_row(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    encoder = audio.load(AudioEncoder(name="logmel", kind="logmel", windows=3, window_seconds=0.2))
    summary = extraction.extract(clips, encoder, tmp_path, SECTION)
    assert (summary["videos"], summary["silent"], summary["rows"]) == (9, 5, 12)
    store = FeatureStore.open(tmp_path)
    assert store["v0"].shape == (0, 128)
    assert store["v1"].shape == (3, 128)
    assert store.verify() == []
    silent = extraction.extract(clips[:1], encoder, tmp_path / "silent", SECTION)
    assert (silent["videos"], silent["silent"]) == (1, 1)
    rows, offsets = FeatureStore.open(tmp_path / "silent").load(["v0"])
    assert (rows.shape, offsets.tolist()) == ((0, 128), [0, 0])


def test_any_file_name_and_id(tmp_path: Path, clips: list[tuple[str, Path]],
                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["-y.mp4", "a 'b' \"c\".mp4", "视频 ünï.mp4", "$(true);.mp4", os.fsdecode(b"caf\xe9.mp4")]
    for name in names:
        shutil.copy(clips[0][1], f"./{name}")
    summary = extraction.extract([(f"id {name!a}", name) for name in names], Colours(), Path("store"), SECTION)
    assert summary["videos"] == len(names)
    assert FeatureStore.open(Path("store")).verify() == []


def test_a_single_file_is_encoded_as_in_a_store(tmp_path: Path, clips: list[tuple[str, Path]],
                                                tiny_clip: appearance.Appearance) -> None:
    extraction.extract(clips, tiny_clip, tmp_path, SECTION)
    store = FeatureStore.open(tmp_path)
    rows, times = extraction.encode_one(clips[2][1], tiny_clip, SECTION)
    assert rows.dtype == np.float16
    assert np.allclose(rows, store["v2"], rtol=2e-3, atol=2e-3)
    assert np.array_equal(times, store.times("v2"))
    encoder = audio.load(AudioEncoder(name="logmel", kind="logmel", windows=3, window_seconds=0.2))
    assert extraction.encode_one(clips[0][1], encoder, SECTION)[0].shape == (0, 128)
    with pytest.raises(SpectrumError, match=r"gone\.mp4: no such file"):
        extraction.encode_one(tmp_path / "gone.mp4", encoder, SECTION)


def test_values_that_do_not_fit_are_an_error(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    class Huge(Colours):
        def encode(self, batch: np.ndarray) -> np.ndarray:
            return super().encode(batch) * 1e9

    began = time.monotonic()
    with pytest.raises(SpectrumError, match="not finite"):
        extraction.extract(clips, Huge(), tmp_path, SECTION)
    assert time.monotonic() - began < 20
    assert not (tmp_path / "store.json").exists()


def test_temporary_files_of_dead_processes_are_removed(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".shard-0000.h5.{dead.pid}.tmp").write_bytes(b"half")
    (tmp_path / f".shard-0000.h5.{os.getppid()}.tmp").write_bytes(b"of a process that runs")
    extraction.extract(clips[:1], Colours(), tmp_path, SECTION)
    assert [path.name for path in tmp_path.glob(".*")] == [f".shard-0000.h5.{os.getppid()}.tmp"]


def test_a_killed_run_continues_to_the_same_bytes(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    extraction.extract(clips, Colours(), tmp_path / "undisturbed", SECTION)
    store = tmp_path / "store"
    script = ("import sys\nfrom pathlib import Path\nfrom pipeline import extraction\n"
              "from colours import SECTION, Colours\n"
              "videos = [(path.stem, path) for path in sorted(Path(sys.argv[1]).glob('v*.mp4'))]\n"
              "extraction.extract(videos, Colours(delay=0.3), Path(sys.argv[2]), SECTION)\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    for shards in (1, 2):
        run = subprocess.Popen([sys.executable, "-c", script, clips[0][1].parent, store], env=environment)
        limit = time.monotonic() + 60
        while len(list(store.glob("shard-*"))) < shards and run.poll() is None and time.monotonic() < limit:
            time.sleep(0.01)
        os.kill(run.pid, signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
        assert shards <= len(list(store.glob("shard-*"))) < SHARDS
        with pytest.raises(SpectrumError, match="no whole feature store"):
            FeatureStore.open(store)
    kept = {path.name: path.stat().st_ino for path in store.glob("shard-*")}
    summary = extraction.extract(clips, Colours(), store, SECTION)
    assert 0 < summary["reused"] < 9
    assert content(store) == content(tmp_path / "undisturbed")
    assert all((store / name).stat().st_ino == inode for name, inode in kept.items())


def test_real_clips_end_to_end(tmp_path: Path, real_data: Path) -> None:
    videos = [(path.name, path) for folder in ("clips", "odd") for path in (real_data / folder).iterdir()
              if path.suffix != ".json"]
    summary = extraction.extract(videos, Colours(8), tmp_path, SECTION.model_copy(update={"allowed_failures": 0.2}))
    assert (summary["videos"], summary["failed"]) == (20, 4)
    assert FeatureStore.open(tmp_path).verify() == []
    assert sha256(tmp_path / "store.json")
