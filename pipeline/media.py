"""Videos: what they hold, which frame is shown when, and their sound.

This runs inside a decoder process (`python -m pipeline.media`, started by pipeline/decoder.py), so that a
file that crashes or hangs a codec costs one video. It imports av and numpy alone, to start fast.

    for time, picture in frames("clip.mp4", 8): ...     # seconds, uint8 RGB [H, W, 3]

What counts are the times of the packets, not the header: variable frame rate, missing durations and
B-frames need no special case. Files are untrusted: only the file itself is read, whatever it says inside.
"""

import json
import math
import os
import queue
import stat
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.container import InputContainer
from av.stream import Disposition, Stream
from numpy.typing import NDArray

MAX_SIDE = 16_384               # pixels
MAX_PIXELS = 100_000_000
_MAX_MEMORY = 8 << 30           # bytes of address space of a decoder process

# Containers that hold pictures and sound themselves. Playlists (hls, dash, concat …) and picture sequences
# are left out: they name other files.
_FORMATS = ("aac,asf,avi,dv,flac,flv,gif,ivf,m4v,matroska,mov,mp3,mp4,mpeg,mpegts,mpegvideo,mxf,nut,ogg,"
            "rm,wav,webm,h264,hevc")
_DECLARE_DURATION = {"mov", "matroska", "avi"}      # others estimate it from the bit rate
_SAME = 1e-6            # seconds: a frame that begins at the very time asked for is the one, rounding or not
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _FORMATS, "max_pixels": str(MAX_PIXELS)}


class Unreadable(Exception):
    """A video that cannot be read; the message is the reason, without the file's name."""


class _Empty(Unreadable):
    """A stream that is declared, but of which nothing is there."""


@dataclass(frozen=True)
class Track:
    """One stream of a file, by its packets: times are seconds on the file's own clock."""

    index: int
    start: float        # when the first frame is shown
    last: float         # when the last frame is shown
    end: float          # when it ceases to be


@dataclass(frozen=True)
class Probe:
    """Seconds; pixels as shown, that is after `rotation` (degrees, counterclockwise); frames a second."""

    duration: float
    width: int
    height: int
    rotation: int
    fps: float
    has_sound: bool


def uniform_times(start: float, end: float, n: int) -> list[float]:
    """The centres of `n` equal parts of [start, end)."""
    return [start + (end - start) * (2 * i + 1) / (2 * n) for i in range(n)]


def probe(path: str) -> Probe:
    """What the file holds. Raises Unreadable."""
    with _opened(path) as container:
        track = _scanned(container, _picture_stream(container))
        has_sound = bool(container.streams.audio)
    with _opened(path) as container:
        stream = _picture_stream(container)
        rate = stream.average_rate
        for frame in container.decode(stream):
            turned = frame.rotation % 180 != 0
            width, height = (frame.height, frame.width) if turned else (frame.width, frame.height)
            return Probe(track.end - track.start, width, height, frame.rotation, float(rate or 0), has_sound)
    raise Unreadable("it has no frame that can be decoded")


def frames(path: str, n: int) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """The frames shown at `n` uniform times, each with the time it is shown from: (seconds, RGB [H, W, 3]).

    The frame shown at t is the last one that begins at or before t; a clip of fewer frames repeats some.
    Raises Unreadable where the file is damaged or ends before the time its header promises.
    """
    with _opened(path) as container:
        track = _scanned(container, _picture_stream(container))
    times = uniform_times(track.start, track.end, n)
    with _opened(path) as container:
        stream: Any = container.streams[track.index]
        stream.thread_type = "NONE"     # one core a decoder process
        shown: tuple[float, Any] | None = None
        picture: NDArray[np.uint8] | None = None        # of `shown`, where it was asked for
        taken = 0
        for frame in container.decode(stream):
            pts = frame.pts if frame.pts is not None else frame.dts
            begins = shown[0] if shown else track.start
            if pts is not None:
                begins = float(pts * stream.time_base)
            while shown is not None and taken < n and times[taken] < begins - _SAME:
                picture = _rgb(shown[1]) if picture is None else picture
                yield shown[0], picture
                taken += 1
            if taken == n:
                return
            shown, picture = (begins, frame), None
        if shown is None:
            raise Unreadable("it has no frame that can be decoded")
        if track.last - shown[0] > 0.5:
            raise Unreadable(f"decoding ends at {shown[0]:.2f} s, its packets go on to {track.last:.2f} s")
        while taken < n:
            picture = _rgb(shown[1]) if picture is None else picture
            yield shown[0], picture
            taken += 1


