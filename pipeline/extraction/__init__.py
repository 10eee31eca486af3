"""From videos to a feature store: decode → prepare → batch → encode → write, overlapped.

    build = partial(appearance.load, section, Path("models/sample/encoder"), "auto")
    summary = extract([("clip_7", "clips/7.mp4")], build, Path("features/sample/sample-clip"),
                      params.extraction, params.cluster)

Threads each drive a decoder process and prepare its frames (reading.py) while this one encodes batches that mix
videos (batching.py) and writes shards (shards.py). A row depends on its frame alone, so neither the number of
workers nor a kill changes a byte: what a killed run had finished is taken over, the rest is encoded. With a cluster
the same is done by several processes, a shard a task (cluster.py).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import params
from pipeline.common.errors import SpectrumError
from pipeline.common.files import fingerprint
from pipeline.common.progress import Bar
from pipeline.encoders.base import Encoder, Recipe
from pipeline.extraction.batching import Batches, encode_all, no_rows
from pipeline.extraction.reading import End, Item, Job, Readers, Video, read_one
from pipeline.extraction.shards import Shards
from pipeline.media.decoder import decoder_recipe
from pipeline.store import INDEX, Rows, shard_of, write_index
from pipeline.store.folder import hashes, only_writer, remove_stale, tidy, told
from pipeline.store.shard import check_id

Build = Callable[[], Encoder]
Told = Callable[[int, int, int, int], None]         # shard, videos that are done, frames among them, failures

_TOLD = 3       # failures that the error message tells
PARTS = ("decode", "prepare", "encode", "write", "wait")


@dataclass(frozen=True)
class Task:
    """A shard to be made."""

    number: int
    videos: tuple[tuple[str, Path], ...]        # id, file; sorted by id


@dataclass
class Receipt:
    """What was done for a shard."""

    number: int
    videos: int = 0                 # that the shard holds
    rows: int = 0
    frames: int = 0                 # rows that were encoded now
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("reused", "resumed", "partial", "silent"), 0))
    failures: list[dict[str, str]] = field(default_factory=list)


def extract(videos: Sequence[tuple[str, str | Path]], build: Build, folder: Path,
            section: params.Extraction, cluster: params.Cluster) -> dict[str, Any]:
    """Makes the store of `videos` (id, file) in `folder`; returns what was done: counts, rates, seconds per part.

    `build` makes the encoder, in each process that needs one: it has to be picklable where there is a cluster. A
    video that cannot be read is listed in the store and the run goes on. Raises SpectrumError at the end, with the
    store written, where more than the share `section.allowed_failures` of the videos failed; and at once where
    another process writes the same store, or the disk is full.
    """
    began = time.perf_counter()
    tasks = _tasks(videos, section.shards)
    with only_writer(folder):
        with told(folder):
            folder.mkdir(parents=True, exist_ok=True)
            remove_stale(folder)
        encoder = build()
        with Bar(f"extract {encoder.name}", len(videos), "videos", "frames") as bar:
            if cluster.scheduler == "none":
                receipts, seconds = make(tasks, encoder, folder, section, hashes(folder), _Progress(bar))
            else:
                from pipeline.extraction.cluster import make_by_workers  # dask, which one machine does without

                receipts, seconds = make_by_workers(tasks, build, encoder, folder, section, cluster, _Progress(bar))
        failures = sorted((failure for receipt in receipts for failure in receipt.failures),
                          key=lambda failure: failure["id"])
        counts = {receipt.number: (receipt.videos, receipt.rows) for receipt in receipts if receipt.videos}
        with told(folder / INDEX):
            tidy(folder, set(counts))
            write_index(folder, encoder.modality, recipe(encoder, section), encoder.dim, counts, section.shards,
                        failures)
    _check_failures(failures, len(videos), folder, section.allowed_failures)
    return _summary(receipts, seconds, time.perf_counter() - began)


def encode_one(path: Path, encoder: Encoder, section: params.Extraction) -> tuple[Rows, NDArray[np.float64]]:
    """A single file's rows [T, D] and times [T], as a store has them up to rounding. Raises SpectrumError."""
    items, times = read_one(path, encoder, section)
    return encode_all(encoder, items), np.array(times, np.float64)


def recipe(encoder: Encoder, section: params.Extraction) -> Recipe:
    """Of the store: the encoder's, with what decodes here."""
    if "decoder" not in encoder.recipe:
        return encoder.recipe
    return {**encoder.recipe, "decoder": decoder_recipe(section.backend)}


def make(tasks: Sequence[Task], encoder: Encoder, folder: Path, section: params.Extraction,
         sha256s: Mapping[str, str], told: Told) -> tuple[list[Receipt], dict[str, float]]:
    """Makes the tasks' shards in this process; their receipts, and the seconds that each part took.

    `sha256s` are those of shards that an earlier run finished. Seconds of the readers are summed over threads.
    """
    shards = Shards(folder, fingerprint(recipe(encoder, section)), no_rows(encoder), sha256s)
    with Readers(encoder, section) as readers:
        maker = _Maker(encoder, shards, section.save_every, told)
        for event in readers.read(maker.jobs(tasks)):
            maker.take(event)
        maker.finish()
    maker.seconds["wait"] = readers.waited
    return maker.receipts, maker.seconds


