"""From videos to a feature store: decode → prepare → batch → encode → write, overlapped.

    summary = extract([("clip_7", "clips/7.mp4")], encoder, Path("features/sample/sample-clip"), section)

Threads each drive a decoder process and prepare its frames while the main thread encodes. Videos are taken
in order of shard and id and put back in that order, and every batch has one shape, so the number of workers
changes no byte. A shard is published when its videos are done: a run that was killed continues where it was.
A video that is new or has changed is encoded alone, the rest of its shard is taken over.
"""

import queue
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import params
from pipeline.decoder import Decoder, MediaError
from pipeline.encoders.base import Encoder
from pipeline.errors import SpectrumError
from pipeline.files import fingerprint, read_json, sha256
from pipeline.progress import Bar
from pipeline.store import INDEX, Rows, Shard, read_shard, shard_name, shard_of, write_index, write_shard

_TOLD = 3       # failures that the error message tells


@dataclass(frozen=True)
class _Job:
    video_id: str
    path: Path
    known_sha256: str | None        # of the file whose rows are in the old shard


@dataclass(frozen=True)
class _Read:
    """A video as a worker hands it over; neither items nor failure where its old rows are taken over."""

    source_sha256: str = ""
    times: NDArray[np.float64] | None = None        # [T]
    items: NDArray[np.float32] | None = None        # [T, …], T may be 0
    failure: str | None = None
    decode: float = 0.0         # seconds
    prepare: float = 0.0


def extract(videos: Sequence[tuple[str, str | Path]], encoder: Encoder, folder: Path,
            section: params.Extraction) -> dict[str, Any]:
    """Makes the store of `videos` (id, file) in `folder`; returns what was done: counts, seconds per part.

    A video that cannot be read is listed in the store and the run goes on. Raises SpectrumError at the end,
    with the store written, where more than the share `section.allowed_failures` of the videos failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder)
    by_shard: dict[int, list[tuple[str, Path]]] = {}
    for video_id, path in sorted(videos, key=lambda video: video[0]):
        by_shard.setdefault(shard_of(video_id, section.shards), []).append((video_id, Path(path)))
    old = _OldShards(folder, fingerprint(encoder.recipe))
    tally = _Tally()
    with _Readers(encoder, section) as readers, Bar(f"extract {encoder.name}", len(videos), "videos") as bar:
        reads = readers.read(_Job(video_id, path, old.known_sha256(number, video_id))
                             for number in sorted(by_shard) for video_id, path in by_shard[number])
        batches = _Batches(encoder)
        unwritten: deque[tuple[int, dict[str, _Read]]] = deque()
        for number in sorted(by_shard):
            done: dict[str, _Read] = {}
            for video_id, path in by_shard[number]:
                read = next(reads)
                tally.read(video_id, path, read)
                if read.failure is None:
                    done[video_id] = read
                if read.items is not None:
                    batches.add(read.items)
                bar.advance(1, f"{len(tally.failures)} failed" if tally.failures else "")
            unwritten.append((number, done))
            while unwritten and _count(unwritten[0][1]) <= batches.ready:
                tally.wrote(*_write(*unwritten.popleft(), batches, old))
        batches.finish()
        for number, done in unwritten:
            tally.wrote(*_write(number, done, batches, old))
    tally.failures.sort(key=lambda failure: failure["id"])
    old.remove_others(set(tally.written))
    write_index(folder, encoder.modality, encoder.recipe, encoder.dim, tally.written, section.shards,
                tally.failures)
    _check_failures(tally.failures, len(videos), folder, section.allowed_failures)
    seconds = {"decode": tally.decode, "prepare": tally.prepare, "encode": batches.seconds,
               "write": tally.write, "wait": readers.waited}
    return {
        "videos": len(videos) - len(tally.failures), "rows": sum(rows for _, rows in tally.written.values()),
        "reused": tally.reused, "failed": len(tally.failures), "silent": tally.silent,
        "seconds": {part: round(value, 2) for part, value in seconds.items()},
    }


def encode_one(path: Path, encoder: Encoder, section: params.Extraction) -> tuple[Rows, NDArray[np.float64]]:
    """A single file's rows [T, D] and times [T], as a store has them up to rounding. Raises SpectrumError."""
    with Decoder(section.timeout) as decoder:
        read = _read(encoder, decoder, _Job(str(path), path, None))
    if read.failure is not None or read.items is None or read.times is None:
        raise SpectrumError(f"{path}: {read.failure}")
    parts = [_stored(encoder.encode(read.items[first:first + encoder.batch]))
             for first in range(0, len(read.items), encoder.batch)]
    return np.concatenate([np.empty((0, encoder.dim), np.float16), *parts]), read.times


