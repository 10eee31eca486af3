"""The back end of the ffmpeg program: ffmpeg-python builds its arguments, process.py owns the process.

The packets, and so which frame is shown when, are read by probing.py with PyAV. The program decodes the file from
beginning to end in one thread, a filter lets the frames pass that are wanted and tells each one's time, and their
pixels come over a pipe. Where a frame of the predicted time does not come, a second run lists the frames that do
decode, and a third fetches those shown.
"""

import math
import re
import signal
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate, repeat
from types import TracebackType
from typing import Any

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from pipeline.common import programs
from pipeline.media.probing import (
    FORMATS,
    MAX_PIXELS,
    PROTOCOLS,
    SAME,
    Tally,
    Track,
    Unreadable,
    check_size,
)
from pipeline.media.process import FILE, Process

# The program's threads write into each other's lines, but not into a single message: these stand anywhere in a line.
_CLOCK = re.compile(r"config in time_base: (\d+)/(\d+)")
_FRAME = re.compile(r"n: *\d+ pts: *(\S+) +pts_time:.* s:(\d+)x(\d+) i:")
_COUNTS = re.compile(r"Input stream .* (\d+) packets read \(.*\); \d+ frames decoded(?:.* (\d+) decode errors)?")
_FAULT = re.compile(r"\[(?:error|fatal)\] (.+)")
_CORRUPT = "corrupt decoded frame"
_REFUSED = "Error while decoding stream"        # the program before 6 tells these one by one and no sum
_TOLD = 200             # characters of an error
_PART = 1 << 16         # bytes of sound read at once


class _Missed(Exception):
    """A frame of the predicted time did not come."""


def recipe() -> dict[str, str]:
    """What decodes: another version may round another way."""
    return {"backend": "ffmpeg", "ffmpeg": programs.version(programs.ffmpeg()) or "unknown"}


def frames(path: str, track: Track, times: list[float],
           tally: Tally) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """The frame shown at each of the ascending times."""
    counts = Counter(track.shown(times))
    done = 0
    try:
        for place, item in _predicted(path, track, sorted(counts), tally) if track.distinct else ():
            yield from repeat(item, counts[place])
            done += counts[place]
    except _Missed:
        pass
    if done < len(times):
        yield from _searched(path, track, times[done:], tally)


def sound(path: str, track: Track, rate: int, tally: Tally) -> Iterator[NDArray[np.float32]]:
    """The whole track as mono samples, part by part: [S]."""
    with _Decoding(path, _input(track).output("pipe:", format="f32le", ac=1, ar=rate)) as decoding:
        while part := decoding.process.read(_PART):
            yield np.frombuffer(part, "<f4")
        decoding.finish(tally)


def _predicted(path: str, track: Track, places: list[int],
               tally: Tally) -> Iterator[tuple[int, tuple[float, NDArray[np.uint8]]]]:
    """The frames at `places` of the track by the packets' times. Raises _Missed."""
    chosen = _among("n", places) if track.counted else _among("pts", track.ticks[places].tolist())
    with _Decoding(path, _chosen(track, chosen)) as decoding:
        for place in places:
            found = decoding.frame()
            begins = float(track.ticks[place]) * track.base
            if found is None or (not track.counted and abs(found[0] - begins) > SAME):
                raise _Missed
            yield place, (begins, decoding.picture(*found[1:]))
        if decoding.frame() is not None:
            raise _Missed
        decoding.finish(tally)


def _searched(path: str, track: Track, times: list[float],
              tally: Tally) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """The same by the times of the frames that do decode."""
    begins: list[float] = []
    with _Decoding(path, _listed(track)) as decoding:
        while found := decoding.frame():
            begins.append(track.begins(len(begins), found[0]))
        decoding.finish(tally)
    if not begins:
        raise Unreadable(tally.reason or "it has no frame that can be decoded")
    reached = list(accumulate(begins, max))
    track.end_at(reached[-1], tally)
    counts = Counter(max(bisect_right(reached, time + SAME) - 1, 0) for time in times)
    with _Decoding(path, _chosen(track, _among("n", sorted(counts)))) as decoding:
        for number in sorted(counts):
            found = decoding.frame()
            if found is None:
                raise Unreadable("it decodes to other frames each time")
            yield from repeat((begins[number], decoding.picture(*found[1:])), counts[number])


def _input(track: Track) -> Any:
    file = ffmpeg.input(FILE, format=track.format, protocol_whitelist=PROTOCOLS, format_whitelist=FORMATS,
                        max_pixels=MAX_PIXELS, threads=1, copyts=None)
    return file[str(track.index)]


def _chosen(track: Track, expression: str) -> Any:
    stream = _input(track).filter("select", expression).filter("showinfo", checksum=0)
    return stream.output("pipe:", format="rawvideo", pix_fmt="rgb24", fps_mode="passthrough")


def _listed(track: Track) -> Any:
    stream = _input(track).filter("showinfo", checksum=0)
    return stream.output("pipe:", format="null", fps_mode="passthrough")


def _among(name: str, values: list[int]) -> str:
    """Whether a variable is one of the ascending values, as a search tree: a chain may not be longer than 100."""
    if len(values) == 1:
        return f"eq({name},{values[0]})"
    middle = len(values) // 2
    return f"if(lt({name},{values[middle]}),{_among(name, values[:middle])},{_among(name, values[middle:])})"


class _Decoding:
    """A run of the program: what it tells and, where the frames themselves come, their pixels."""

    def __init__(self, path: str, output: Any) -> None:
        arguments = output.global_args("-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+verbose")
        self.process = Process(arguments.compile(cmd=str(programs.ffmpeg())), path)
        self._base, self._packets, self._errors, self._fault = 0.0, 0, 0, ""

    def __enter__(self) -> "_Decoding":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.process.close()

    def frame(self) -> tuple[float, int, int] | None:
        """The next frame: when it begins, or not a number; width; height. None after the last one."""
        while (line := self.process.line()) is not None:
            if found := _FRAME.search(line):
                pts, width, height = found.groups()
                check_size(int(width), int(height))
                return math.nan if pts == "NOPTS" else int(pts) * self._base, int(width), int(height)
            self._told(line)
        return None

    def picture(self, width: int, height: int) -> NDArray[np.uint8]:
        """The pixels of the frame told last: [H, W, 3]."""
        data = self.process.read(width * height * 3)
        if len(data) < width * height * 3:
            raise Unreadable("the ffmpeg program ended within a frame")
        return np.frombuffer(data, np.uint8).reshape(height, width, 3)

    def finish(self, tally: Tally) -> None:
        """After the last frame or sample: tells what was lost. Raises Unreadable where the program failed."""
        while (line := self.process.line()) is not None:
            self._told(line)
        if (status := self.process.wait()) < 0:
            raise Unreadable(f"the ffmpeg program died of it ({signal.Signals(-status).name})")
        if not self._packets:
            raise Unreadable(f"its packets do not decode whole: {self._fault or f'exit status {status}'}")
        if self._errors:
            tally.lost(1 - self._errors / max(self._packets, self._errors), f"{self._errors} of {self._packets} "
                         f"packets do not decode whole: {self._fault or _CORRUPT}")

    def _told(self, line: str) -> None:
        if found := _CLOCK.search(line):
            self._base = int(found[1]) / int(found[2])
        elif found := _COUNTS.search(line):
            self._packets = int(found[1])
            self._errors += int(found[2] or 0)
        elif _CORRUPT in line or _REFUSED in line:
            self._errors += 1
        elif (found := _FAULT.search(line)) and not self._fault:
            self._fault = found[1].strip()[:_TOLD]
