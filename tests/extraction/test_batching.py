"""Batches that mix videos, and encoders that work beside the process."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from colours import Colours

from pipeline.encoders.base import Future, encode
from pipeline.encoders.device_transfer import Transfers
from pipeline.extraction.batching import Batches
from pipeline.extraction.reading import Job, Stream

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


class Beside(Colours):
    """Has a batch's rows some time after it is submitted: after so many calls of `done`, or once it is waited for."""

    batch_size = 4

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks
        self.pending = self.most = 0

    def submit(self, batch: np.ndarray) -> Future:
        self.pending += 1
        self.most = max(self.most, self.pending)
        rows, looked = encode(super(), batch), iter(range(self.looks))

        def result() -> np.ndarray:
            self.pending -= 1
            return rows

        return Future(result, lambda: next(looked, None) is None)


def item(number: int) -> np.ndarray:
    return np.full((2, 6), number, np.float32)


@pytest.mark.parametrize("looks", [0, 1, 3, 1000])
def test_rows_come_to_their_videos_in_order_however_late(looks: int) -> None:
    encoder = Beside(looks)
    batches = Batches(encoder)
    streams = [Stream(Job(0, name, Path(), {})) for name in "abc"]
    for number in range(30):
        before = sum(len(stream.rows) for stream in streams)
        new = batches.add(streams[number % 7 % 3], item(number))
        assert new == (sum(len(stream.rows) for stream in streams) > before)
    batches.finish()
    for position, stream in enumerate(streams):
        assert [row[0] for row in stream.rows] == [number for number in range(30) if number % 7 % 3 == position]
        assert all(row.dtype == np.float16 and (row == row[0]).all() for row in stream.rows)
    assert encoder.pending == 0
    assert encoder.most == (1 if looks < 3 else 2)      # a late one is waited for once the next is submitted
    batches.finish()                                    # nothing is left


def test_an_encoder_on_the_cpu_gives_its_rows_with_the_batch() -> None:
    batches, stream = Batches(Colours()), Stream(Job(0, "a", Path(), {}))
    assert [batches.add(stream, item(number)) for number in range(6)] == [False] * 4 + [True, False]
    assert len(stream.rows) == 5
    future = Colours().submit(np.stack([item(1)] * 5))
    assert future.done()
    assert future.result().shape == (5, 12)


def doubled(batch: torch.Tensor) -> torch.Tensor:
    return batch.to(torch.bfloat16) * 2


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_a_batch_may_be_overwritten_once_it_is_submitted(device: str) -> None:
    transfers = Transfers(device)
    batch = np.empty((8, 3, 64, 64), np.uint8)
    futures = []
    for number in range(20):
        batch[:] = number
        futures.append(transfers.submit(batch, doubled))
    rows = [one.result() for one in futures]
    assert all(one.done() for one in futures)
    assert all(found.dtype == np.float32 and (found == 2 * number).all() for number, found in enumerate(rows))


@needs_gpu
def test_a_gpu_gives_the_rows_of_a_cpu(tmp_path: Path) -> None:
    from pipeline.encoders import appearance, open_clip_model
    from pipeline.params import AppearanceEncoder

    section = AppearanceEncoder(name="small", model="ViT-B-32", weights="random", batch_size=8)
    open_clip_model.prepare(section, tmp_path, seed=0)
    frames = np.random.default_rng(0).integers(0, 256, (24, 120, 160, 3), np.uint8)
    found: dict[str, Any] = {}
    for device in ("cpu", "cuda"):
        encoder = appearance.load(section, tmp_path, device)
        items = np.stack([encoder.prepare(frame) for frame in frames])
        futures = [encoder.submit(items[first:first + 8]) for first in range(0, 24, 8)]
        found[device] = np.concatenate([one.result() for one in futures])
    lengths = [np.linalg.norm(rows, axis=1) for rows in found.values()]
    cosine = (found["cpu"] * found["cuda"]).sum(1) / (lengths[0] * lengths[1])
    assert cosine.min() > 0.999
