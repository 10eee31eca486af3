"""Opening files and reading their packets without decoding: streams, frame times, entry points, what is missing.

Both back ends decode by the `Track` that is found here.
"""

import math
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from numpy.typing import NDArray

from pipeline.media.orientation import swaps_sides
from pipeline.media.track import CLOCK_RESTART, Empty, Track, Unreadable

MAX_SIDE = 16_384               # pixels
MAX_PIXELS = 100_000_000

# Containers that hold pictures and sound themselves. Playlists (hls, dash, concat …) and picture sequences
# are left out: they name other files.
FORMATS = ("aac,asf,avi,dv,flac,flv,gif,ivf,m4v,matroska,mov,mp3,mp4,mpeg,mpegts,mpegvideo,mxf,nut,ogg,"
           "rm,wav,webm,h264,hevc")
PROTOCOLS = "file"
_OPTIONS = {"protocol_whitelist": PROTOCOLS, "format_whitelist": FORMATS, "max_pixels": str(MAX_PIXELS)}
_DECLARE_DURATION = {"mov", "matroska", "avi"}      # others estimate it from the bit rate
_SEEKABLE = {"mov", "matroska"}                     # their index is exact; others guess a position in the file
_COUNT = {"avi", "h264", "hevc", "m4v", "mpegvideo"}    # they have the time of reading, not that of showing
_NEVER_HOLLOW = {"h264", "hevc", "mpeg4", "vp8", "vp9", "av1", "aac", "mp3"}   # codecs without a run of zeros
_HOLLOW = bytes(64)


@dataclass(frozen=True)
class Probe:
    """Seconds; pixels as shown, that is after `rotation` (degrees, counterclockwise); frames a second."""

    duration: float
    width: int
    height: int
    rotation: int
    fps: float
    has_sound: bool


@dataclass
class _Packets:
    """What the packets of one stream say, in the order of the file; times are ticks."""

    rows: list[tuple[int, int, bool, int]]      # shown at, duration, keyframe, segment of the clock
    earliest: float                             # seconds, of all streams
    latest: float
    error: str                                  # what stopped the reading
    primed: int                                 # samples to leave out at the beginning
    padded: int                                 # samples to leave out at the end
    edited: bool                                # packets are hidden


def probe(path: str) -> Probe:
    """What the file holds. Raises Unreadable."""
    track = scan_pictures(path)
    with opened(path) as container:
        stream: Any = container.streams[track.index]
        stream.thread_type = "NONE"
        for packet in container.demux(stream):
            try:
                for frame in packet.decode():
                    size = (frame.width, frame.height)
                    width, height = reversed(size) if swaps_sides(display_matrix(frame)) else size
                    return Probe(track.end - track.start, width, height, frame.rotation,
                                 float(stream.average_rate or 0), bool(container.streams.audio))
            except av.FFmpegError:      # a damaged frame: the next one will do
                continue
    raise Unreadable("it has no frame that can be decoded")


def display_matrix(frame: Any) -> bytes | None:
    """How a decoded frame asks to be turned and mirrored; None where it does not."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            return bytes(data)
    return None


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
        deep = any(part.bits > 8 for part in best.format.components) if best.format else False
        counted = bool(_COUNT & set(container.format.name.split(",")))
        track = replace(_scan(container, best, counted), deep=deep)
    leading = len(track.keys) and int(track.keys[0, 0]) > int(track.ticks[0])
    return _without_beginning(path, track) if leading or not len(track.keys) else track


def scan_sound(path: str) -> Track:
    """The best sound track. Raises Empty where there is none."""
    with opened(path) as container:
        if not container.streams.audio:
            raise Empty("it has no sound")
        return _scan(container, container.streams.best("audio") or container.streams.audio[0], counted=False)


@contextmanager
def opened(path: str) -> Iterator[InputContainer]:
    """The file as a container; whatever FFmpeg reports while it is open becomes an Unreadable."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  (a pipe or device would hang)
            raise Unreadable("it is no ordinary file")
        with open(path, "rb"):  # noqa: PTH123  (later, FFmpeg's own failures look like a missing permission)
            pass
    except OSError as error:
        raise Unreadable(_describe_os_error(error)) from None
    try:
        with av.open(f"file:{path}", mode="r", options=_OPTIONS, metadata_errors="replace") as container:
            yield container
    except av.FFmpegError as error:
        raise Unreadable(describe_error(error)) from None


