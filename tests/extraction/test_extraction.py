import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colours import ALONE, MACHINE, SECTION, SHARDS, Colours
from media_factory import clip
from project import SUPPORT

from pipeline import params
from pipeline.common import file_digests
from pipeline.common.errors import SpectrumError
from pipeline.common.files import sha256
from pipeline.encoders import appearance, audio, open_clip_model
from pipeline.encoders.base import Encoder, Future, completed, encode
from pipeline.extraction import reading, run
from pipeline.media.decoder import DecodeStream, Item, Outcome, VideoDecoder
from pipeline.params import AppearanceEncoder, AudioEncoder
from pipeline.store.feature_store import FeatureStore
from pipeline.store.shard import shard_of
from pipeline.store.store_file import FAILED_FILE


def extract(videos: list[tuple[str, Any]], encoder: Encoder, folder: Path,
            section: params.Extraction = SECTION, machine: params.Machine = MACHINE) -> dict[str, Any]:
    return run.extract(videos, lambda: encoder, folder, section, machine, ALONE)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_store_of_all_videos(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    encoder = Colours()
    summary = extract(clips, encoder, tmp_path)
    assert {key: value for key, value in summary.items() if not key.endswith("second") and key != "seconds"} == {
        "videos": 9, "rows": 36, "frames": 36, "failed": 0, "partial": 0, "silent": 0, "reused": 0, "resumed": 0,
        "kept": 0, "kept_videos": []}
    assert summary["videos_per_second"] > 0
    assert summary["frames_per_second"] == pytest.approx(4 * summary["videos_per_second"], rel=0.01)
    assert set(summary["seconds"]) == {"decode", "prepare", "encode", "write", "wait"}
    store = FeatureStore.open(tmp_path)
    assert store.verify() == []
    assert store.ids == [f"v{i}" for i in range(9)]
    with VideoDecoder(30) as decoder:
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
        extract(videos, Colours(), folder, machine=MACHINE.model_copy(update={"decoder_processes": decoders}))
        runs.append(content(folder))
    assert runs[0] == runs[1]
    assert len(runs[0]) == SHARDS + 1


def test_a_second_run_encodes_nothing_and_changes_nothing(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    extract(clips, Colours(), tmp_path)
    before = content(tmp_path)
    inodes = {path.name: path.stat().st_ino for path in tmp_path.glob("shard-*")}
    encoder = Colours()
    summary = extract(clips, encoder, tmp_path)
    assert (summary["reused"], summary["videos"], encoder.encoded) == (9, 9, 0)
    assert content(tmp_path) == before
    assert inodes == {path.name: path.stat().st_ino for path in tmp_path.glob("shard-*")}


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> appearance.OpenClipEncoder:
    """A small real CLIP: a batch's other frames must not change a row's bytes."""
    import open_clip

    folder = tmp_path_factory.mktemp("model")
    (folder / "extraction-tiny.json").write_text(json.dumps({
        "embed_dim": 24,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }))
    open_clip.add_model_config(folder)
    section = AppearanceEncoder(name="tiny", model="extraction-tiny", weights="random", num_frames=4, batch_size=8)
    open_clip_model.prepare(section, folder, seed=0)
    return appearance.load(section, folder, "cpu")


def test_new_and_changed_videos_are_encoded_alone_to_the_same_bytes(
        tmp_path: Path, clips: list[tuple[str, Path]], tiny_clip: appearance.OpenClipEncoder) -> None:
    videos = [(video_id, shutil.copy(path, tmp_path)) for video_id, path in clips]
    extract(videos[:-1], tiny_clip, tmp_path / "store")
    before = content(tmp_path / "store")
    clip(Path(videos[0][1]), 8, first=200)              # changed; the last one is new
    touched = {f"shard-{shard_of(videos[i][0], SHARDS):04d}.h5" for i in (0, -1)}
    summary = extract(videos, tiny_clip, tmp_path / "store")
    assert summary["reused"] == 7
    after = content(tmp_path / "store")
    assert {name for name in after if after[name] != before.get(name)} == touched | {"store.json"}
    extract(videos, tiny_clip, tmp_path / "fresh")
    assert content(tmp_path / "fresh") == after


def test_a_removed_video_leaves_the_store(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    extract(clips, Colours(), tmp_path / "store")
    assert extract(clips[:2], Colours(), tmp_path / "store")["reused"] == 2
    extract(clips[:2], Colours(), tmp_path / "fresh")
    assert content(tmp_path / "store") == content(tmp_path / "fresh")
    assert FeatureStore.open(tmp_path / "store").verify() == []


def test_a_missing_mount_changes_nothing(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    mount, store = tmp_path / "mount", tmp_path / "store"
    mount.mkdir()
    videos = [(video_id, Path(shutil.copy(path, mount))) for video_id, path in clips]
    extract(videos, Colours(), store)
    before = content(store)
    mount.rename(tmp_path / "elsewhere")
    for encoder in (Colours(), Colours(3)):         # of another recipe, too: its rows would replace none
        with pytest.raises(SpectrumError, match="9 of the 9 videos that this store holds are missing") as error:
            extract(videos, encoder, store, SECTION.model_copy(update={"allowed_failures": 1.0}))
        assert "\n" not in str(error.value)
        assert content(store) == before
        mount.mkdir(exist_ok=True)                  # then it is there, but empty
    (store / "store.json").unlink()                 # as a killed run leaves it
    with pytest.raises(SpectrumError, match="9 of the 9 videos that this store holds are missing"):
        extract(videos, Colours(), store)
    mount.rmdir()
    (tmp_path / "elsewhere").rename(mount)
    assert extract(videos, Colours(), store)["reused"] == 9
    assert content(store) == before


def test_a_video_that_is_missing_keeps_its_rows(tmp_path: Path, clips: list[tuple[str, Path]],
                                                capsys: pytest.CaptureFixture[str]) -> None:
    videos = [(video_id, Path(shutil.copy(path, tmp_path))) for video_id, path in clips]
    extract(videos, Colours(), tmp_path / "store")
    rows = FeatureStore.open(tmp_path / "store")["v2"]
    clip(videos[0][1], 8, first=200)                # changed: its shard is written again
    new = [("new", clip(tmp_path / "new.mp4", 8, first=90))]
    extract([*videos, *new], Colours(), tmp_path / "expected")
    for video_id, path in videos:
        if video_id in ("v1", "v2", "v3", "v4"):
            path.unlink()
    summary = extract([*videos, *new], Colours(), tmp_path / "store")
    assert (summary["videos"], summary["failed"], summary["reused"], summary["kept"]) == (10, 0, 4, 4)
    assert summary["kept_videos"] == ["v1", "v2", "v3", "v4"]
    assert summary["frames"] == 8
    shown = capsys.readouterr().err
    assert "4 of 10 videos cannot be read now and keep the rows that the store has of them" in shown
    assert f"{videos[1][1]}: no such file" in shown
    assert content(tmp_path / "store") == content(tmp_path / "expected")
    assert np.array_equal(FeatureStore.open(tmp_path / "store")["v2"], rows)
    with pytest.raises(SpectrumError, match="4 of 10 videos failed"):       # there are no rows of this recipe
        extract([*videos, *new], Colours(3), tmp_path / "store")


def test_a_failing_disk_keeps_the_rows(tmp_path: Path, clips: list[tuple[str, Path]],
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    extract(clips[:6], Colours(), tmp_path)
    rows = FeatureStore.open(tmp_path).load(["v1", "v4"])[0]

    def failing(path: Path) -> str:
        if path.name == "v0.mp4":
            return sha256(path)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(reading, "file_digest", failing)
    summary = extract(clips, Colours(), tmp_path, SECTION.model_copy(update={"allowed_failures": 0.5}))
    assert (summary["videos"], summary["reused"], summary["kept"], summary["failed"]) == (6, 1, 5, 3)
    store = FeatureStore.open(tmp_path)
    assert store.failures["v8"] == "it cannot be read: Input/output error"
    assert np.array_equal(store.load(["v1", "v4"])[0], rows)
    assert store.verify() == []


def test_a_second_stage_reads_no_video_only_to_know_it(tmp_path: Path, clips: list[tuple[str, Path]],
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []

    def count(path: Path) -> str:
        hashed.append(path.name)
        return sha256(path)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(file_digests, "_STEP", -1)
    monkeypatch.setattr(file_digests, "sha256", count)
    for number in (4, 3):           # two encoders, and the first again
        extract(clips, Colours(number), tmp_path / str(number))
    assert extract(clips, Colours(4), tmp_path / "4")["reused"] == 9
    assert sorted(hashed) == [f"v{number}.mp4" for number in range(9)]


def test_another_recipe_is_extracted_anew(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    extract(clips, Colours(4), tmp_path)
    assert extract(clips, Colours(3), tmp_path)["reused"] == 0
    assert FeatureStore.open(tmp_path)["v0"].shape == (3, 12)


def test_a_damaged_shard_is_made_again(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    extract(clips, Colours(), tmp_path)
    before = content(tmp_path)
    victim = tmp_path / "shard-0001.h5"
    data = bytearray(before[victim.name])
    data[-1] ^= 1
    for damaged in (bytes(data), before[victim.name][:-40], b"no HDF5"):
        victim.write_bytes(damaged)
        summary = extract(clips, Colours(), tmp_path)
        assert 0 < summary["reused"] < 9
        assert content(tmp_path) == before


def test_bad_videos_are_listed_and_the_run_goes_on(tmp_path: Path, clips: list[tuple[str, Path]],
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    os.mkfifo(tmp_path / "pipe.mp4")
    bad = [("text", tmp_path / "text.mp4"), ("gone", tmp_path / "gone.mp4"), ("pipe", tmp_path / "pipe.mp4")]
    section = SECTION.model_copy(update={"allowed_failures": 0.25})
    summary = extract([*bad, *clips], Colours(), tmp_path / "store", section)
    assert (summary["videos"], summary["failed"]) == (9, 3)
    index = json.loads((tmp_path / "store" / "store.json").read_text())
    assert [(failure["id"], failure["path"]) for failure in index["failures"]] == [
        (video_id, str(path)) for video_id, path in sorted(bad)]
    store = FeatureStore.open(tmp_path / "store")
    assert store.failures["gone"] == "no such file"
    assert store.failures["pipe"] == "it is no ordinary file"
    assert "no video file" in store.failures["text"]
    assert store.verify() == []
    listed = (tmp_path / "store" / FAILED_FILE).read_text().splitlines()
    assert [line.split("\t") for line in listed] == [
        [failure["id"], failure["path"], failure["reason"]] for failure in index["failures"]]
    shown = capsys.readouterr().err
    assert f"3 of 12 videos failed; {tmp_path / 'store' / FAILED_FILE} has them all, with reasons: " in shown
    extract(clips, Colours(), tmp_path / "store")
    assert not (tmp_path / "store" / FAILED_FILE).exists()
    good = extract(clips, Colours(), tmp_path / "good")
    assert good["rows"] == summary["rows"]
    assert content(tmp_path / "good") == content(tmp_path / "store")


def test_too_many_failures_fail_the_run_after_the_store_is_written(tmp_path: Path,
                                                                   clips: list[tuple[str, Path]]) -> None:
    bad = [(f"bad{i}", tmp_path / f"bad{i}.mp4") for i in range(4)]
    with pytest.raises(SpectrumError, match=r"4 of 13 videos failed; \S+/store/failed\.txt has them all, with reasons: "
                                            r".*bad0\.mp4: no such file; .*; ….*allowed_failures=0 allows"):
        extract([*clips, *bad], Colours(), tmp_path / "store")
    assert len(FeatureStore.open(tmp_path / "store")) == 9
    with pytest.raises(SpectrumError, match="4 of 4"):
        extract(bad, Colours(), tmp_path / "none")
    assert len(FeatureStore.open(tmp_path / "none")) == 0


def test_the_list_of_failed_videos_has_a_line_a_video_whatever_its_name(tmp_path: Path,
                                                                       clips: list[tuple[str, Path]]) -> None:
    bad = [("a\tb\nc", tmp_path / "x\x1b[31m\ny.mp4"), ("d", tmp_path / os.fsdecode(b"caf\xe9.mp4"))]
    extract([*clips, *bad], Colours(), tmp_path / "store", SECTION.model_copy(update={"allowed_failures": 0.5}))
    first, second = (tmp_path / "store" / FAILED_FILE).read_text().splitlines()
    assert first == f"a\\tb\\nc\t{tmp_path}/x\\x1b[31m\\ny.mp4\tno such file"
    assert second == f"d\t{tmp_path}/caf\\udce9.mp4\tno such file"


def test_clips_without_sound_have_no_row(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    encoder = audio.load(AudioEncoder(name="logmel", kind="logmel", num_windows=3, window_seconds=0.2), "cpu")
    summary = extract(clips, encoder, tmp_path)
    assert (summary["videos"], summary["silent"], summary["rows"]) == (9, 5, 12)
    store = FeatureStore.open(tmp_path)
    assert store["v0"].shape == (0, 128)
    assert store["v1"].shape == (3, 128)
    assert store.verify() == []
    silent = extract(clips[:1], encoder, tmp_path / "silent")
    assert (silent["videos"], silent["silent"]) == (1, 1)
    rows, offsets = FeatureStore.open(tmp_path / "silent").load(["v0"])
    assert (rows.shape, offsets.tolist()) == ((0, 128), [0, 0])


def test_any_file_name_and_id(tmp_path: Path, clips: list[tuple[str, Path]],
                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["-y.mp4", "a 'b' \"c\".mp4", "视频 ünï.mp4", "$(true);.mp4", os.fsdecode(b"caf\xe9.mp4")]
    for name in names:
        shutil.copy(clips[0][1], f"./{name}")
    summary = extract([(f"id {name!a}", name) for name in names], Colours(), Path("store"))
    assert summary["videos"] == len(names)
    assert FeatureStore.open(Path("store")).verify() == []


def test_a_single_file_is_encoded_as_in_a_store(tmp_path: Path, clips: list[tuple[str, Path]],
                                                tiny_clip: appearance.OpenClipEncoder) -> None:
    extract(clips, tiny_clip, tmp_path)
    store = FeatureStore.open(tmp_path)
    with VideoDecoder(30) as decoder:
        rows, times = run.encode_one(clips[2][1], tiny_clip, SECTION, decoder)
    assert rows.dtype == np.float16
    assert np.allclose(rows, store["v2"], rtol=2e-3, atol=2e-3)
    assert np.array_equal(times, store.times("v2"))
    encoder = audio.load(AudioEncoder(name="logmel", kind="logmel", num_windows=3, window_seconds=0.2), "cpu")
    with VideoDecoder(30) as decoder:
        assert run.encode_one(clips[0][1], encoder, SECTION, decoder)[0].shape == (0, 128)
        with pytest.raises(SpectrumError, match=r"gone\.mp4: no such file"):
            run.encode_one(tmp_path / "gone.mp4", encoder, SECTION, decoder)


def test_values_that_do_not_fit_are_an_error(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    class Huge(Colours):
        def submit(self, batch: np.ndarray) -> Future:
            return completed(encode(super(), batch) * 1e9)

    started = time.monotonic()
    with pytest.raises(SpectrumError, match="not finite"):
        extract(clips, Huge(), tmp_path)
    assert time.monotonic() - started < 20
    assert not (tmp_path / "store.json").exists()


def test_temporary_files_of_killed_processes_are_removed(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    (tmp_path / ".shard-0000.h5.0123456789ab.tmp").write_bytes(b"half")
    extract(clips[:1], Colours(), tmp_path)
    assert list(tmp_path.glob(".*")) == []


def test_a_killed_run_continues_to_the_same_bytes(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    extract(clips, Colours(), tmp_path / "undisturbed")
    store = tmp_path / "store"
    script = ("import os, signal, sys\nfrom pathlib import Path\nfrom pipeline.extraction.run import extract\n"
              "from colours import ALONE, MACHINE, SECTION, Colours\n"
              "videos = [(path.stem, path) for path in sorted(Path(sys.argv[1]).glob('v*.mp4'))]\n"
              "store, shards = Path(sys.argv[2]), int(sys.argv[3])\n"
              "class Dying(Colours):\n"
              "    def submit(self, batch):\n"
              "        if len(list(store.glob('shard-*'))) >= shards:\n"
              "            os.kill(os.getpid(), signal.SIGKILL)\n"
              "        return super().submit(batch)\n"
              "extract(videos, Dying, store, SECTION, MACHINE, ALONE)\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])}
    for shards in (1, 2):
        run = subprocess.run([sys.executable, "-c", script, clips[0][1].parent, store, str(shards)], env=environment,
                             check=False)
        assert run.returncode == -signal.SIGKILL
        assert shards <= len(list(store.glob("shard-*"))) < SHARDS
        with pytest.raises(SpectrumError, match="no whole feature store"):
            FeatureStore.open(store)
    kept = {path.name: path.stat().st_ino for path in store.glob("shard-*")}
    summary = extract(clips, Colours(), store)
    assert 0 < summary["reused"] < 9
    assert content(store) == content(tmp_path / "undisturbed")
    assert all((store / name).stat().st_ino == inode for name, inode in kept.items())


def test_an_error_of_the_file_system_at_a_path_costs_its_video_alone(tmp_path: Path,
                                                                 clips: list[tuple[str, Path]]) -> None:
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    (tmp_path / "dangling.mp4").symlink_to("/nowhere.mp4")
    not_utf8 = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    not_utf8.write_text("no video")
    bad = {"loop": tmp_path / "loop.mp4", "dangling": tmp_path / "dangling.mp4", "long": tmp_path / ("a" * 300),
           "inside": clips[0][1] / "x.mp4", "NUL": "a\0b.mp4", "none": "", "not UTF-8": not_utf8}
    section = SECTION.model_copy(update={"allowed_failures": 0.5})
    summary = extract([*bad.items(), *clips], Colours(), tmp_path / "store", section)
    assert (summary["videos"], summary["failed"]) == (9, len(bad))
    store = FeatureStore.open(tmp_path / "store")
    assert set(store.failures) == set(bad)
    assert "name too long" in store.failures["long"]
    assert {failure.id: failure.path for failure in store.metadata.failures} == {
        video_id: str(Path(path)) for video_id, path in bad.items()}
    assert store.verify() == []


@pytest.mark.parametrize("video_id", ["", "a\0", "caf\udce9"])
def test_an_id_that_no_shard_can_keep_is_refused(tmp_path: Path, clips: list[tuple[str, Path]], video_id: str) -> None:
    with pytest.raises(SpectrumError, match="that is no id"):
        extract([*clips, (video_id, clips[0][1])], Colours(), tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_two_ids_may_name_one_file_but_one_id_not_two(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    path = clips[0][1]
    assert extract([("a", path), ("../x", path)], Colours(), tmp_path / "store")["videos"] == 2
    store = FeatureStore.open(tmp_path / "store")
    assert np.array_equal(store["a"], store["../x"])
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.is_dir()) == ["store"]
    with pytest.raises(SpectrumError, match="'a' is listed twice"):
        extract([("a", path), ("a", clips[1][1])], Colours(), tmp_path / "store")


class Cut(Colours):
    """Of v1 it can decode 70 %, of v2 30 %."""

    def read(self, decoder: VideoDecoder, path: Path) -> DecodeStream:
        return DecodeStream(self._cut(super().read(decoder, path), {"v1": 0.7, "v2": 0.3}.get(path.stem, 1.0)))

    def _cut(self, reading: DecodeStream, share: float) -> Generator[Item, None, Outcome]:
        yield from reading
        return share, "cut off" if share < 1 else ""


def test_what_is_decoded_in_part_is_kept_and_listed_or_failed(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    section = SECTION.model_copy(update={"allowed_failures": 0.3})
    summary = extract(clips, Cut(), tmp_path, section)
    assert (summary["videos"], summary["partial"], summary["failed"]) == (8, 1, 1)
    index = json.loads((tmp_path / "store.json").read_text())
    assert index["partial"] == [{"id": "v1", "share": 0.7}]
    assert index["failures"][0]["reason"] == ("only 30% of it could be decoded (cut off), less than "
                                              "extraction.min_decoded_share=0.5")
    strict = section.model_copy(update={"min_decoded_share": 0.8})
    assert (extract(clips, Cut(), tmp_path, strict)["failed"], len(FeatureStore.open(tmp_path))) == (2, 7)
    extract(clips, Cut(), tmp_path / "fresh", strict)
    fresh = content(tmp_path / "fresh")
    assert {name: (tmp_path / name).read_bytes() for name in fresh} == fresh
