"""Readers: threads that each drive a decoder process and prepare what comes of it, ahead of the encoder.

    with Readers(encoder, section) as readers:
        for event in readers.read(jobs): ...        # Item and End, of several videos mixed

The items of one video come in their order; those of different videos are mixed as they become ready. What waits
for the encoder is bounded in bytes, however long a video is.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import params
from pipeline.common.device import cpu_cores
from pipeline.common.errors import SpectrumError
from pipeline.common.files import sha256
from pipeline.encoders.base import Encoder
from pipeline.media.decoder import MediaError, VideoDecoder
from pipeline.store import Rows


@dataclass(frozen=True)
class Video:
    """What the store keeps of a video."""

    rows: Rows                      # [T, D]
    times: NDArray[np.float64]      # [T] seconds
    source_sha256: str
    share: float                    # that could be decoded


@dataclass(frozen=True)
class Job:
    number: int                     # of the shard
    video_id: str
    path: Path
    known: Mapping[str, Video]      # rows that an earlier run left, by id


@dataclass
class Stream:
    """A video on its way: its times, and its rows as they are encoded."""

    job: Job
    times: list[float] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)       # T x [D]


@dataclass(frozen=True)
class Item:
    stream: Stream
    prepared: NDArray[Any]


@dataclass(frozen=True)
class End:
    """After a video's last item. `failure`: why it is left out; `known`: its old rows are taken over."""

    stream: Stream
    source_sha256: str = ""
    share: float = 1.0
    failure: str | None = None
    known: Video | None = None
    decode: float = 0.0             # seconds
    prepare: float = 0.0


Event = Item | End


class Readers:
    """As many decoder processes as `section.decoders` says, a thread each."""

    def __init__(self, encoder: Encoder, section: params.Extraction) -> None:
        self.waited = 0.0           # seconds that the encoder had nothing to do
        self._encoder, self._least = encoder, section.least_share
        self._decoders = [VideoDecoder(section.timeout, section.backend)
                          for _ in range(section.decoders or cpu_cores())]
        self._buffer = _Buffer(section.memory << 20)
        self._jobs: Iterator[Job] = iter(())
        self._taking = threading.Lock()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Readers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._buffer.close()
        for decoder in self._decoders:
            decoder.kill()
        for thread in self._threads:
            thread.join()
        for decoder in self._decoders:
            decoder.close()

    def read(self, jobs: Iterable[Job]) -> Iterator[Event]:
        """The videos' items and ends, until every job has its end."""
        self._jobs = iter(jobs)
        self._threads = [threading.Thread(target=self._work, args=(decoder,), name=f"reader-{place}")
                         for place, decoder in enumerate(self._decoders)]
        for thread in self._threads:
            thread.start()
        left = len(self._threads)
        while left:
            began = time.perf_counter()
            event = self._buffer.get()
            self.waited += time.perf_counter() - began
            if isinstance(event, BaseException):
                raise event
            if event is None:       # a thread has found no more jobs
                left -= 1
            else:
                yield event

    def _work(self, decoder: VideoDecoder) -> None:
        try:
            while True:
                with self._taking:
                    job = next(self._jobs, None)
                if job is None:
                    self._buffer.put(None, 0)
                    return
                self._buffer.put(self._one(decoder, Stream(job)), 0)
        except _Closed:
            return
        except BaseException as error:      # told to the thread that encodes, which ends the run
            self._buffer.fail(error)

    def _one(self, decoder: VideoDecoder, stream: Stream) -> End:
        path, known = stream.job.path, stream.job.known.get(stream.job.video_id)
        try:
            if not path.is_file():      # a pipe would hang already while it is hashed
                return End(stream, failure="no such file" if not path.exists() else "it is no ordinary file")
            source = sha256(path)
            if known is not None and source == known.source_sha256 and known.share >= self._least:
                return End(stream, source, known.share, known=known)
            return self._decoded(decoder, stream, source)
        except MediaError as error:
            return End(stream, failure=error.reason)
        except OSError as error:
            return End(stream, failure=f"it cannot be read: {error.strerror}")

    def _decoded(self, decoder: VideoDecoder, stream: Stream, source: str) -> End:
        decode = prepare = 0.0
        began = time.perf_counter()
        reading = self._encoder.read(decoder, stream.job.path)
        for moment, item in reading:
            read = time.perf_counter()
            stream.times.append(moment)
            prepared = self._encoder.prepare(item)
            decode, prepare = decode + read - began, prepare + time.perf_counter() - read
            self._buffer.put(Item(stream, prepared), prepared.nbytes)
            began = time.perf_counter()
        decode += time.perf_counter() - began
        failure = None
        if reading.share < self._least:
            failure = (f"only {reading.share:.0%} of it could be decoded ({reading.reason}), less than "
                       f"extraction.min_decoded_share={self._least:g}")
        return End(stream, source, reading.share, failure, None, decode, prepare)


def read_one(path: Path, encoder: Encoder, section: params.Extraction) -> tuple[list[NDArray[Any]], list[float]]:
    """A single file's prepared items and their times. Raises SpectrumError."""
    stream, items = Stream(Job(0, str(path), path, {})), []
    with Readers(encoder, section.model_copy(update={"decoders": 1})) as readers:
        for event in readers.read([stream.job]):
            if isinstance(event, Item):
                items.append(event.prepared)
            elif event.failure is not None:
                raise SpectrumError(f"{path}: {event.failure}")
            else:
                stream = event.stream
    return items, stream.times


class _Closed(Exception):
    """Nobody reads any more."""


class _Buffer:
    """Events from many threads to one, at most `limit` bytes of them; one that is larger passes alone."""

    def __init__(self, limit: int) -> None:
        self._limit, self._held, self._closed = limit, 0, False
        self._events: deque[tuple[Event | BaseException | None, int]] = deque()
        self._changed = threading.Condition()

    def put(self, event: Event | None, size: int) -> None:
        """Waits until there is room. Raises _Closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._held == 0 or self._held + size <= self._limit)
            if self._closed:
                raise _Closed
            self._held += size
            self._events.append((event, size))
            self._changed.notify_all()

    def fail(self, error: BaseException) -> None:
        with self._changed:
            self._events.appendleft((error, 0))
            self._changed.notify_all()

    def get(self) -> Event | BaseException | None:
        with self._changed:
            self._changed.wait_for(lambda: self._events)
            event, size = self._events.popleft()
            self._held -= size
            self._changed.notify_all()
        return event

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
