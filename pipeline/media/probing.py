"""What a file holds, by its packets and without decoding: streams, frame times, entry points, what is missing.

Both back ends decode by what is found here.
"""

import math
import os
import stat
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from numpy.typing import NDArray

MAX_SIDE = 16_384               # pixels
MAX_PIXELS = 100_000_000
SAME = 1e-6             # seconds: a frame that begins at the very time asked for is the one, rounding or not

# Containers that hold pictures and sound themselves. Playlists (hls, dash, concat …) and picture sequences
# are left out: they name other files.
FORMATS = ("aac,asf,avi,dv,flac,flv,gif,ivf,m4v,matroska,mov,mp3,mp4,mpeg,mpegts,mpegvideo,mxf,nut,ogg,"
           "rm,wav,webm,h264,hevc")
PROTOCOLS = "file"
_OPTIONS = {"protocol_whitelist": PROTOCOLS, "format_whitelist": FORMATS, "max_pixels": str(MAX_PIXELS)}
_DECLARE_DURATION = {"mov", "matroska", "avi"}      # others estimate it from the bit rate
_SEEKABLE = {"mov", "matroska"}                     # their index is exact; others guess a place in the file
_COUNT = {"avi", "h264", "hevc", "m4v", "mpegvideo"}    # they tell when a frame is read, not when it is shown
_NEVER_HOLLOW = {"h264", "hevc", "mpeg4", "vp8", "vp9", "av1", "aac", "mp3"}   # codecs without a run of zeros
_HOLLOW = bytes(64)
_SILENT = 0.5           # seconds


class Unreadable(Exception):
    """A video that cannot be read; the message is the reason, without the file's name."""


class Empty(Unreadable):
    """There is no such stream, or one is declared and nothing of it is there."""


class Tally:
    """How much of what a file promises could be decoded, and the first reason why not more."""

    def __init__(self) -> None:
        self.share, self.reason = 1.0, ""

    def lost(self, share: float, reason: str) -> None:
        """Of what was there so far only `share` is left."""
        if share < 1.0:
            self.share *= max(share, 0.0)
            self.reason = self.reason or reason


@dataclass(frozen=True)
class Run:
    """Frames that are decoded without a jump between them."""

    key: int | None         # ticks of the keyframe to jump to, None: go on reading
    ticks: list[int]        # of the frames that are wanted, ascending


@dataclass(frozen=True)
class Track:
    """One stream of a file, by its packets. Times are seconds on the file's own clock; ticks are `base` seconds."""

    index: int
    format: str         # of the container, as FFmpeg calls it
    base: float
    start: float        # when the first frame is shown
    last: float         # when the last frame is shown
    end: float          # when it ceases to be
    share: float        # that is there of what the header promises; less than 1 where the file was cut off
    reason: str
    seekable: bool
    distinct: bool      # no two frames begin at once: a frame is known by its time
    counted: bool       # the n-th frame that is decoded is shown at the n-th time, whatever time it says itself
    ticks: NDArray[np.int64]        # [P] when each packet's frame is shown, ascending
    order: NDArray[np.int64]        # [P] the same packets' places in the file, counted in this stream
    keys: NDArray[np.int64]         # [K, 2] of each keyframe, by ticks: ticks, place in the file

    def shown(self, times: list[float]) -> list[int]:
        """Where in `ticks` the frame is that is shown at each time: the last that begins at or before it."""
        begins = self.ticks * self.base
        return [max(bisect_right(begins, time + SAME) - 1, 0) for time in times]

    def begins(self, number: int, told: float) -> float:
        """When the `number`-th decoded frame begins that says `told` of itself (not a number: nothing)."""
        if self.counted or math.isnan(told):
            return float(self.ticks[min(number, len(self.ticks) - 1)]) * self.base
        return told

    def end_at(self, reached: float, tally: Tally) -> None:
        """Decoding ended with the frame that begins at `reached`: that may be silently short of the packets."""
        if self.last - reached > _SILENT and tally.share == self.share:
            tally.lost((reached - self.start) / (self.last - self.start),
                       f"decoding ends at {reached:.2f} s, its packets go on to {self.last:.2f} s")

    def runs(self, places: list[int]) -> Iterator["Run"]:
        """`places` in `ticks`, ascending, in runs: to jump to a keyframe pays where one lies between two frames."""
        run = Run(None, [])
        read = 0                        # how many packets of the file lie before what comes next
        for place in places:
            tick = int(self.ticks[place])
            key = int(np.searchsorted(self.keys[:, 0], tick, "right")) - 1 if self.seekable else -1
            if key >= 0 and self.keys[key, 1] > read:
                if run.ticks:
                    yield run
                run = Run(int(self.keys[key, 0]), [])
            run.ticks.append(tick)
            read = int(self.order[place]) + 1
        if run.ticks:
            yield run


@dataclass(frozen=True)
class Probe:
    """Seconds; pixels as shown, that is after `rotation` (degrees, counterclockwise); frames a second."""

    duration: float
    width: int
    height: int
    rotation: int
    fps: float
    has_sound: bool


