"""Extraction under way: one writer a store, bounded memory, errors of the encoder, the bar, real clips."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from colours import MACHINE, SECTION, Colours
from test_extraction import extract

from pipeline.common.errors import SpectrumError
from pipeline.common.files import sha256
from pipeline.encoders.base import Future, completed
from pipeline.store.feature_store import FeatureStore


def test_one_writer_a_store(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    store = tmp_path / "store"
    extract(clips, Colours(), store)
    script = ("import sys, time\nfrom pathlib import Path\nfrom pipeline.store.folder import only_writer\n"
              "with only_writer(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)\n")
    holder = subprocess.Popen([sys.executable, "-c", script, store], stdout=subprocess.PIPE,
                              env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(SpectrumError, match=r"store: another process is writing this store \(it holds .*store\.lock"):
        extract(clips, Colours(), store)
    assert FeatureStore.open(store).verify() == []      # readers go on
    extract(clips, Colours(), tmp_path / "other")       # so do writers of other stores
    holder.kill()
    holder.wait()
    holder.stdout.close()
    assert extract(clips, Colours(), store)["reused"] == 9


def test_what_waits_for_the_encoder_is_bounded(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    class Large(Colours):
        waiting = most = 0

        def prepare(self, item: np.ndarray) -> np.ndarray:
            Large.waiting += 1
            Large.most = max(Large.most, Large.waiting)
            return np.full((12, 9_000), item.mean(), np.float32)        # 432 kB

        def submit(self, batch: np.ndarray) -> Future:
            Large.waiting -= len(batch)
            time.sleep(0.05)
            return completed(batch.mean(2))

    extract(clips, Large(), tmp_path, machine=MACHINE.model_copy(update={"buffer_megabytes": 1}))
    # in the buffer, in the threads, in batches
    assert Large.most <= 2 + MACHINE.decoder_processes + 2 * Large.batch_size


def test_an_error_of_the_encoder_reaches_the_caller(tmp_path: Path, clips: list[tuple[str, Path]]) -> None:
    class Wrong(Colours):
        def prepare(self, item: np.ndarray) -> np.ndarray:
            raise ZeroDivisionError("in a reader's thread")

    with pytest.raises(ZeroDivisionError, match="in a reader's thread"):
        extract(clips, Wrong(), tmp_path)
    assert not (tmp_path / "store.json").exists()


def test_the_bar_shows_videos_frames_and_failures(tmp_path: Path, clips: list[tuple[str, Path]],
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    extract([*clips, ("gone", tmp_path / "gone.mp4")], Colours(), tmp_path / "store",
            SECTION.model_copy(update={"allowed_failures": 0.2}))
    shown = capsys.readouterr().err
    assert re.search(r"extract colours: 10/10 videos, [\d.]+ videos/s, [\d.]+ frames/s, 0 s left, 1 failed", shown)


def test_real_clips_end_to_end(tmp_path: Path, real_data: Path) -> None:
    videos = [(path.name, path) for folder in ("clips", "odd") for path in (real_data / folder).iterdir()
              if path.suffix != ".json"]
    summary = extract(videos, Colours(8), tmp_path, SECTION.model_copy(update={"allowed_failures": 0.2}))
    assert summary["videos"] + summary["failed"] == len(videos) == 24
    assert summary["failed"] <= 4
    assert FeatureStore.open(tmp_path).verify() == []
    assert sha256(tmp_path / "store.json")
