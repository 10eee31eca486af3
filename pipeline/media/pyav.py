"""The back end of libav in this very process: PyAV.

A first, sparing pass starts at the keyframe before each frame that is wanted, and leaves out frames that no other
frame needs. It trusts the packets' times. Where they turn out wrong, or something does not decode, a second pass
decodes everything from the file's beginning and goes on with the frame that was missed.
"""

import math
from collections import Counter, deque
from collections.abc import Iterator
from itertools import repeat
from typing import Any

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.container import InputContainer
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from pipeline.media.orientation import upright
from pipeline.media.probing import check_size, describe_error, display_matrix, opened
from pipeline.media.track import SAME, FrameClock, Run, Tally, Track, Unreadable

# Colour is coarser than light in most files. On more than 8 bits the quick way to spread it is off by several levels.
_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


_PREROLL = 0.5          # seconds before the sound that is asked for: a decoder's first samples are not whole


class _Missed(Exception):
    """The sparing pass cannot have what it wants."""


def recipe() -> dict[str, str]:
    """What decodes: another version may round another way."""
    libraries = {name: ".".join(map(str, numbers)) for name, numbers in sorted(av.library_versions.items())
                 if name in ("libavcodec", "libswscale", "libswresample")}
    return {"backend": "pyav", "pyav": av.__version__, **libraries}


def frames(path: str, track: Track, times: list[float],
           tally: Tally) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """The frame shown at each of the ascending times."""
    done = 0
    try:
        for item in sparing(path, track, times) if track.predictable else ():
            yield item
            done += 1
    except _Missed:
        pass
    if done < len(times):
        yield from thorough(path, track, times[done:], tally)


def sound(path: str, track: Track, rate: int, tally: Tally,
          start: float = -math.inf) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """The whole track, or what follows `start`, as mono samples, part by part: (when it begins by its stamp, [S]).

    The time is not a number where a part has no stamp: it follows the one before.
    """
    with opened(path) as container:
        stream = container.streams[track.index]
        if start > track.start and track.seekable and len(track.offsets) == 1:
            container.seek(int((start - _PREROLL) / track.base), stream=stream)
        decoded = _Decoded(container, stream, track)
        resampler, form = AudioResampler(format="flt", layout="mono", rate=rate), None
        for frame in decoded:
            if form not in (None, _form(frame)):        # another number of channels, another rate
                yield from _parts(resampler, None)
                resampler = AudioResampler(format="flt", layout="mono", rate=rate)
            form = _form(frame)
            yield from _parts(resampler, frame)
        yield from _parts(resampler, None)
        decoded.report(tally)


def _form(frame: Any) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _parts(resampler: AudioResampler, frame: Any) -> Iterator[tuple[float, NDArray[np.float32]]]:
    for part in resampler.resample(frame):
        if part is not None:
            stamp = math.nan if part.pts is None or part.time_base is None else float(part.pts * part.time_base)
            yield stamp, part.to_ndarray()[0]


def sparing(path: str, track: Track, times: list[float]) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """The same with as little decoding as possible. Raises _Missed where a frame is not what its packet promised."""
    counts = Counter(track.shown(times))        # of the times that show the same frame
    with opened(path) as container:
        stream: Any = container.streams[track.index]
        stream.thread_type = "NONE"             # one core a decoder process
        number = iter(sorted(counts))
        for run in track.runs(sorted(counts)):
            for frame in _run(container, stream, run):
                item = frame.pts * track.base, _rgb(frame, track.deep)
                yield from repeat(item, counts[next(number)])


def _run(container: InputContainer, stream: Any, run: Run) -> Iterator[Any]:
    """The frames of a run, in its order. Raises _Missed."""
    if run.key is not None:
        try:
            container.seek(run.key, stream=stream)
        except av.FFmpegError:      # an index that is not there or wrong
            raise _Missed from None
    needed, left = set(run.ticks), deque(run.ticks)
    at_entry = run.key is not None
    for packet in container.demux(stream):
        if at_entry and not (packet.is_keyframe and packet.pts is not None and packet.pts <= run.key):
            raise _Missed
        at_entry = False
        stream.codec_context.skip_frame = "DEFAULT" if packet.pts in needed else "NONREF"
        for frame in _whole(packet, run.key):
            if frame.pts == left[0]:
                yield frame
                left.popleft()
                if not left:
                    return
            elif frame.pts is None or frame.pts > left[0]:
                raise _Missed
    raise _Missed


def _whole(packet: Any, key: int | None) -> Iterator[Any]:
    """What a packet decodes to. Frames before the keyframe jumped to may need others before it, and are left out."""
    try:
        frames = packet.decode()
    except av.FFmpegError:
        raise _Missed from None
    for frame in frames:
        if key is None or frame.pts is None or frame.pts >= key:
            if frame.is_corrupt:
                raise _Missed
            yield frame


def thorough(path: str, track: Track, times: list[float],
             tally: Tally) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Decodes from the beginning to the last frame that is needed, or, where there is damage, to the end."""
    with opened(path) as container:
        stream: Any = container.streams[track.index]
        stream.thread_type = "NONE"
        decoded = _Decoded(container, stream, track)
        clock = FrameClock(track)
        shown: tuple[float, Any] | None = None
        picture: NDArray[np.uint8] | None = None        # of `shown`, where it was asked for
        taken = 0
        for frame in decoded:
            pts = frame.pts if frame.pts is not None else frame.dts
            begins = clock.begins(math.nan if pts is None else pts * track.base)
            while shown is not None and taken < len(times) and times[taken] < begins - SAME:
                picture = _rgb(shown[1], track.deep) if picture is None else picture
                yield shown[0], picture
                taken += 1
            if taken == len(times) and not decoded.lost:
                break
            shown, picture = (begins, frame), None
        decoded.report(tally)
        if shown and taken < len(times):
            track.check_end(shown[0], tally)
        if shown is None:
            raise Unreadable(tally.reason or "it has no frame that can be decoded")
        while taken < len(times):
            picture = _rgb(shown[1], track.deep) if picture is None else picture
            yield shown[0], picture
            taken += 1


class _Decoded:
    """All frames of a stream that decode, past those that do not; what is lost is counted.

    Packets of times before the track begins are not counted: their share is lost already.
    """

    def __init__(self, container: InputContainer, stream: Any, track: Track) -> None:
        self.lost = 0
        self._packets, self._reason = 0, ""
        self._container, self._stream = container, stream
        self._first = track.ticks[0] if len(track.offsets) == 1 and not track.counted else -math.inf

    def __iter__(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError:      # the packets end here; the scan has counted that
                return
            counts = packet.pts is None or packet.pts >= self._first
            self._packets += packet.size > 0 and counts
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                if counts:
                    self._lose(describe_error(error))
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self._lose("damaged frames")
                yield frame

    def report(self, tally: Tally) -> None:
        """Once all is decoded: what was lost."""
        tally.reduce(1 - self.lost / max(self._packets, 1),
                     f"{self.lost} of {self._packets} packets do not decode whole: {self._reason}")

    def _lose(self, reason: str) -> None:
        self.lost += 1
        self._reason = self._reason or reason


def _rgb(frame: Any, deep: bool) -> NDArray[np.uint8]:
    """A decoded frame as RGB, turned and mirrored as it asks for: [H, W, 3]."""
    check_size(frame.width, frame.height)
    picture = frame.reformat(format="rgb24", interpolation=_EXACT).to_ndarray() if deep else \
        frame.to_ndarray(format="rgb24")
    return upright(picture, display_matrix(frame))