def sound(path: str, n: int, window: float,
          rate: int = 16_000) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """`n` windows of mono sound, `window` seconds each: (time of its centre, float32 [window * rate]).

    They are centred on uniform times of the sound track and filled with zeros beyond its ends. A file without
    sound gives nothing at all: silence and no sound are not the same. Raises Unreadable as `frames` does.
    """
    with _opened(path) as container:
        if not container.streams.audio:
            return
        try:
            track = _scanned(container, _sound_stream(container))
        except _Empty:
            return
    times = uniform_times(track.start, track.end, n)
    length = round(window * rate)
    windows = np.zeros((n, length), np.float32)
    with _opened(path) as container:
        stream: Any = container.streams[track.index]
        resampler = AudioResampler(format="flt", layout="mono", rate=rate)
        begins = [round((time - track.start) * rate) - length // 2 for time in times]
        position = 0                                    # of the next sample, from the track's start
        for frame in container.decode(stream):
            for part in resampler.resample(frame):
                position += _spread(part.to_ndarray()[0], position, windows, begins)
        for part in resampler.resample(None):
            position += _spread(part.to_ndarray()[0], position, windows, begins)
        if track.last - track.start - position / rate > 0.5:
            raise Unreadable(f"its sound decodes for {position / rate:.2f} s of "
                             f"{track.end - track.start:.2f} s")
    yield from zip(times, windows, strict=True)


def _spread(samples: NDArray[np.float32], position: int, windows: NDArray[np.float32],
            begins: list[int]) -> int:
    """Copies what `samples` (from `position` on) share with each window into it; their number."""
    for row, begin in zip(windows, begins, strict=True):
        first, last = max(position, begin), min(position + len(samples), begin + len(row))
        if first < last:
            row[first - begin:last - begin] = samples[first - position:last - position]
    return len(samples)


@contextmanager
def _opened(path: str) -> Iterator[InputContainer]:
    """The file as a container; whatever FFmpeg says while it is open becomes a Unreadable."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  (a pipe or device would hang)
            raise Unreadable("it is no ordinary file")
        with av.open(f"file:{path}", mode="r", options=_OPTIONS, metadata_errors="replace") as container:
            yield container
    except FileNotFoundError:
        raise Unreadable("no such file") from None
    except PermissionError:
        raise Unreadable("it may not be read (permission denied)") from None
    except av.FFmpegError as error:
        raise Unreadable(_reason(error)) from None


def _reason(error: av.FFmpegError) -> str:
    place = "while decoding" if "avcodec" in str(error.filename or error) else "while opening or reading it"
    if isinstance(error, av.InvalidDataError):
        return f"no video file of a known format, or damaged ({place}: {error.strerror})"
    return f"FFmpeg refuses it {place}: {error.strerror}"


def _picture_stream(container: InputContainer) -> Any:
    """The stream of moving pictures to show: one marked as default rather than not, then the largest."""
    still = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if not stream.disposition & still]
    if not streams:
        raise Unreadable("it has no video stream")
    best = max(streams, key=lambda stream: (bool(stream.disposition & Disposition.default),
                                            stream.codec_context.width * stream.codec_context.height))
    _check_size(best.codec_context.width, best.codec_context.height)
    return best


def _sound_stream(container: InputContainer) -> Stream:
    return container.streams.best("audio") or container.streams.audio[0]


def _check_size(width: int, height: int) -> None:
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise Unreadable(f"its frames of {width}x{height} pixels are larger than the limit of {MAX_SIDE} a "
                         f"side and {MAX_PIXELS // 1_000_000} million in all")


def _scanned(container: InputContainer, stream: Any) -> Track:
    """Times of a stream from its packets, without decoding. Raises Unreadable on a file that was cut off."""
    start = earliest = math.inf
    last = end = latest = -math.inf
    for packet in container.demux():
        pts = packet.pts if packet.pts is not None else packet.dts
        if pts is None or not packet.time_base or packet.is_discard:
            continue
        begins, lasts = float(pts * packet.time_base), float((packet.duration or 0) * packet.time_base)
        earliest, latest = min(earliest, begins), max(latest, begins + lasts)
        if packet.stream_index == stream.index:
            start, last, end = min(start, begins), max(last, begins), max(end, begins + lasts)
    if start > end:
        raise _Empty("its stream has no packets")
    _check_whole(container, latest - min(earliest, 0.0))
    return Track(stream.index, start, last, end)


def _check_whole(container: InputContainer, found: float) -> None:
    """The header's promise against what is there: FFmpeg takes a file cut in half for a shorter one."""
    kinds = set(container.format.name.split(","))
    if container.duration is None or not _DECLARE_DURATION & kinds:
        return
    promised = container.duration / av.time_base
    if "avi" in kinds:      # here FFmpeg corrects the duration by the file's size, but not the frame count
        promised = max([promised, *(float(stream.frames / stream.average_rate)
                                    for stream in container.streams.video if stream.average_rate)])
    if found < promised - max(0.5, 0.02 * promised):
        raise Unreadable(f"it is cut off: its header promises {promised:.2f} s, {found:.2f} s are there")


def _rgb(frame: Any) -> NDArray[np.uint8]:
    """A decoded frame as RGB, turned as its metadata says: [H, W, 3]."""
    _check_size(frame.width, frame.height)
    picture = frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(picture, round(frame.rotation / 90) % 4))


