"""Where scenes change, by the scene score of ffmpeg's filter `select`: how much of a picture changes at once."""

from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.media.probing import check_size, opened
from pipeline.media.track import FrameClock, Track

THRESHOLD = 0.15        # of the score: the least that counts as a cut
_SIZE = 64, 36          # pixels that pictures are shrunk to, for speed and so that noise does not count
_BEFORE = 1.0           # seconds that are decoded before the part: a score needs the frames before


def cuts(path: str, track: Track, start: float, end: float) -> Iterator[float]:
    """Times in [start, end) of the frames that begin a new scene; seconds from the track's beginning."""
    with opened(path) as container:
        stream: Any = container.streams[track.index]
        stream.thread_type = "AUTO"
        if track.seekable and start > _BEFORE:
            container.seek(int((track.start + start - _BEFORE) / track.base), stream=stream)
            track_clock = None      # the frames' own times, for frames before are not counted
        else:
            track_clock = FrameClock(track)
        before: NDArray[np.int16] | None = None
        change = 0.0
        for frame in _frames(container, stream):
            stamp = frame.pts * track.base if frame.pts is not None else float("nan")
            time = (track_clock.begins(stamp) if track_clock else stamp) - track.start
            if time >= end:
                return
            check_size(frame.width, frame.height)
            picture = frame.reformat(*_SIZE, format="rgb24").to_ndarray().astype(np.int16)
            last, change = change, 0.0 if before is None else float(np.abs(picture - before).mean()) / 255
            if before is not None and min(change, abs(change - last)) > THRESHOLD and time >= start:
                yield time
            before = picture


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """All frames that decode."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            return
        try:
            yield from packet.decode()
        except av.FFmpegError:      # a damaged frame: the next one will do
            continue
