"""Making shards in one process: readers decode ahead, batches are encoded, finished videos become shards.

What the readers yield arrives mixed: items of several videos, and an end for each video. A video is finished when its
end is there and all its items are encoded; a shard is published when all its videos are finished or failed.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline import params
from pipeline.encoders.base import Encoder
from pipeline.extraction.batching import Batches, no_rows
from pipeline.extraction.reading import End, Item, Job, Readers
from pipeline.extraction.shards import Shards
from pipeline.store.shard import Video

Build = Callable[[], Encoder]
STEPS = ("decode", "prepare", "encode", "write", "wait")        # whose seconds are counted


@dataclass(frozen=True)
class Task:
    """A shard to be made."""

    number: int
    videos: tuple[tuple[str, Path], ...]        # id, file; sorted by id


@dataclass(frozen=True)
class ShardProgress:
    """How far a shard is: videos that are finished or failed, frames encoded of them, failures."""

    number: int
    videos: int
    frames: int
    failed: int


OnProgress = Callable[[ShardProgress], None]


@dataclass
class ShardReport:
    """What was done for a shard."""

    number: int
    videos: int = 0                 # that the shard holds
    rows: int = 0
    frames: int = 0                 # rows that were encoded now
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("reused", "resumed", "partial", "silent"), 0))
    failures: list[dict[str, str]] = field(default_factory=list)        # {id, path, reason}
    kept: list[dict[str, str]] = field(default_factory=list)            # the same: cannot be read now, old rows stay


def make_shards(tasks: Sequence[Task], encoder: Encoder, shards: Shards, extraction: params.Extraction,
                machine: params.Machine, on_progress: OnProgress) -> tuple[list[ShardReport], dict[str, float]]:
    """Makes the tasks' shards in this process; their reports, and the seconds of each of STEPS.

    Seconds of the readers are summed over their threads.
    """
    with Readers(encoder, extraction, machine) as readers:
        maker = _ShardMaker(encoder, shards, machine.save_interval, on_progress)
        for event in readers.read(maker.jobs(tasks)):
            maker.handle(event)
        maker.finish()
    maker.seconds["wait"] = readers.waited
    return maker.reports, maker.seconds


@dataclass
class _OpenShard:
    """A shard that is being made."""

    report: ShardReport
    left: int                                               # videos that are not finished
    videos: dict[str, Video] = field(default_factory=dict)
    unsaved: dict[str, Video] = field(default_factory=dict)


class _ShardMaker:
    """The state of a process: which videos of which shards are finished."""

    def __init__(self, encoder: Encoder, shards: Shards, save_interval: float, on_progress: OnProgress) -> None:
        self.reports: list[ShardReport] = []
        self.seconds = dict.fromkeys(STEPS, 0.0)
        self._encoder, self._shards, self._on_progress = encoder, shards, on_progress
        self._batches = Batches(encoder)
        self._save_interval, self._saved_at = save_interval, time.monotonic()
        self._open: dict[int, _OpenShard] = {}
        self._ended: list[tuple[End, int]] = []     # videos all read, not all encoded; and the rows they will have

    def jobs(self, tasks: Sequence[Task]) -> Iterator[Job]:
        """Taken by the readers one at a time, so what an earlier run left of a shard is read when its turn comes."""
        for task in tasks:
            self._shards.known.refresh()
            self._open[task.number] = _OpenShard(ShardReport(task.number), len(task.videos))
            for video_id, path in task.videos:
                yield Job(task.number, video_id, path, self._shards.known)

    def handle(self, event: Item | End) -> None:
        if isinstance(event, End):
            self.seconds["decode"] += event.decode
            self.seconds["prepare"] += event.prepare
            self._ended.append((event, len(event.stream.times)))
        elif not self._batches.add(event.stream, event.prepared):
            return          # no new rows
        self._settle()
        self._save()

    def finish(self) -> None:
        """Encodes what is left."""
        self._batches.finish()
        self._settle()
        self.seconds["encode"] = self._batches.seconds

    def _settle(self) -> None:
        """Finishes the videos that have all their rows, and publishes the shards that have all their videos."""
        waiting = []
        for end, rows in self._ended:
            if end.failure is None and end.known is None and len(end.stream.rows) < rows:
                waiting.append((end, rows))
            else:
                self._finish_video(end)
        self._ended = waiting

    def _finish_video(self, end: End) -> None:
        job, shard = end.stream.job, self._open[end.stream.job.number]
        report = shard.report
        shard.left -= 1
        if end.known is None and end.failure is not None:
            report.failures.append({"id": job.video_id, "path": str(job.path), "reason": end.failure})
        else:
            self._add_video(shard, job, end)
        failed = len(report.failures)
        self._on_progress(ShardProgress(job.number, len(shard.videos) + failed, report.frames, failed))
        if shard.left == 0:
            self._publish(job.number)

    def _add_video(self, shard: _OpenShard, job: Job, end: End) -> None:
        video, report = end.known.video if end.known else self._new_video(end), shard.report
        shard.videos[job.video_id] = video
        if end.known is None:
            report.frames += len(video.rows)
            shard.unsaved[job.video_id] = video
        elif end.failure is not None:
            report.kept.append({"id": job.video_id, "path": str(job.path), "reason": end.failure})
        else:
            report.counts["resumed" if end.known.saved else "reused"] += 1
        report.counts["partial"] += video.share < 1
        report.counts["silent"] += len(video.rows) == 0

    def _new_video(self, end: End) -> Video:
        rows = np.stack(end.stream.rows) if end.stream.rows else no_rows(self._encoder)
        return Video(rows, np.array(end.stream.times, np.float64), end.source_sha256, end.share)

    def _publish(self, number: int) -> None:
        started = time.perf_counter()
        shard = self._open.pop(number)
        self._shards.publish(number, shard.videos)
        shard.report.videos = len(shard.videos)
        shard.report.rows = sum(len(video.rows) for video in shard.videos.values())
        self.reports.append(shard.report)
        self.seconds["write"] += time.perf_counter() - started

    def _save(self) -> None:
        """Every save interval, what is finished of shards that are not."""
        if time.monotonic() - self._saved_at < self._save_interval:
            return
        started = time.perf_counter()
        for number, shard in list(self._open.items()):      # the readers' threads open more
            if shard.unsaved:
                self._shards.save(number, shard.unsaved)
                shard.unsaved = {}
        self._saved_at = time.monotonic()
        self.seconds["write"] += time.perf_counter() - started
