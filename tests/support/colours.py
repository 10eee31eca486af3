"""A cheap encoder over real frames, for tests of extraction; light to import in a process of its own."""

import time
from pathlib import Path

import numpy as np

from pipeline.encoders.base import Future, completed
from pipeline.media.decoder import DecodeStream, VideoDecoder
from pipeline.media.sampling import Uniform
from pipeline.params import Cluster, Extraction, Machine

SHARDS = 3
SECTION = Extraction(num_shards=SHARDS)
MACHINE = Machine(decoder_processes=2, decoding_timeout=30)
ALONE = Cluster()


class Colours:
    """Each row is a picture's mean colour in the four quarters, [12]."""

    name, modality, dim, batch_size = "colours", "appearance", 12, 5

    def __init__(self, frames: int = 4, delay: float = 0.0) -> None:
        self.frames, self.delay = frames, delay
        self.recipe = {"kind": "colours", "frames": frames}
        self.encoded = 0

    def read(self, decoder: VideoDecoder, path: Path) -> DecodeStream:
        return decoder.frames(path, Uniform(self.frames))

    def prepare(self, item: np.ndarray) -> np.ndarray:
        item = item.repeat(2, 0).repeat(2, 1)           # a picture of one pixel has quarters too
        height, width, _ = item.shape
        quarters = item.reshape(2, height // 2, 2, width // 2, 3)
        return (quarters.mean((1, 3)) / 255).astype(np.float32)

    def submit(self, batch: np.ndarray) -> Future:
        time.sleep(self.delay)
        assert len(batch) == self.batch_size
        self.encoded += int((batch.reshape(len(batch), -1).any(1)).sum())
        return completed(batch.reshape(len(batch), -1).copy())
