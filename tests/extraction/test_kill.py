"""What must not cost anything: SIGKILL at any moment, a full disk, a decoder that hangs or dies."""

import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import kill_target
import pytest
from colours import ALONE, MACHINE, SECTION, Colours
from media_factory import clip
from project import SUPPORT

from pipeline.common.errors import SpectrumError
from pipeline.common.files import fingerprint
from pipeline.encoders import audio
from pipeline.extraction.run import extract, recipe
from pipeline.media.decoder import DecodeStream, Item, Outcome, VideoDecoder
from pipeline.store.feature_store import FeatureStore
from pipeline.store.folder import rows_folder
from pipeline.store.shard import read_shard

KILLS = 24


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for i in range(16):
        clip(folder / f"v{i}.mp4", 6, sound=300.0 + 40 * i, size=(32, 32))
    clip(folder / "silent.mp4", 6, size=(32, 32))
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed") / "store"
    kill_target.run(clips, folder)
    return content(folder)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])}


def test_killed_at_many_moments_it_continues_to_the_same_bytes(
        tmp_path: Path, clips: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run is a process of its own, which goes on where the one before it was killed; a store that became whole
    is compared, taken away and made again."""
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    context = multiprocessing.get_context("forkserver")     # which has imported everything: most moments are at work
    context.set_forkserver_preload(["kill_target"])
    draw, kills, states, store = random.Random(0), 0, set(), tmp_path / "store"
    limit = time.monotonic() + 200
    while kills < KILLS:
        assert time.monotonic() < limit
        run = context.Process(target=kill_target.run, args=(clips, store))
        before = files(store)
        run.start()
        if draw.random() < 0.8:     # most moments are at work: what it takes to start is long beside it
            while run.is_alive() and files(store) == before:
                time.sleep(0.002)
        run.join(draw.uniform(0.0, 0.4))
        run.kill()
        run.join()
        if run.exitcode == 0:
            assert content(store) == undisturbed
            shutil.rmtree(store)
            continue
        assert run.exitcode == -signal.SIGKILL
        kills += 1
        states.add(left_by_a_kill(store))
    kill_target.run(clips, store)
    assert content(store) == undisturbed
    assert FeatureStore.open(store).verify() == []
    assert len(states) > 3       # it was not killed at the same moment each time


def files(store: Path) -> list[str]:
    return sorted(str(path) for path in store.rglob("*.h5"))


def left_by_a_kill(store: Path) -> tuple[int, int]:
    """Shards and parts; there is no store to be opened unless it is whole."""
    if not (store / "store.json").exists():
        with pytest.raises(SpectrumError, match="no whole feature store"):
            FeatureStore.open(store)
    else:
        assert FeatureStore.open(store).verify() == []
    return len(list(store.glob("shard-*.h5"))), len(list(rows_folder(store).glob("*/part-*.h5")))


def test_parts_are_trusted_only_as_far_as_they_are_whole(tmp_path: Path, clips: Path) -> None:
    shutil.copytree(clips, tmp_path / "clips")
    store, section = tmp_path / "store", kill_target.SECTION.model_copy(update={"num_shards": 1})
    with pytest.raises(KeyboardInterrupt):
        extract(kill_target.videos(tmp_path / "clips"), Interrupted, store, section, kill_target.MACHINE, ALONE)
    recipe_id = fingerprint(recipe(kill_target.encoder(), section))
    parts = sorted((rows_folder(store) / recipe_id).iterdir())
    kept = [read_shard(part, recipe_id).ids for part in parts]
    assert len(parts) > 3
    data = bytearray(parts[0].read_bytes())
    data[data.index(kept[0][0].encode())] ^= 1
    parts[0].write_bytes(data)                          # one bit flipped
    parts[1].write_bytes(parts[1].read_bytes()[:-9])    # the end is missing
    (rows_folder(store) / recipe_id / "part-0.h5").write_bytes(b"no shard")
    clip(tmp_path / "clips" / f"{kept[2][0]}.mp4", 6, sound=2000.0, size=(32, 32))      # changed since
    summary = kill_target.run(tmp_path / "clips", store, section)
    assert summary["resumed"] == sum(map(len, kept[2:])) - 1
    kill_target.run(tmp_path / "clips", tmp_path / "fresh", section)
    assert content(store) == content(tmp_path / "fresh")


class Interrupted(audio.LogMelEncoder):
    """Ends the run after some batches, as a kill would, in this process."""

    def __init__(self) -> None:
        super().__init__(kill_target.encoder_section())
        self.left = 10

    def submit(self, batch: Any) -> Any:
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt
        return super().submit(batch)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path | None]:
    """A file system of 256 kB, or None where this user may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True)
    yield folder if made.returncode == 0 else None
    if made.returncode == 0:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_reported_and_the_run_continues(tmp_path: Path, clips: Path, undisturbed: dict[str, bytes],
                                                   small_disk: Path | None) -> None:
    if small_disk is None:
        pytest.skip("this user may not mount a tmpfs; the test of a file size limit stands for it")
    filler = small_disk / "filler"
    for room in (0, 4, 8):      # kB that are left
        filler.unlink(missing_ok=True)
        used = sum(path.stat().st_blocks * 512 for path in small_disk.rglob("*") if path.is_file())
        filler.write_bytes(bytes(max(0, (256 << 10) - used - (room << 10))))
        run = subprocess.run([sys.executable, kill_target.__file__, clips, small_disk / "store"], env=environment(),
                             capture_output=True, text=True, timeout=60)
        assert run.returncode == 1, run.stderr
        last = run.stderr.strip().splitlines()[-1]
        assert last.startswith(f"error: {small_disk}/")
        assert last.endswith("it cannot be written (No space left on device); make room or mend the folder's "
                             "permissions and run again: what is finished is kept")
        assert "Traceback" not in run.stderr
    filler.unlink()
    kill_target.run(clips, small_disk / "store")
    assert content(small_disk / "store") == undisturbed


