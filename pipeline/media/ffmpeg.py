"""The back end of the ffmpeg program: ffmpeg-python builds its arguments, process.py owns the process.

The packets, and so which frame is shown when, are read by probing.py with PyAV. The program decodes the file from
beginning to end in one thread, a filter lets the frames pass that are wanted and prints each one's time, and their
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
from pipeline.media.orientation import ODD_ANGLE
from pipeline.media.probing import FORMATS, MAX_PIXELS, PROTOCOLS, check_size
from pipeline.media.process import FILE, Process
from pipeline.media.track import SAME, FrameClock, Tally, Track, Unreadable

# The program's threads write into each other's lines, but not into a single message: these stand anywhere in a line.
_CLOCK = re.compile(r"config in time_base: (\d+)/(\d+)")
_FRAME = re.compile(r"n: *\d+ pts: *(\S+) +pts_time:.* s:(\d+)x(\d+) i:")
_SOUND = re.compile(r"n: *\d+ pts: *(\S+) +pts_time:.* nb_samples:(\d+)")
_COUNTS = re.compile(r"Input stream .* (\d+) packets read \(.*\); \d+ frames decoded(?:.* (\d+) decode errors)?")
_FAULT = re.compile(r"\[(?:error|fatal)\] (.+)")
_CORRUPT = "corrupt decoded frame"
_REFUSED = "Error while decoding stream"        # the program before 6 prints these one by one and no sum
_ODD = "Odd rotation angle"
_REASON_LENGTH = 200    # characters of an error
# Colour as the other back end has it: by fields where pictures are interlaced, spread exactly on more than 8 bits.
_COLOURS = {"w": "iw", "h": "ih", "eval": "frame", "interl": -1}
_DEEP_COLOURS = {**_COLOURS, "flags": "bilinear+accurate_rnd+full_chroma_int", "in_h_chr_pos": 0, "in_v_chr_pos": -513}


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
        predictable = track.predictable or (track.counted and track.distinct)
        for number, item in _predicted(path, track, sorted(counts), tally) if predictable else ():
            yield from repeat(item, counts[number])
            done += counts[number]
    except _Missed:
        pass
    if done < len(times):
        yield from _searched(path, track, times[done:], tally)


def sound(path: str, track: Track, rate: int, tally: Tally) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """The whole track as mono samples, part by part: (when it begins by its time stamp, [S])."""
    # Newer programs mix channels by levels that the file names, older ones and PyAV by FFmpeg's own.
    trimmed = _trimmed_sound(track).filter("asidedata", mode="delete")
    samples = trimmed.filter("aformat", sample_rates=rate, sample_fmts="flt", channel_layouts="mono")
    with _Decoding(path, samples.filter("ashowinfo").output("pipe:", format="f32le")) as decoding:
        while (part := decoding.part(rate)) is not None:
            yield part
        decoding.finish(tally)


def _trimmed_sound(track: Track) -> Any:
    """The sound without what an encoder put before and behind it.

    Of a track in mp4 that begins late by less than a packet, programs of version 9 cut off as much at its end. So
    nothing is cut there but what the packets say, unless an edit list hides whole packets.
    """
    if track.format != "mov" or track.edited or track.padded:
        return _input(track)
    return _input(track, flags2="+skip_manual").filter("atrim", start_sample=track.primed)


def _predicted(path: str, track: Track, numbers: list[int],
               tally: Tally) -> Iterator[tuple[int, tuple[float, NDArray[np.uint8]]]]:
    """Frames by their `numbers` in the track and the packets' times. Raises _Missed."""
    chosen = _among("n", numbers) if track.counted else _among("pts", track.ticks[numbers].tolist())
    with _Decoding(path, _chosen(track, chosen)) as decoding:
        for number in numbers:
            frame = decoding.frame()
            begins = float(track.ticks[number]) * track.base
            if frame is None or (not track.counted and abs(frame[0] - begins) > SAME):
                raise _Missed
            yield number, (begins, decoding.picture(*frame[1:]))
        if decoding.frame() is not None:
            raise _Missed
        decoding.finish(tally)


