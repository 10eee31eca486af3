"""`make bench-gpu`: everything that it measures runs on the processor, too, at a tiny size."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from media_factory import clip
from project import ROOT

from benchmarks import captioner, gpu
from pipeline.params import AppearanceEncoder

TINY = gpu.Sizes(
    encoder=AppearanceEncoder(name="tiny", model="spectrum-sample", weights="random", num_frames=2, batch_size=4),
    videos=3, batches=2, product=64, captions=300, queries=5, captioned=8, vocabulary=300, rounds=1,
    model=captioner.CARE.model_copy(update={"hidden_size": 32, "num_heads": 2, "feedforward_size": 64,
                                                "universal_words": 20, "embedded_attributes": 4, "max_words": 12}))


def test_every_part_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captioner, "TRAINING", captioner.TRAINING.model_copy(update={"videos_per_batch": 3}))
    for number in range(2):
        clip(tmp_path / f"{number}.mp4", 8, first=10 * number + 1)
    rows = gpu.measure(tmp_path, "cpu", TINY)
    assert [row.what for row in rows] == [
        "decode", "encode, tiny", "encode, of the card's peak", "extract, end to end", "search 300 captions", "train",
        "beam 5", "self-critical"]
    assert all(row.value > 0 for row in rows)
    assert [row.what for row in rows if row.memory_mb > 0] == [
        "encode, tiny", "extract, end to end", "train", "beam 5", "self-critical"]
    table = gpu.table(rows)
    assert len(table.splitlines()) == len(rows) and "times the plain loop" in table and "TFLOP/s" in table


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-m", "benchmarks.gpu", tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 1 and not ended.stdout
    assert ended.stderr == ("bench-gpu needs a GPU, and torch sees none here; `make bench` measures the processor\n")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_the_card_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captioner, "TRAINING", captioner.TRAINING.model_copy(update={"videos_per_batch": 3}))
    clip(tmp_path / "a.mp4", 8)
    assert all(row.value > 0 for row in gpu.measure(tmp_path, "cuda", TINY))
