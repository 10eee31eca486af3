"""A decoder process and its parent's side: a video that hangs or crashes a codec costs that video alone.

    with VideoDecoder(timeout=120) as decoder:
        reading = decoder.frames(Path("clip.mp4"), Uniform(8))
        for time, picture in reading: ...
        if reading.share < 1: print(reading.reason)

Messages are JSON headers and raw bytes over pipes (pipeline/media/server.py has the other side).
"""

import fcntl
import json
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import media
from pipeline.common.errors import SpectrumError
from pipeline.media import Backend, Probe
from pipeline.media.sampling import Sampling
from pipeline.media.server import HEADER

_PIPE = 1 << 20         # bytes: with the usual 64 KB a frame takes many switches of processes, 15 % of the time
_START = 120.0          # seconds that the process may take to be ready: its libraries may lie on a slow disk

Item = tuple[float, NDArray[Any]]
Outcome = tuple[float, str]     # share that could be decoded, why not more


class MediaError(SpectrumError):
    """A video that cannot be read. `reason`: why, without the file's name."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason


class DecoderError(SpectrumError):
    """The decoder process itself cannot run: no fault of the video."""


class DecodeStream(Iterator[Item]):
    """What comes of a video, item by item: (seconds, array). Raises MediaError.

    Once it is exhausted, `share` is how much of the video could be decoded (1.0: it is whole) and `reason` why not
    more ("" where it is whole). Before that `share` is not a number.
    """

    def __init__(self, items: Generator[Item, None, Outcome]) -> None:
        self.share, self.reason = math.nan, ""
        self._items = items

    @classmethod
    def empty(cls) -> "DecodeStream":
        """Of a video that lacks what was asked for: no items, and whole."""
        return cls(_no_items())

    def __next__(self) -> Item:
        try:
            return next(self._items)
        except StopIteration as end:
            if end.value is not None:
                self.share, self.reason = end.value
            raise

    def close(self) -> None:
        """Leaves early: what is not read yet is given up."""
        self._items.close()


def _no_items() -> Generator[Item, None, Outcome]:
    yield from ()
    return 1.0, ""


def decoder_recipe(name: Backend = "pyav") -> dict[str, str]:
    """What decodes, for the recipe: another version may round another way. Raises SpectrumError without ffmpeg."""
    return media.recipe(name)


class VideoDecoder:
    """One decoder process, started when first needed and again after a crash. Not for two threads at a time.

    `timeout` is the time a video may keep its reader waiting, in seconds; what the reader itself takes
    between two items is not counted. The process ends with its parent, however that ends.
    """

    def __init__(self, timeout: float, backend: Backend = "pyav") -> None:
        self.timeout, self.backend = timeout, backend
        self._process: subprocess.Popen[bytes] | None = None
        self._left, self._path = timeout, ""
        self._ready: subprocess.Popen[bytes] | None = None      # the process, once it has said so
        self._part: tuple[float, float] | None = None

    def __enter__(self) -> "VideoDecoder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def kill(self) -> None:
        """Ends the process from any thread: the one that reads from it gets a MediaError."""
        process = self._process
        if process is not None:
            _kill(process)

    def close(self) -> None:
        if self._process is not None:
            _kill(self._process)
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None

    def start(self) -> None:
        """Starts the process without waiting for it, so that it gets ready beside what the caller does."""
        if self._process is None:
            self._process = _new_process()

    @contextmanager
    def reading_part(self, start: float, end: float) -> Iterator[None]:
        """Within, frames and sound come of this part of a video alone; seconds from its beginning."""
        self._part = start, end
        try:
            yield
        finally:
            self._part = None

    def cuts(self, path: Path, start: float, end: float) -> list[float]:
        """When scenes change between `start` and `end`, in seconds from the video's beginning. Raises MediaError."""
        return [time for time, _ in self._reading({"do": "cuts", "path": str(path), "start": start, "end": end})]

    def probe(self, path: Path) -> Probe:
        """As media.probe. Raises MediaError."""
        header, _ = self._message(self._start({"do": "probe", "path": str(path)}))
        return Probe(**header["probe"])

    def frames(self, path: Path, sampling: Sampling) -> DecodeStream:
        """The frames shown at the sampling's times: (time it is shown from, uint8 RGB [H, W, 3])."""
        return self._reading({"do": "frames", "path": str(path), "sampling": sampling.recipe,
                              "backend": self.backend, "part": self._part})

    def sound(self, path: Path, n: int, window: float, rate: int) -> DecodeStream:
        """Windows of mono sound: (time of its centre, float32 [window * rate]); none where it has no sound."""
        return self._reading({"do": "sound", "path": str(path), "n": n, "window": window, "rate": rate,
                              "backend": self.backend, "part": self._part})

    def _reading(self, job: dict[str, Any]) -> DecodeStream:
        return DecodeStream(self._items(job))

    def _items(self, job: dict[str, Any]) -> Generator[Item, None, Outcome]:
        process = self._start(job)
        over = False
        try:
            while True:
                header, body = self._message(process)
                if header["is"] == "end":
                    over = True
                    return header["share"], header["reason"]
                yield header["time"], np.frombuffer(body, header["dtype"]).reshape(header["shape"])
        except MediaError:
            over = True
            raise
        finally:
            if not over:            # the reader left early: what is still in the pipe belongs to no one
                self.close()

    def _start(self, job: dict[str, Any]) -> subprocess.Popen[bytes]:
        """Gives the job to the process, a new one where there is none or it died idle."""
        line = json.dumps(job).encode() + b"\n"
        for _ in range(2):
            process = self._process or _new_process()
            if process is not self._ready:
                self._await(process)
            assert process.stdin is not None
            try:
                process.stdin.write(line)
                process.stdin.flush()
            except BrokenPipeError:
                self.close()
                continue
            self._left, self._path = self.timeout, job["path"]
            return process
        raise DecoderError("the decoder process ends as soon as it has started; is there enough memory?")

    def _await(self, process: subprocess.Popen[bytes]) -> None:
        """Waits until it is ready for jobs. What that takes, and that it does not start, is no video's fault."""
        self._process, self._left = process, _START
        try:
            self._message(process)
        except MediaError:
            raise DecoderError("the decoder process does not start; run `python -m pipeline.media </dev/null` to see "
                               "why") from None
        self._ready = process

    def _message(self, process: subprocess.Popen[bytes]) -> tuple[dict[str, Any], bytearray]:
        (length,) = HEADER.unpack(self._read(process, HEADER.size))
        header: dict[str, Any] = json.loads(self._read(process, length))
        body = self._read(process, header["bytes"])
        if header["is"] == "error":
            raise MediaError(self._path, header["reason"])
        return header, body

    def _read(self, process: subprocess.Popen[bytes], size: int) -> bytearray:
        """Exactly `size` bytes, or a MediaError when the process dies or the video's time is over."""
        assert process.stdout is not None
        descriptor = process.stdout.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        data = bytearray(size)
        view, filled = memoryview(data), 0
        while filled < size:
            began = time.monotonic()
            ready = poll.poll(max(self._left, 0.0) * 1000)
            self._left -= time.monotonic() - began
            if not ready:
                self.close()
                raise MediaError(self._path, f"decoding it took more than {self.timeout:g} s")
            count = os.readv(descriptor, [view[filled:]])
            if count == 0:
                self.close()
                raise MediaError(self._path, f"the decoder process crashed on it ({_cause(process.returncode)})")
            filled += count
        return data


def _cause(status: int) -> str:
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"exit status {status}"


def _new_process() -> subprocess.Popen[bytes]:
    try:
        return _spawn()
    except OSError as error:
        raise DecoderError(f"no decoder process can be started ({error.strerror}); "
                           "lower machine.decoder_processes, or raise this user's limits") from None


def _spawn() -> subprocess.Popen[bytes]:
    # The child finds this package also where the parent found it by its working directory alone.
    root = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen([sys.executable, "-m", "pipeline.media"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, bufsize=0, env={**os.environ, "PYTHONPATH": paths},
                               process_group=0)
    assert process.stdout is not None
    with suppress(AttributeError, OSError):     # not Linux; or more than this user's pipes may hold together
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, _PIPE)
    return process


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and the programs it runs, which are of its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