@dataclass
class _Tally:
    """What was done so far; seconds of the readers are summed over threads."""

    failures: list[dict[str, str]] = field(default_factory=list)
    written: dict[int, tuple[int, int]] = field(default_factory=dict)      # shard: videos, rows
    reused: int = 0
    silent: int = 0
    decode: float = 0.0
    prepare: float = 0.0
    write: float = 0.0

    def read(self, video_id: str, path: Path, read: _Read) -> None:
        self.decode, self.prepare = self.decode + read.decode, self.prepare + read.prepare
        if read.failure is not None:
            self.failures.append({"id": video_id, "path": str(path), "reason": read.failure})
        elif read.items is None:
            self.reused += 1

    def wrote(self, number: int, shard: Shard, seconds: float) -> None:
        self.write += seconds
        if shard.ids:
            self.written[number] = (len(shard.ids), len(shard.rows))
            self.silent += int((np.diff(shard.offsets) == 0).sum())


class _Readers:
    """Threads, each with a decoder process of its own, that read and prepare videos ahead of the encoder."""

    def __init__(self, encoder: Encoder, section: params.Extraction) -> None:
        self.waited = 0.0               # seconds that the encoder had nothing to do
        self._encoder = encoder
        self._count = section.decoders or params.cores()
        self._decoders = [Decoder(section.timeout) for _ in range(self._count)]
        self._idle: queue.SimpleQueue[Decoder] = queue.SimpleQueue()
        for decoder in self._decoders:
            self._idle.put(decoder)
        self._threads = ThreadPoolExecutor(self._count, "reader")

    def __enter__(self) -> "_Readers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for decoder in self._decoders:
            decoder.kill()
        self._threads.shutdown(wait=True)
        for decoder in self._decoders:
            decoder.close()

    def read(self, jobs: Iterable[_Job]) -> Iterator[_Read]:
        """The videos in the order given. What is read ahead, and so the memory, is bounded by the threads."""
        ahead: deque[Future[_Read]] = deque()
        for job in jobs:
            ahead.append(self._threads.submit(self._one, job))
            if len(ahead) > 2 * self._count:
                yield self._result(ahead.popleft())
        while ahead:
            yield self._result(ahead.popleft())

    def _result(self, future: Future[_Read]) -> _Read:
        began = time.perf_counter()
        read = future.result()
        self.waited += time.perf_counter() - began
        return read

    def _one(self, job: _Job) -> _Read:
        decoder = self._idle.get()
        try:
            return _read(self._encoder, decoder, job)
        finally:
            self._idle.put(decoder)


def _read(encoder: Encoder, decoder: Decoder, job: _Job) -> _Read:
    if not job.path.is_file():      # a pipe would hang already while it is hashed
        return _Read(failure="no such file" if not job.path.exists() else "it is no ordinary file")
    decode = prepare = 0.0
    times: list[float] = []
    items: list[NDArray[np.float32]] = []
    try:
        source = sha256(job.path)
        if source == job.known_sha256:
            return _Read(source)
        began = time.perf_counter()
        for moment, item in encoder.read(decoder, job.path):
            read = time.perf_counter()
            times.append(moment)
            items.append(encoder.prepare(item))
            decode, began = decode + read - began, time.perf_counter()
            prepare += began - read
    except MediaError as error:
        return _Read(failure=error.reason)
    except OSError as error:
        return _Read(failure=f"it cannot be read: {error.strerror}")
    stacked = np.stack(items) if items else np.empty((0,), np.float32)
    return _Read(source, np.array(times, np.float64), stacked, None, decode, prepare)


class _Batches:
    """Items of several videos in batches of one shape: how a row is rounded may depend on the shape."""

    def __init__(self, encoder: Encoder) -> None:
        self.seconds = 0.0
        self._encoder = encoder
        self._batch: NDArray[np.float32] | None = None      # [B, …]
        self._filled = 0
        self._rows: list[Rows] = []
        self.ready = 0          # rows that are encoded and not yet taken

    def add(self, items: NDArray[np.float32]) -> None:
        while len(items):
            if self._batch is None:
                self._batch = np.zeros((self._encoder.batch, *items.shape[1:]), np.float32)
            count = min(len(self._batch) - self._filled, len(items))
            self._batch[self._filled:self._filled + count] = items[:count]
            self._filled, items = self._filled + count, items[count:]
            if self._filled == len(self._batch):
                self._encode(self._batch)

    def finish(self) -> None:
        """Encodes what is left, the batch filled up with zeros."""
        if self._batch is not None and self._filled:
            self._batch[self._filled:] = 0
            self._encode(self._batch)

    def take(self, count: int) -> Rows:
        """The first `count` rows, in the order of their items: [count, D]."""
        rows = np.concatenate([np.empty((0, self._encoder.dim), np.float16), *self._rows])
        self._rows, self.ready = [rows[count:]], self.ready - count
        return rows[:count]

    def _encode(self, batch: NDArray[np.float32]) -> None:
        began = time.perf_counter()
        self._rows.append(_stored(self._encoder.encode(batch)[:self._filled]))
        self.ready, self._filled = self.ready + self._filled, 0
        self.seconds += time.perf_counter() - began


