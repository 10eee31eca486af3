"""Readers: threads that each drive a decoder process and prepare its items, ahead of the encoder.

    with Readers(encoder, extraction, machine) as readers:
        for event in readers.read(jobs): ...        # Item and End, of several videos mixed

The items of one video come in their order; those of different videos are mixed as they become ready. What waits
for the encoder is bounded in bytes, however long a video is.
"""

import signal
import stat
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from pipeline import params
from pipeline.common.device import cpu_cores
from pipeline.common.errors import SpectrumError
from pipeline.common.file_digests import file_digest
from pipeline.encoders.base import Encoder
from pipeline.media.decoder import DecodeStream, MediaError, VideoDecoder
from pipeline.store.known_rows import Known, KnownRows


@dataclass(frozen=True)
class Job:
    number: int                     # of the shard
    video_id: str
    path: Path
    known: KnownRows | None         # rows that earlier runs left


@dataclass
class Stream:
    """A video that is being read: its times, and its rows as they are encoded."""

    job: Job
    times: list[float] = field(default_factory=list)
    rows: list[Any] = field(default_factory=list)       # T x [D]


@dataclass(frozen=True)
class Item:
    stream: Stream
    prepared: NDArray[Any]


@dataclass(frozen=True)
class End:
    """After a video's last item. `known`: its old rows, which are taken over.

    `failure`: why it is left out, or with `known`, why it cannot be read now and keeps its old rows.
    """

    stream: Stream
    source_sha256: str = ""
    share: float = 1.0
    failure: str | None = None
    known: Known | None = None
    decode: float = 0.0             # seconds
    prepare: float = 0.0


Event = Item | End


class Readers:
    """`machine.decoder_processes` decoder processes, a thread each."""

    def __init__(self, encoder: Encoder, extraction: params.Extraction, machine: params.Machine) -> None:
        self.waited = 0.0           # seconds that the encoder waited for items
        self._encoder, self._min_share = encoder, extraction.min_decoded_share
        self._decoders = [VideoDecoder(machine.decoding_timeout, extraction.decoder)
                          for _ in range(machine.decoder_processes or cpu_cores())]
        self._buffer = _Buffer(machine.buffer_megabytes << 20)
        self._jobs: Iterator[Job] = iter(())
        self._jobs_lock = threading.Lock()
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
        self._threads = [threading.Thread(target=self._work, args=(decoder,), name=f"reader-{number}")
                         for number, decoder in enumerate(self._decoders)]
        for thread in self._threads:
            thread.start()
        left = len(self._threads)
        while left:
            started = time.perf_counter()
            event = self._buffer.get()
            self.waited += time.perf_counter() - started
            if isinstance(event, BaseException):
                raise event
            if event is None:       # a thread has no more jobs
                left -= 1
            else:
                yield event

    def _work(self, decoder: VideoDecoder) -> None:
        try:
            while True:
                with self._jobs_lock:
                    job = next(self._jobs, None)
                if job is None:
                    self._buffer.put(None, 0)
                    return
                self._buffer.put(self._read_video(decoder, job), 0)
        except _Closed:
            return
        except BaseException as error:      # passed to the thread that encodes, which ends the run
            self._buffer.fail(error)

    def _read_video(self, decoder: VideoDecoder, job: Job) -> End:
        try:
            return self._try_video(decoder, Stream(job))
        except MediaError as error:
            if not _was_killed(error):
                return End(Stream(job), failure=error.reason)
        self._buffer.check_open()       # or it was killed because the run ends
        try:        # with a stream of its own: what came of the first try stays in the other
            return self._try_video(decoder, Stream(job))
        except MediaError as error:
            return End(Stream(job), failure=error.reason)

    def _try_video(self, decoder: VideoDecoder, stream: Stream) -> End:
        """Raises MediaError where its decoder fails."""
        path, rows = stream.job.path, stream.job.known
        if problem := file_problem(path):
            return End(stream, failure=problem, known=self._enough(rows.of_id(stream.job.video_id) if rows else None))
        try:
            if not stat.S_ISREG(path.stat().st_mode):       # a pipe would hang already while it is hashed
                return End(stream, failure="it is no ordinary file")
            source = file_digest(path)
        except OSError as error:
            return End(stream, failure=_unreadable(error),
                       known=self._enough(rows.of_id(stream.job.video_id) if rows else None))
        if known := self._enough(rows.of_file(source) if rows else None):
            return End(stream, source, known.video.share, known=known)
        return self._decoded(decoder, stream, source)

    def _enough(self, known: Known | None) -> Known | None:
        """Rows of a video of which enough was decoded."""
        return known if known is not None and known.video.share >= self._min_share else None

    def _decoded(self, decoder: VideoDecoder, stream: Stream, source: str) -> End:
        decode = prepare = 0.0
        started = time.perf_counter()
        items = self._encoder.read(decoder, stream.job.path)
        for moment, item in items:
            read = time.perf_counter()
            stream.times.append(moment)
            prepared = self._encoder.prepare(item)
            decode, prepare = decode + read - started, prepare + time.perf_counter() - read
            self._buffer.put(Item(stream, prepared), prepared.nbytes)
            started = time.perf_counter()
        decode += time.perf_counter() - started
        failure = _too_little(items, self._min_share) or None
        return End(stream, source, items.share, failure, None, decode, prepare)


def file_problem(path: Path) -> str:
    """Why there is no file to be read at `path`; "" where there is one of whatever kind."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):      # ValueError: it holds a NUL
        return "no such file"
    except OSError as error:
        return _unreadable(error)
    return ""


def _unreadable(error: OSError) -> str:
    return f"it cannot be read: {error.strerror}"


def _was_killed(error: MediaError) -> bool:
    """Whether the decoder process was killed from outside, as where memory runs out: a video's own fault ends it with
    another signal."""
    return signal.SIGKILL.name in error.reason


def read_one(path: Path, encoder: Encoder, extraction: params.Extraction,
             decoder: VideoDecoder) -> tuple[list[NDArray[Any]], list[float]]:
    """A single file's prepared items and their times. Raises SpectrumError."""
    if problem := file_problem(path):
        raise SpectrumError(f"{path}: {problem}")
    try:
        return _read_items(path, encoder, extraction, decoder)
    except MediaError as error:
        if not _was_killed(error):
            raise
    return _read_items(path, encoder, extraction, decoder)


def _read_items(path: Path, encoder: Encoder, extraction: params.Extraction,
                decoder: VideoDecoder) -> tuple[list[NDArray[Any]], list[float]]:
    stream = encoder.read(decoder, path)
    times, items = [], []
    for moment, item in stream:
        times.append(moment)
        items.append(encoder.prepare(item))
    if problem := _too_little(stream, extraction.min_decoded_share):
        raise SpectrumError(f"{path}: {problem}")
    return items, times


def _too_little(stream: DecodeStream, min_share: float) -> str:
    """Why a video that was read to its end counts as failed; "" where enough of it could be decoded."""
    if stream.share >= min_share:
        return ""
    return (f"only {stream.share:.0%} of it could be decoded ({stream.reason}), less than "
            f"extraction.min_decoded_share={min_share:g}")


class _Closed(Exception):
    """The events are not read any more."""


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

    def check_open(self) -> None:
        """Raises _Closed."""
        with self._changed:
            if self._closed:
                raise _Closed

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
