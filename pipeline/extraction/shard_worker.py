"""Shards as parts of work, for one process or the workers of a cluster (pipeline/workers).

A worker writes its shards itself and returns reports, no arrays. If it dies, another makes the shard again, and of that
only what no file holds yet (shards.py).
"""

from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline import params
from pipeline.common.files import fingerprint
from pipeline.encoders.base import Encoder
from pipeline.extraction.batching import no_rows
from pipeline.extraction.recipe import recipe
from pipeline.extraction.shard_maker import Build, ShardReport, Task, make_shards
from pipeline.extraction.shards import Shards
from pipeline.workers.engine import Report

Made = tuple[list[ShardReport], dict[str, float]]       # and the seconds of each of STEPS


@dataclass(frozen=True)
class ShardWork:
    """Makes a worker, and with it the encoder."""

    build: Build
    folder: Path
    extraction: params.Extraction
    machine: params.Machine

    def __call__(self) -> "ShardWorker":
        return ShardWorker(self, self.build())


class ShardWorker:
    """Makes shards, several in one go; reports the values of ShardProgress."""

    def __init__(self, work: ShardWork, encoder: Encoder) -> None:
        self._work, self._encoder = work, encoder
        device = getattr(encoder, "device", "cpu").partition(":")[0]        # without: no model, all on the processor
        self.facts: dict[str, Any] = {"recipe": recipe(encoder, work.extraction), "device": device,
                                      "name": encoder.name, "modality": encoder.modality, "dim": encoder.dim}

    @cached_property
    def _shards(self) -> Shards:
        return Shards(self._work.folder, fingerprint(self.facts["recipe"]), no_rows(self._encoder))

    def do(self, part: tuple[Task, ...], report: Report) -> Made:
        return make_shards(part, self._encoder, self._shards, self._work.extraction, self._work.machine,
                           lambda progress: report(astuple(progress)))