def _stored(rows: NDArray[np.float32]) -> Rows:
    """As the store keeps them. Raises SpectrumError where an encoder's values do not fit float16."""
    with np.errstate(over="ignore"):
        stored = rows.astype(np.float16)
    if not np.isfinite(stored).all():
        raise SpectrumError("the encoder gave values that are not finite in float16; are its weights whole?")
    return stored


class _OldShards:
    """What an earlier run left in the folder, as far as it is whole and of the same recipe."""

    def __init__(self, folder: Path, recipe_id: str) -> None:
        self._folder, self._recipe_id = folder, recipe_id
        self._sha256: dict[str, str] = {}       # as store.json has them; a killed run left none
        self._loaded: dict[int, Shard | None] = {}
        if (folder / INDEX).exists():
            self._sha256 = {entry["file"]: entry["sha256"] for entry in read_json(folder / INDEX)["shards"]}

    def get(self, number: int) -> Shard | None:
        if number not in self._loaded:
            path = self._folder / shard_name(number)
            try:
                whole = path.exists() and self._sha256.get(path.name) in (None, sha256(path))
                self._loaded[number] = read_shard(path, self._recipe_id) if whole else None
            except SpectrumError:       # it was damaged, or is of another recipe: made again
                self._loaded[number] = None
        return self._loaded[number]

    def known_sha256(self, number: int, video_id: str) -> str | None:
        shard = self.get(number)
        return dict(zip(shard.ids, shard.source_sha256, strict=True)).get(video_id) if shard else None

    def publish(self, number: int, shard: Shard) -> None:
        """Writes the shard where it is not there already."""
        old = self._loaded.pop(number, None)
        if old is None or (shard.ids, shard.source_sha256) != (old.ids, old.source_sha256):
            # Without its index a store is not complete: nobody reads one of old and new shards.
            (self._folder / INDEX).unlink(missing_ok=True)
            if shard.ids:
                write_shard(self._folder / shard_name(number), shard, self._recipe_id)

    def remove_others(self, numbers: set[int]) -> None:
        names = {shard_name(number) for number in numbers}
        for path in self._folder.glob("shard-*.h5"):
            if path.name not in names:
                (self._folder / INDEX).unlink(missing_ok=True)
                path.unlink()


def _count(done: dict[str, _Read]) -> int:
    """Rows to be encoded for the videos in `done`."""
    return sum(len(read.times) for read in done.values() if read.times is not None)


def _write(number: int, done: dict[str, _Read], batches: _Batches,
           old: _OldShards) -> tuple[int, Shard, float]:
    began = time.perf_counter()
    shard = _assembled(done, batches.take(_count(done)), old.get(number))
    old.publish(number, shard)
    return number, shard, time.perf_counter() - began


def _assembled(done: dict[str, _Read], rows: Rows, old: Shard | None) -> Shard:
    """A shard of the videos in `done` (sorted by id): new rows in the order they were read, and old ones."""
    where = {video_id: position for position, video_id in enumerate(old.ids)} if old else {}
    all_rows, all_times, position = [rows[:0]], [np.empty(0)], 0
    for video_id, read in done.items():
        if read.times is not None:
            all_rows.append(rows[position:position + len(read.times)])
            all_times.append(read.times)
            position += len(read.times)
        elif old is not None:
            part = old.part(where[video_id])
            all_rows.append(old.rows[part])
            all_times.append(old.times[part])
    offsets = np.cumsum([0, *(len(part) for part in all_rows[1:])], dtype=np.int64)
    return Shard(tuple(done), offsets, np.concatenate(all_rows), np.concatenate(all_times),
                 tuple(read.source_sha256 for read in done.values()))


def _check_failures(failures: list[dict[str, str]], videos: int, folder: Path, allowed: float) -> None:
    if len(failures) > allowed * videos:
        told = "; ".join(f"{failure['path']}: {failure['reason']}" for failure in failures[:_TOLD])
        raise SpectrumError(f"{folder}: {len(failures)} of {videos} videos failed, more than "
                            f"extraction.allowed_failures={allowed:g} allows: {told}"
                            + ("; …" if len(failures) > _TOLD else "") + f" (all of them: {folder / INDEX})")


def _remove_stale(folder: Path) -> None:
    """Deletes temporary files that killed processes left (`published` names them by process)."""
    for path in folder.glob(".*.tmp"):
        process = path.name.split(".")[-2]
        if not (process.isdigit() and Path("/proc", process).exists()):
            path.unlink(missing_ok=True)