class _Maker:
    """Where a process stands: which videos of which shards are done."""

    def __init__(self, encoder: Encoder, shards: Shards, save_every: float, told: Told) -> None:
        self.receipts: list[Receipt] = []
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._encoder, self._shards, self._told = encoder, shards, told
        self._batches = Batches(encoder)
        self._save_every, self._saved = save_every, time.monotonic()
        self._open: dict[int, _Open] = {}
        self._ended: list[tuple[End, int]] = []     # videos all read, not all encoded; and the rows they will have

    def jobs(self, tasks: Sequence[Task]) -> Iterator[Job]:
        """Taken by the readers, one at a time: what an earlier run left of a shard is read when its turn comes."""
        for task in tasks:
            known = self._shards.known(task.number)
            self._open[task.number] = _Open(Receipt(task.number), len(task.videos))
            for video_id, path in task.videos:
                yield Job(task.number, video_id, path, known)

    def take(self, event: Item | End) -> None:
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
        """Looks which videos have all their rows, and publishes the shards that have all their videos."""
        waiting = []
        for end, rows in self._ended:
            if end.failure is None and end.known is None and len(end.stream.rows) < rows:
                waiting.append((end, rows))
            else:
                self._done(end)
        self._ended = waiting

    def _done(self, end: End) -> None:
        job, shard = end.stream.job, self._open[end.stream.job.number]
        receipt = shard.receipt
        shard.left -= 1
        if end.failure is not None:
            receipt.failures.append({"id": job.video_id, "path": str(job.path), "reason": end.failure})
        else:
            video = end.known or self._video(end)
            shard.videos[job.video_id] = video
            if end.known is None:
                receipt.frames += len(video.rows)
                shard.unsaved[job.video_id] = video
            else:
                receipt.counts["resumed" if self._shards.is_part(job.number, job.video_id) else "reused"] += 1
            receipt.counts["partial"] += video.share < 1
            receipt.counts["silent"] += len(video.rows) == 0
        failed = len(receipt.failures)
        self._told(job.number, len(shard.videos) + failed, receipt.frames, failed)
        if shard.left == 0:
            self._publish(job.number)

    def _video(self, end: End) -> Video:
        rows = np.stack(end.stream.rows) if end.stream.rows else no_rows(self._encoder)
        return Video(rows, np.array(end.stream.times, np.float64), end.source_sha256, end.share)

    def _publish(self, number: int) -> None:
        began = time.perf_counter()
        shard = self._open.pop(number)
        self._shards.publish(number, shard.videos)
        shard.receipt.videos = len(shard.videos)
        shard.receipt.rows = sum(len(video.rows) for video in shard.videos.values())
        self.receipts.append(shard.receipt)
        self.seconds["write"] += time.perf_counter() - began

    def _save(self) -> None:
        """Now and then, what is finished of shards that are not."""
        if time.monotonic() - self._saved < self._save_every:
            return
        began = time.perf_counter()
        for number, shard in list(self._open.items()):      # the readers' threads open more
            if shard.unsaved:
                self._shards.save(number, shard.unsaved)
                shard.unsaved = {}
        self._saved = time.monotonic()
        self.seconds["write"] += time.perf_counter() - began


@dataclass
class _Open:
    """A shard in the making."""

    receipt: Receipt
    left: int                                               # videos that are not done
    videos: dict[str, Video] = field(default_factory=dict)
    unsaved: dict[str, Video] = field(default_factory=dict)


class _Progress:
    """The bar, told by shard: a shard that begins again on another worker is not counted twice."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._done: dict[int, tuple[int, int, int]] = {}

    def __call__(self, number: int, videos: int, frames: int, failed: int) -> None:
        before = self._done.get(number, (0, 0, 0))
        self._done[number] = (videos, frames, failed)
        failures = sum(failed for _, _, failed in self._done.values())
        self._bar.advance(videos - before[0], note=f"{failures} failed" if failures else "", inner=frames - before[1])


def _tasks(videos: Sequence[tuple[str, str | Path]], shards: int) -> list[Task]:
    by_shard: dict[int, dict[str, Path]] = {}
    for video_id, path in videos:
        check_id(video_id)
        shard = by_shard.setdefault(shard_of(video_id, shards), {})
        if video_id in shard:
            raise SpectrumError(f"video {video_id!r} is asked for twice ({shard[video_id]} and {path}); ids are unique")
        shard[video_id] = Path(path)
    return [Task(number, tuple(sorted(shard.items()))) for number, shard in sorted(by_shard.items())]


def _summary(receipts: Sequence[Receipt], seconds: Mapping[str, float], wall: float) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    for receipt in receipts:
        counts.update(receipt.counts)
    failed = sum(len(receipt.failures) for receipt in receipts)
    videos, frames = sum(receipt.videos for receipt in receipts), sum(receipt.frames for receipt in receipts)
    encoded = videos - counts["reused"] - counts["resumed"]
    return {
        "videos": videos, "rows": sum(receipt.rows for receipt in receipts), "frames": frames, "failed": failed,
        **{name: counts[name] for name in ("partial", "silent", "reused", "resumed")},
        "videos_per_second": round(encoded / wall, 2), "frames_per_second": round(frames / wall, 2),
        "seconds": {part: round(seconds[part], 2) for part in PARTS},
    }


def _check_failures(failures: list[dict[str, str]], videos: int, folder: Path, allowed: float) -> None:
    if len(failures) > allowed * videos:
        some = "; ".join(f"{failure['path']}: {failure['reason']}" for failure in failures[:_TOLD])
        raise SpectrumError(f"{folder}: {len(failures)} of {videos} videos failed, more than "
                            f"extraction.allowed_failures={allowed:g} allows: {some}"
                            + ("; …" if len(failures) > _TOLD else "") + f" (all of them: {folder / INDEX})")