# --- the decoder process: a JSON line a job on stdin; on stdout a header's length, a JSON header, raw bytes

HEADER = struct.Struct("<I")


def _send(out: BinaryIO, header: dict[str, Any], body: bytes = b"") -> None:
    text = json.dumps({**header, "bytes": len(body)}).encode()
    out.write(HEADER.pack(len(text)) + text)
    out.write(body)
    out.flush()


def _answer(out: BinaryIO, job: dict[str, Any]) -> None:
    items: Iterator[tuple[float, Any]]
    try:
        if job["do"] == "probe":
            _send(out, {"is": "end", "probe": asdict(probe(job["path"]))})
            return
        if job["do"] == "frames":
            items = frames(job["path"], job["n"])
        else:
            items = sound(job["path"], job["n"], job["window"], job["rate"])
        for time, array in items:
            _send(out, {"is": "item", "time": time, "shape": array.shape, "dtype": array.dtype.str},
                  array.tobytes())
        _send(out, {"is": "end"})
    except Unreadable as error:
        _send(out, {"is": "error", "reason": str(error)})
    except (MemoryError, ValueError, OSError) as error:
        _send(out, {"is": "error", "reason": f"{type(error).__name__}: {error}"})


def _jobs(lines: BinaryIO, jobs: "queue.SimpleQueue[dict[str, Any]]") -> None:
    """Reads jobs until the parent is gone; then ends the process at once, even inside a codec that hangs."""
    for line in lines:
        jobs.put(json.loads(line))
    os._exit(0)


def _limit_memory() -> None:
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = _MAX_MEMORY if hard == resource.RLIM_INFINITY else min(hard, _MAX_MEMORY)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def serve() -> None:
    """Answers jobs until stdin closes. What libraries print goes to stderr, not into the answers."""
    _limit_memory()
    out = os.fdopen(os.dup(1), "wb", buffering=1 << 20)
    os.dup2(2, 1)
    jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_jobs, args=(sys.stdin.buffer, jobs), daemon=True).start()
    while True:
        _answer(out, jobs.get())


if __name__ == "__main__":
    serve()