def describe_error(error: av.FFmpegError) -> str:
    """An error of FFmpeg in words."""
    moment = "while decoding" if "avcodec" in str(error.filename or error) else "while opening or reading it"
    if isinstance(error, av.InvalidDataError):
        return f"no video file of a known format, or damaged ({moment}: {error.strerror})"
    if isinstance(error, av.error.ArgumentError):
        return ("no container of moving pictures: expected one such as mp4, mkv, webm, avi or MPEG-TS, "
                f"no still picture and no playlist ({moment}: {error.strerror})")
    return f"FFmpeg refuses it {moment}: {error.strerror}"


def check_size(width: int, height: int) -> None:
    """Raises Unreadable where a frame would be too large to be held."""
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise Unreadable(f"its frames of {width}x{height} pixels are larger than the limit of {MAX_SIDE} a "
                         f"side and {MAX_PIXELS // 1_000_000} million in all")


def _describe_os_error(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "it may not be read (permission denied)"
    return f"it cannot be read ({error.strerror})"


def _scan(container: InputContainer, stream: Any, counted: bool) -> Track:
    """The packets of a stream, as far as they can be read: what stops the reading cuts the file off."""
    packets = _read_packets(container, stream, counted)
    if not packets.rows:
        raise Empty(packets.error or "its stream has no packets")
    share, reason = _declared_share(container, packets.earliest, packets.latest)
    table = np.array(packets.rows, np.int64)            # [P, 4]
    base = float(stream.time_base)
    offsets = _offsets(table)                           # [S] ticks
    table[:, 0] += offsets[table[:, 3]]
    order = np.argsort(table[:, 0], kind="stable")      # [P]
    ticks = table[order, 0]
    keys = np.stack([ticks, order], 1)[table[order, 2] > 0]         # [K, 2]
    rate = getattr(stream.codec_context, "sample_rate", 0) or 1
    if packets.padded:          # some containers take it from the last packet's duration, others do not
        latest = int(order[-1])
        table[latest, 1] = max(int(table[latest, 1]), int(np.median(table[:, 1])))
    start = float(ticks[0]) * base + packets.primed / rate
    end = max(float((table[:, 0] + table[:, 1]).max()) * base - packets.padded / rate, start)
    kinds = set(container.format.name.split(","))
    return Track(
        index=stream.index, format=container.format.name.partition(",")[0], base=base, start=start,
        last=float(ticks[-1]) * base, end=end, filled=min(float(table[:, 1].sum()) * base or end - start, end - start),
        share=share, reason=reason or packets.error, seekable=bool(_SEEKABLE & kinds),
        distinct=bool(np.all(np.diff(ticks) > 0)), counted=counted, deep=False,
        primed=packets.primed, padded=packets.padded, edited=packets.edited,
        offsets=tuple(float(offset) * base for offset in offsets), ticks=ticks, order=order, keys=keys)


def _read_packets(container: InputContainer, stream: Any, counted: bool) -> _Packets:
    packets = _Packets([], math.inf, -math.inf, "", 0, 0, edited=False)
    segment, read_at = 0, -math.inf
    try:
        for packet in container.demux():
            pts = packet.dts if counted or packet.pts is None else packet.pts
            packets.edited |= packet.is_discard and packet.stream_index == stream.index
            if pts is None or packet.size == 0 or not packet.time_base or packet.is_discard or _hollow(packet):
                continue
            begins, lasts = float(pts * packet.time_base), float((packet.duration or 0) * packet.time_base)
            packets.earliest, packets.latest = min(packets.earliest, begins), max(packets.latest, begins + lasts)
            if packet.stream_index != stream.index:
                continue
            if packet.dts is not None:
                now = float(packet.dts * packet.time_base)
                segment += now < read_at - CLOCK_RESTART
                read_at = now
            if not packets.rows:
                packets.primed = _opus_priming(stream)
            if packet.has_sidedata("skip_samples"):
                first, last = struct.unpack("<II", bytes(packet.get_sidedata("skip_samples"))[:8])
                packets.primed = packets.primed if packets.rows else first
                packets.padded = last
            packets.rows.append((pts, packet.duration or 0, packet.is_keyframe, segment))
    except av.FFmpegError as broken:
        packets.error = describe_error(broken)
    return packets


def _opus_priming(stream: Any) -> int:
    """Samples that its decoder leaves out at the beginning, even where the container says nothing of them."""
    header = bytes(stream.codec_context.extradata or b"")
    return int.from_bytes(header[10:12], "little") if header.startswith(b"OpusHead") else 0


def _offsets(table: NDArray[np.int64]) -> NDArray[np.int64]:
    """What makes each segment of the clock begin where the one before it ended: ticks to add, [S]."""
    offsets = np.zeros(int(table[-1, 3]) + 1, np.int64)
    for segment in range(1, len(offsets)):
        before, own = table[table[:, 3] == segment - 1], table[table[:, 3] == segment]
        offsets[segment] = (before[:, 0] + before[:, 1]).max() + offsets[segment - 1] - own[:, 0].min()
    return offsets


def _without_beginning(path: str, track: Track) -> Track:
    """The track from its first frame that decodes: a recording may begin in the middle of a group of pictures.

    What its first packets show refers to pictures that are not in the file; which of them decode all the same
    depends on the codec, so the first ones are decoded.
    """
    first = _first_frame(path, track)
    if first is None:
        return track                            # no frame decodes: the back end gives the reason
    if track.counted:
        kept = np.arange(len(track.ticks)) >= first
    else:
        kept = track.ticks >= first
    if kept.all() or not kept.any():
        return track
    ticks = track.ticks[kept]
    start = float(ticks[0]) * track.base
    keys = track.keys[track.keys[:, 0] >= ticks[0]]
    missing = start - track.start
    reason = f"it begins in the middle of a group of pictures: its first {missing:.2f} s do not decode"
    return replace(
        track, start=start, share=track.share * (track.end - start) / (track.end - track.start),
        reason=track.reason or reason, ticks=ticks, order=track.order[kept], keys=keys,
        distinct=bool(np.all(np.diff(ticks) > 0)))


def _first_frame(path: str, track: Track) -> int | None:
    """The time of the first frame that decodes, in ticks; where frames are counted, how many before it never come."""
    with opened(path) as container:
        stream: Any = container.streams[track.index]
        stream.thread_type = "NONE"
        number, key = 0, None
        for packet in container.demux(stream):
            if packet.is_keyframe and key is None:
                key = number
            number += packet.size > 0 and not packet.is_discard
            try:
                for frame in packet.decode():
                    stamp = frame.pts if frame.pts is not None else frame.dts
                    return (key or 0) if track.counted else stamp
            except av.FFmpegError:
                continue
    return None


def _hollow(packet: Any) -> bool:
    """Whether a packet was never written: a download that stopped leaves zeros in the room it had reserved."""
    return (packet.size >= len(_HOLLOW) and packet.stream.codec_context.name in _NEVER_HOLLOW
            and bytes(memoryview(packet)[:len(_HOLLOW)]) == _HOLLOW)


def _declared_share(container: InputContainer, earliest: float, latest: float) -> tuple[float, str]:
    """The header's promise against what is there: FFmpeg takes a file cut in half for a shorter one."""
    kinds = set(container.format.name.split(","))
    if container.duration is None or not _DECLARE_DURATION & kinds:
        return 1.0, ""
    promised, present = container.duration / av.time_base, latest - earliest
    if "matroska" in kinds and 0 < earliest < promised:     # here the promise is when it ends, not how long it is
        promised -= earliest
    if "avi" in kinds:      # here FFmpeg corrects the duration by the file's size, but not the frame count
        promised = max([promised, *(float(stream.frames / stream.average_rate)
                                    for stream in container.streams.video if stream.average_rate)])
    if present >= promised - max(0.5, 0.02 * promised):
        return 1.0, ""
    return present / promised, f"it is cut off: its header promises {promised:.2f} s, {present:.2f} s are there"
