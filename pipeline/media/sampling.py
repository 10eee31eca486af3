"""Which times of a video are looked at. What decides this is part of a store's recipe.

    Uniform(8).times(0.0, 4.0)          # [0.25, 0.75, … 3.75]
    of(Uniform(8).recipe) == Uniform(8)

Times are seconds on the file's own clock; all lie in [start, end]. They come in the order of the rows: those of
overlapping windows go back in time.
"""

import math
from dataclasses import dataclass
from typing import Any

from pipeline.common.errors import SpectrumError


@dataclass(frozen=True)
class Uniform:
    """The centres of `n` equal parts."""

    n: int

    def times(self, start: float, end: float) -> list[float]:
        return [start + (end - start) * (2 * i + 1) / (2 * self.n) for i in range(self.n)]

    @property
    def recipe(self) -> dict[str, Any]:
        return {"times": "uniform", "frames": self.n}


@dataclass(frozen=True)
class Rate:
    """`per_second` times a second: the centres of parts of 1 / `per_second` seconds. At least one: a clip that is
    shorter than half a part gives its middle."""

    per_second: float

    def times(self, start: float, end: float) -> list[float]:
        count = math.floor((end - start) * self.per_second + 0.5 + 1e-9)    # centres that lie before the end
        return [start + (i + 0.5) / self.per_second for i in range(count)] or [(start + end) / 2]

    @property
    def recipe(self) -> dict[str, Any]:
        return {"times": "rate", "per_second": self.per_second}


@dataclass(frozen=True)
class Windows:
    """`n` windows around uniform times: `frames` times each, evenly over `seconds`, kept within the video."""

    n: int
    frames: int
    seconds: float

    def times(self, start: float, end: float) -> list[float]:
        offsets = [part - self.seconds / 2 for part in Uniform(self.frames).times(0.0, self.seconds)]
        return [min(max(centre + offset, start), end)
                for centre in Uniform(self.n).times(start, end) for offset in offsets]

    @property
    def recipe(self) -> dict[str, Any]:
        return {"times": "windows", "windows": self.n, "frames": self.frames, "seconds": self.seconds}


Sampling = Uniform | Rate | Windows


def of(recipe: dict[str, Any]) -> Sampling:
    """The sampling that a recipe names. Raises SpectrumError."""
    match recipe:
        case {"times": "uniform", "frames": int(n)}:
            return Uniform(n)
        case {"times": "rate", "per_second": int(rate) | float(rate)}:
            return Rate(rate)
        case {"times": "windows", "windows": int(n), "frames": int(frames), "seconds": int(seconds) | float(seconds)}:
            return Windows(n, frames, seconds)
    raise SpectrumError(f"sampling {recipe!r}: expected the recipe of Uniform, Rate or Windows")