def _searched(path: str, track: Track, times: list[float],
              tally: Tally) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """The same by the times of the frames that do decode."""
    begins: list[float] = []
    clock = FrameClock(track)
    with _Decoding(path, _listed(track)) as decoding:
        while frame := decoding.frame():
            begins.append(clock.begins(frame[0]))
        decoding.finish(tally)
    if not begins:
        raise Unreadable(tally.reason or "it has no frame that can be decoded")
    reached = list(accumulate(begins, max))
    track.check_end(reached[-1], tally)
    counts = Counter(max(bisect_right(reached, time + SAME) - 1, 0) for time in times)
    with _Decoding(path, _chosen(track, _among("n", sorted(counts)))) as decoding:
        for number in sorted(counts):
            frame = decoding.frame()
            if frame is None:
                raise Unreadable("it decodes to other frames each time")
            yield from repeat((begins[number], decoding.picture(*frame[1:])), counts[number])


def _pictures(track: Track) -> Any:
    """The track's pictures through one chain of filters, which would else count from 0 again where the size changes."""
    return _input(track, reinit_filter=0)


def _input(track: Track, **options: Any) -> Any:
    file = ffmpeg.input(FILE, format=track.format, protocol_whitelist=PROTOCOLS, format_whitelist=FORMATS,
                        max_pixels=MAX_PIXELS, threads=1, copyts=None, **options)
    return file[str(track.index)]


def _chosen(track: Track, expression: str) -> Any:
    stream = _pictures(track).filter("select", expression).filter("showinfo", checksum=0)
    rgb = stream.filter("scale", **(_DEEP_COLOURS if track.deep else _COLOURS)).filter("format", "rgb24")
    # A size that changes midway stays as it is: no frame is scaled to the first one's size.
    return rgb.output("pipe:", format="rawvideo", fps_mode="passthrough", noautoscale=None)


def _listed(track: Track) -> Any:
    stream = _pictures(track).filter("showinfo", checksum=0)
    return stream.output("pipe:", format="null", fps_mode="passthrough")


def _among(name: str, values: list[int]) -> str:
    """Whether a variable is one of the ascending values, as a search tree: a chain may not be longer than 100."""
    if len(values) == 1:
        return f"eq({name},{values[0]})"
    middle = len(values) // 2
    return f"if(lt({name},{values[middle]}),{_among(name, values[:middle])},{_among(name, values[middle:])})"


class _Decoding:
    """A run of the program: its messages and, where the frames or samples themselves come, these."""

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
            if match := _FRAME.search(line):
                pts, width, height = match.groups()
                check_size(int(width), int(height))
                return math.nan if pts == "NOPTS" else int(pts) * self._base, int(width), int(height)
            self._note(line)
        return None

    def picture(self, width: int, height: int) -> NDArray[np.uint8]:
        """The pixels of the last frame that `frame` gave: [H, W, 3]."""
        data = self.process.read(width * height * 3)
        if len(data) < width * height * 3:
            raise Unreadable("the ffmpeg program ended within a frame")
        return np.frombuffer(data, np.uint8).reshape(height, width, 3)

    def part(self, rate: int) -> tuple[float, NDArray[np.float32]] | None:
        """The next samples, `rate` a second: (when they begin, or not a number; [S]). None after the last ones."""
        while (line := self.process.line()) is not None:
            if match := _SOUND.search(line):
                data = self.process.read(4 * int(match[2]))
                stamp = math.nan if match[1] == "NOPTS" else int(match[1]) / rate
                return stamp, np.frombuffer(data[:len(data) // 4 * 4], "<f4")
            self._note(line)
        return None

    def finish(self, tally: Tally) -> None:
        """After the last frame or sample: counts what was lost. Raises Unreadable where the program failed."""
        while (line := self.process.line()) is not None:
            self._note(line)
        if (status := self.process.wait()) < 0:
            raise Unreadable(f"the ffmpeg program crashed on it ({signal.Signals(-status).name})")
        if not self._packets:
            raise Unreadable(f"its packets do not decode whole: {self._fault or f'exit status {status}'}")
        if self._errors:
            tally.reduce(1 - self._errors / max(self._packets, self._errors), f"{self._errors} of {self._packets} "
                         f"packets do not decode whole: {self._fault or _CORRUPT}")

    def _note(self, line: str) -> None:
        if match := _CLOCK.search(line):
            self._base = int(match[1]) / int(match[2])
        elif match := _COUNTS.search(line):
            self._packets = int(match[1])
            self._errors += int(match[2] or 0)
        elif _ODD in line:
            raise Unreadable(ODD_ANGLE)
        elif _CORRUPT in line or _REFUSED in line:
            self._errors += 1
        elif (match := _FAULT.search(line)) and not self._fault:
            self._fault = match[1].strip()[:_REASON_LENGTH]
