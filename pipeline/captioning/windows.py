"""Windows of a long video, each to be captioned by itself: they begin and end where scenes do."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pipeline.media.decoder import VideoDecoder

SHORTEST = 2.0      # seconds: a subtitle has to be read
LONGEST = 10.0      # a caption tells of a clip as long as those that it was learned from
_STRETCH = 60.0     # seconds that are searched for cuts at once


@dataclass(frozen=True)
class Window:
    start: float        # seconds from the video's beginning
    end: float


def find_windows(decoder: VideoDecoder, path: Path, duration: float,
                 advance: Callable[[float], None]) -> list[Window]:
    """`advance` is told how many seconds more were looked at. Raises MediaError."""
    cuts: list[float] = []
    start = 0.0
    while start < duration:
        end = min(start + _STRETCH, duration)
        cuts += decoder.cuts(path, start, end)
        advance(end - start)
        start = end
    return divide(duration, cuts)


def divide(duration: float, cuts: Sequence[float]) -> list[Window]:
    """The scenes between cuts. One that is too short goes on with the one before, one that is too long is divided."""
    bounds = [0.0]
    for cut in cuts:
        if cut - bounds[-1] >= SHORTEST and duration - cut >= SHORTEST:
            bounds.append(cut)
    bounds.append(duration)
    windows = []
    for start, end in pairwise(bounds):
        parts = max(1, math.ceil((end - start) / LONGEST))
        windows += [Window(start + (end - start) * part / parts, start + (end - start) * (part + 1) / parts)
                    for part in range(parts)]
    return windows