def test_a_file_size_limit_is_reported_and_the_run_continues(tmp_path: Path, clips: Path,
                                                         undisturbed: dict[str, bytes]) -> None:
    """As where a quota ends: the kernel refuses to let a file grow."""
    for size in (100, 3000):
        run = subprocess.run(
            [sys.executable, kill_target.__file__, clips, tmp_path / "store"], env=environment(), timeout=60,
            capture_output=True, text=True, preexec_fn=lambda size=size: resource.setrlimit(
                resource.RLIMIT_FSIZE, (size, size)))
        assert run.returncode == 1, run.stderr
        (shown,) = [line for line in run.stderr.splitlines() if line.startswith("error:")]
        assert "it cannot be written (File too large); make room" in shown
        assert list(tmp_path.rglob("*.tmp")) == []
    kill_target.run(clips, tmp_path / "store")
    assert content(tmp_path / "store") == undisturbed


class Disturbed(Colours):
    """Sends a signal to the decoder process in the middle of some videos: SIGSTOP makes it hang, SIGKILL ends it."""

    def __init__(self, sent: signal.Signals, victims: tuple[str, ...]) -> None:
        super().__init__()
        self.sent, self.victims = sent, victims

    def read(self, decoder: VideoDecoder, path: Path) -> DecodeStream:
        reading = super().read(decoder, path)
        return DecodeStream(self._disturbed(reading, decoder)) if path.stem in self.victims else reading

    def _disturbed(self, reading: DecodeStream, decoder: VideoDecoder) -> Generator[Item, None, Outcome]:
        for number, item in enumerate(reading):
            if number == 1:
                assert decoder._process is not None
                os.kill(decoder._process.pid, self.sent)
            yield item
        return reading.share, reading.reason


class KilledOnce(Disturbed):
    """Kills the decoder process at the first try of a video alone, as where memory runs out for a moment."""

    def __init__(self, *victims: str) -> None:
        super().__init__(signal.SIGKILL, victims)
        self.tried: list[str] = []

    def read(self, decoder: VideoDecoder, path: Path) -> DecodeStream:
        self.tried.append(path.stem)
        if self.tried.count(path.stem) > 1:
            return Colours.read(self, decoder, path)
        return super().read(decoder, path)


def test_a_video_whose_decoder_is_killed_is_tried_once_more(tmp_path: Path) -> None:
    big = {"size": (640, 480)}
    videos = [(f"v{i}", clip(tmp_path / f"v{i}.mp4", 6, first=i, **big)) for i in range(6)]
    encoder = KilledOnce("v1", "v4")
    summary = extract(videos, lambda: encoder, tmp_path / "store", SECTION, MACHINE, ALONE)
    assert (summary["videos"], summary["failed"]) == (6, 0)
    assert sorted(encoder.tried) == ["v0", "v1", "v1", "v2", "v3", "v4", "v4", "v5"]
    extract(videos, Colours, tmp_path / "undisturbed", SECTION, MACHINE, ALONE)
    assert content(tmp_path / "store") == content(tmp_path / "undisturbed")


@pytest.mark.parametrize(("sent", "reason"), [(signal.SIGSTOP, "more than 5 s"), (signal.SIGKILL, "SIGKILL")])
def test_a_decoder_that_hangs_or_dies_costs_its_video_until_the_next_run(
        tmp_path: Path, sent: signal.Signals, reason: str) -> None:
    big = {"size": (640, 480)}      # frames larger than a pipe: the decoder cannot be ahead of the signal
    videos = [(f"v{i}", clip(tmp_path / f"v{i}.mp4", 6, first=i, **big)) for i in range(6)]
    section = SECTION.model_copy(update={"allowed_failures": 0.5})
    machine = MACHINE.model_copy(update={"decoding_timeout": 5.0})
    summary = extract(videos, partial(Disturbed, sent, ("v1", "v4")), tmp_path / "store", section, machine, ALONE)
    assert (summary["videos"], summary["failed"]) == (4, 2)
    store = FeatureStore.open(tmp_path / "store")
    assert sorted(store.failures) == ["v1", "v4"]
    assert reason in store.failures["v1"]
    again = extract(videos, Colours, tmp_path / "store", section, machine, ALONE)
    assert (again["reused"], again["failed"]) == (4, 0)
    extract(videos, Colours, tmp_path / "undisturbed", section, machine, ALONE)
    assert content(tmp_path / "store") == content(tmp_path / "undisturbed")
