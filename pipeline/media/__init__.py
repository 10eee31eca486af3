"""Videos: what they hold, which frame is shown when, and their sound.

This runs inside a decoder process (`python -m pipeline.media`, started by pipeline/media/decoder.py), so that a
file that crashes or hangs a codec costs one video. It imports av and numpy alone, to start fast.

    tally = Tally()
    for time, picture in frames("clip.mp4", Uniform(8), "pyav", tally): ...       # seconds, uint8 RGB [H, W, 3]
    print(tally.share, tally.reason)

probing.py reads the packets into a Track (track.py): which frame begins when, where one can start to decode, whether
the file is whole.
Two back ends decode by that plan, pyav.py and ffmpeg.py; what holds for both is here. What counts are the times of
the packets, not the header: variable frame rate, missing durations and B-frames need no special case. Files are
untrusted: only the file itself is read, whatever others it names.
"""

import math
import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.media import ffmpeg, pyav, scenes
from pipeline.media.probing import Probe, probe, scan_pictures, scan_sound
from pipeline.media.sampling import Sampling, Uniform
from pipeline.media.track import Empty, FrameClock, Tally, Track, Unreadable

__all__ = ["BACKENDS", "Backend", "Probe", "Tally", "Unreadable", "cuts", "frames", "probe", "recipe", "sound"]

Part = tuple[float, float]      # seconds of a video, from its beginning
Backend = Literal["pyav", "ffmpeg"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
_DECODERS: dict[Backend, Any] = {"pyav": pyav, "ffmpeg": ffmpeg}
# Of the way in which files are read here; raised when some file gives other frames, times or samples than before, so
# that rows of both ways are not mixed.
READING = "3"
_SLACK = 0.5        # seconds, or …
_SLACK_SHARE = 0.02     # … of the track, that sound may fall short of its packets' times: encoders pad
_JITTER = 0.005     # seconds that a part's time stamp may differ from the end of the part before: containers round


def recipe(backend: Backend) -> dict[str, str]:
    """What decodes, by name and version. Raises SpectrumError where there is no ffmpeg program."""
    libraries: dict[str, str] = _DECODERS[backend].recipe()
    return {**libraries, "reading": READING}


def frames(path: str, sampling: Sampling, backend: Backend, tally: Tally,
           part: Part | None = None) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """The frames shown at the sampling's times, each with the time it is shown from: (seconds, RGB [H, W, 3]).

    The frame shown at t is the last one that begins at or before t; a clip of fewer frames repeats some. Of a
    file that was cut, at either end, the times are laid over what is there; a frame that is lost leaves the one
    before it shown. Of a `part` the times are laid over that. `tally` is given how much is there and why not more.
    Raises Unreadable where no frame can be decoded.
    """
    track = _scanned(scan_pictures, path)
    tally.reduce(track.share, track.reason)
    start, end = _bounds(track, part)
    if start >= end > track.start:
        raise Unreadable(f"it ends after {track.end - track.start:.2f} s, before the part that is asked for")
    times = sampling.times(start, end)
    order = sorted(range(len(times)), key=times.__getitem__)
    shown = _DECODERS[backend].frames(path, track, [times[i] for i in order], tally)
    waiting: dict[int, tuple[float, NDArray[np.uint8]]] = {}    # shown already, but a row before them is not
    turn = 0
    for row, item in zip(order, shown, strict=True):
        waiting[row] = item
        while turn in waiting:
            yield waiting.pop(turn)
            turn += 1


def sound(path: str, n: int, window: float, rate: int, backend: Backend, tally: Tally,
          part: Part | None = None) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """`n` windows of mono sound, `window` seconds each: (time of its centre, float32 [window * rate]).

    They are centred on uniform times of the sound track. Every sample stands at the time of its stamp:
    a hole in the track, or what lies beyond its ends, is zeros. A file without sound gives nothing at all:
    silence and no sound are not the same. Raises Unreadable as `frames` does.
    """
    try:
        track = _scanned(scan_sound, path)
    except Empty:
        return
    tally.reduce(track.share, track.reason)
    start, end = _bounds(track, part)
    if part and start >= end:
        return
    times = Uniform(n).times(start, end)
    windows = np.zeros((n, round(window * rate)), np.float32)
    begins = [round((time - track.start) * rate) - windows.shape[1] // 2 for time in times]
    clock = FrameClock(track)
    position, count = 0, 0                              # of the next sample, from the track's start; samples so far
    last = max(begins) + windows.shape[1] if part else math.inf
    decoded = (pyav.sound(path, track, rate, tally, start - window) if part and backend == "pyav"
               else _DECODERS[backend].sound(path, track, rate, tally))
    for stamp, samples in decoded:
        if not math.isnan(stamp):
            stamped = round((clock.unfolded(stamp) - track.start) * rate)
            position = stamped if abs(stamped - position) > _JITTER * rate else position
        _spread(samples, position, windows, begins)
        position += len(samples)
        count += len(samples)
        if position >= last:
            break
    if not part:
        _check_length(track, count / rate, tally)
    yield from zip(times, windows, strict=True)


def cuts(path: str, start: float, end: float) -> Iterator[float]:
    """When scenes change between `start` and `end`, seconds from the video's beginning. Raises Unreadable."""
    return scenes.cuts(path, _scanned(scan_pictures, path), start, end)


def _bounds(track: Track, part: Part | None) -> Part:
    """Of the part on the file's own clock."""
    if part is None:
        return track.start, track.end
    return track.start + part[0], min(track.start + part[1], track.end)


def _scanned(scan: Callable[[str], Track], path: str) -> Track:
    """What `scan` finds in a file: once for all parts of it that are read, as long as it is not changed."""
    try:
        state = os.stat(path)  # noqa: PTH116
    except OSError:
        return scan(path)       # which says why
    return _scan_once(scan, path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=2)       # pictures and sound
def _scan_once(scan: Callable[[str], Track], path: str, _changed: int, _size: int) -> Track:
    return scan(path)


def _check_length(track: Track, decoded: float, tally: Tally) -> None:
    if not decoded:
        raise Unreadable(tally.reason or "it has no sound that can be decoded")
    length = track.filled
    if length - decoded > max(_SLACK, _SLACK_SHARE * length) and decoded / length < tally.share:
        tally.reduce(decoded / length / tally.share, f"its sound decodes for {decoded:.2f} s of {length:.2f} s")


def _spread(samples: NDArray[np.float32], position: int, windows: NDArray[np.float32], begins: list[int]) -> None:
    """Copies what `samples` (from `position` on) share with each window into it."""
    for row, begin in zip(windows, begins, strict=True):
        first, last = max(position, begin), min(position + len(samples), begin + len(row))
        if first < last:
            row[first - begin:last - begin] = samples[first - position:last - position]