def probe(path: str) -> Probe:
    """What the file holds. Raises Unreadable."""
    track = scan_pictures(path)
    with opened(path) as container:
        stream: Any = container.streams[track.index]
        stream.thread_type = "NONE"
        for packet in container.demux(stream):
            try:
                for frame in packet.decode():
                    turned = frame.rotation % 180 != 0
                    width, height = (frame.height, frame.width) if turned else (frame.width, frame.height)
                    return Probe(track.end - track.start, width, height, frame.rotation,
                                 float(stream.average_rate or 0), bool(container.streams.audio))
            except av.FFmpegError:      # a damaged frame: the next one tells as much
                continue
    raise Unreadable("it has no frame that can be decoded")


def scan_pictures(path: str) -> Track:
    """The track of moving pictures to show: one marked as default rather than not, then the largest."""
    still = Disposition.attached_pic | Disposition.timed_thumbnails
    with opened(path) as container:
        streams = [stream for stream in container.streams.video if not stream.disposition & still]
        if not streams:
            raise Unreadable("it has no video stream")
        best = max(streams, key=lambda stream: (bool(stream.disposition & Disposition.default),
                                                stream.codec_context.width * stream.codec_context.height))
        check_size(best.codec_context.width, best.codec_context.height)
        return _scanned(container, best)


def scan_sound(path: str) -> Track:
    """The best sound track. Raises Empty where there is none."""
    with opened(path) as container:
        if not container.streams.audio:
            raise Empty("it has no sound")
        return _scanned(container, container.streams.best("audio") or container.streams.audio[0])


@contextmanager
def opened(path: str) -> Iterator[InputContainer]:
    """The file as a container; whatever FFmpeg says while it is open becomes an Unreadable."""
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
        raise Unreadable(told(error)) from None


def told(error: av.FFmpegError) -> str:
    """An error of FFmpeg in words."""
    place = "while decoding" if "avcodec" in str(error.filename or error) else "while opening or reading it"
    if isinstance(error, av.InvalidDataError):
        return f"no video file of a known format, or damaged ({place}: {error.strerror})"
    return f"FFmpeg refuses it {place}: {error.strerror}"


def check_size(width: int, height: int) -> None:
    """Raises Unreadable where a frame would be too large to be held."""
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise Unreadable(f"its frames of {width}x{height} pixels are larger than the limit of {MAX_SIDE} a "
                         f"side and {MAX_PIXELS // 1_000_000} million in all")


def _scanned(container: InputContainer, stream: Any) -> Track:
    """The packets of a stream, as far as they can be read: what stops the reading cuts the file off."""
    earliest, latest = math.inf, -math.inf      # of all streams
    rows: list[tuple[int, int, bool]] = []      # ticks, duration, keyframe
    error = ""
    kinds = set(container.format.name.split(","))
    counted = bool(_COUNT & kinds)
    try:
        for packet in container.demux():
            pts = packet.dts if counted or packet.pts is None else packet.pts
            if pts is None or packet.size == 0 or not packet.time_base or packet.is_discard or _hollow(packet):
                continue
            begins, lasts = float(pts * packet.time_base), float((packet.duration or 0) * packet.time_base)
            earliest, latest = min(earliest, begins), max(latest, begins + lasts)
            if packet.stream_index == stream.index:
                rows.append((pts, packet.duration or 0, packet.is_keyframe))
    except av.FFmpegError as broken:
        error = told(broken)
    if not rows:
        raise Empty(error or "its stream has no packets")
    share, reason = _there(container, latest - min(earliest, 0.0))
    table = np.array(rows, np.int64)                    # [P, 3]
    order = np.argsort(table[:, 0], kind="stable")      # [P]
    ticks, base = table[order, 0], float(stream.time_base)
    keys = np.stack([ticks, order], 1)[table[order, 2] > 0]         # [K, 2]
    end = float((table[:, 0] + table[:, 1]).max()) * base
    return Track(
        index=stream.index, format=container.format.name.partition(",")[0], base=base, start=float(ticks[0]) * base,
        last=float(ticks[-1]) * base, end=end, share=share, reason=reason or error, seekable=bool(_SEEKABLE & kinds),
        distinct=bool(np.all(np.diff(ticks) > 0)), counted=counted, ticks=ticks, order=order, keys=keys)


def _hollow(packet: Any) -> bool:
    """Whether a packet was never written: a download that stopped leaves zeros in the place it had reserved."""
    return (packet.size >= len(_HOLLOW) and packet.stream.codec_context.name in _NEVER_HOLLOW
            and bytes(memoryview(packet)[:len(_HOLLOW)]) == _HOLLOW)


def _there(container: InputContainer, found: float) -> tuple[float, str]:
    """The header's promise against what is there: FFmpeg takes a file cut in half for a shorter one."""
    kinds = set(container.format.name.split(","))
    if container.duration is None or not _DECLARE_DURATION & kinds:
        return 1.0, ""
    promised = container.duration / av.time_base
    if "avi" in kinds:      # here FFmpeg corrects the duration by the file's size, but not the frame count
        promised = max([promised, *(float(stream.frames / stream.average_rate)
                                    for stream in container.streams.video if stream.average_rate)])
    if found >= promised - max(0.5, 0.02 * promised):
        return 1.0, ""
    return found / promised, f"it is cut off: its header promises {promised:.2f} s, {found:.2f} s are there"
