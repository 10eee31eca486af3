"""One stream of a file as its packets describe it: which frame is shown when, and where decoding can start."""

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAME = 1e-6             # seconds: a frame that begins at the very time asked for is the one, rounding or not
CLOCK_RESTART = 0.5     # seconds that a clock must fall back to count as started again
_UNNOTICED = 0.5        # seconds of packets that may follow the last frame that decodes


class Unreadable(Exception):
    """A video that cannot be read; the message is the reason, without the file's name."""


class Empty(Unreadable):
    """There is no such stream, or one is declared and nothing of it is there."""


class Tally:
    """How much of what a file promises could be decoded, and the first reason why not more."""

    def __init__(self) -> None:
        self.share, self.reason = 1.0, ""

    def reduce(self, share: float, reason: str) -> None:
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
    """One stream of a file, by its packets. Times are seconds on the file's own clock; ticks are `base` seconds.

    A clock that starts again within the file goes on here where it had ended: see `offsets`.
    """

    index: int
    format: str         # of the container, as FFmpeg calls it
    base: float
    start: float        # when the first frame is shown or the first sample sounds
    last: float         # when the last frame is shown
    end: float          # when it ceases to be
    filled: float       # seconds that its packets fill, less than end - start where there are holes
    share: float        # that is there of what header and packets promise; less than 1 where the file was cut
    reason: str
    seekable: bool
    distinct: bool      # no two frames begin at the same time: a frame is known by its time
    counted: bool       # the n-th frame that is decoded is shown at the n-th time, whatever time it has itself
    deep: bool          # more than 8 bits a colour
    primed: int         # samples of sound that an encoder put before it, and that are left out,
    padded: int         # and those behind it
    edited: bool        # an edit list hides packets
    offsets: tuple[float, ...]      # seconds to add to the times in the file: at first 0, then after each restart
    ticks: NDArray[np.int64]        # [P] when each packet's frame is shown, ascending
    order: NDArray[np.int64]        # [P] the same packets' numbers in the file, counted in this stream
    keys: NDArray[np.int64]         # [K, 2] of each keyframe, by ticks: ticks, number in the file

    @property
    def predictable(self) -> bool:
        """Whether the packets' times name the frames, so that those not wanted need not be decoded."""
        return self.distinct and not self.counted and len(self.offsets) == 1

    def shown(self, times: list[float]) -> list[int]:
        """Which of `ticks` belongs to the frame shown at each time: the last that begins at or before it."""
        begins = self.ticks * self.base
        return [max(bisect_right(begins, time + SAME) - 1, 0) for time in times]

    def check_end(self, reached: float, tally: Tally) -> None:
        """Decoding ended with the frame that begins at `reached`: that may be silently short of the packets."""
        if self.last - reached > _UNNOTICED and tally.share == self.share:
            tally.reduce((reached - self.start) / (self.last - self.start),
                         f"decoding ends at {reached:.2f} s, its packets go on to {self.last:.2f} s")

    def runs(self, numbers: list[int]) -> Iterator[Run]:
        """Ascending `numbers` of `ticks` in runs: to jump to a keyframe pays where one lies between two frames."""
        run = Run(None, [])
        read = 0                        # how many packets of the file lie before what comes next
        for number in numbers:
            tick = int(self.ticks[number])
            key = int(np.searchsorted(self.keys[:, 0], tick, "right")) - 1 if self.seekable else -1
            if key >= 0 and self.keys[key, 1] > read:
                if run.ticks:
                    yield run
                run = Run(int(self.keys[key, 0]), [])
            run.ticks.append(tick)
            read = int(self.order[number]) + 1
        if run.ticks:
            yield run


class FrameClock:
    """When decoded frames begin, asked for in the order in which they are decoded."""

    def __init__(self, track: Track) -> None:
        self._track = track
        self._count, self._segment, self._latest = 0, 0, -math.inf

    def begins(self, stamp: float) -> float:
        """Seconds of the next frame, which bears the time `stamp` (NaN: none)."""
        track, number = self._track, self._count
        self._count += 1
        if track.counted or math.isnan(stamp):
            return float(track.ticks[min(number, len(track.ticks) - 1)]) * track.base
        return self.unfolded(stamp)

    def unfolded(self, stamp: float) -> float:
        """`stamp` seconds as if the clock had never started again."""
        if stamp < self._latest - CLOCK_RESTART and self._segment + 1 < len(self._track.offsets):
            self._segment += 1
        self._latest = stamp
        return stamp + self._track.offsets[self._segment]
