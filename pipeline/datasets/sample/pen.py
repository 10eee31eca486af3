"""A pen that draws in the coordinates of a place or a figure, whatever the size and tilt of the picture."""

import colorsys
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

INK: Colour = (45, 38, 48)
WHITE: Colour = (250, 250, 248)

_ROUND = [(math.cos(n * math.pi / 12), math.sin(n * math.pi / 12)) for n in range(24)]


@dataclass(frozen=True)
class Arc:
    """Part of an ellipse around (x, y) with the radii rx and ry: from `start` to `end` degrees, anticlockwise from
    the right."""

    x: float
    y: float
    rx: float
    ry: float
    start: float
    end: float


@dataclass(frozen=True)
class Pen:
    """Units: `scale` pixels are 1; x goes right, y up, from `origin` (pixels), tilted by `tilt` radians."""

    draw: ImageDraw.ImageDraw
    origin: Point
    scale: float
    tilt: float = 0.0

    def at(self, x: float, y: float) -> Point:
        cos, sin = math.cos(self.tilt), math.sin(self.tilt)
        return (self.origin[0] + self.scale * (x * cos + y * sin),
                self.origin[1] - self.scale * (y * cos - x * sin))

    def grown(self, factor: float, x: float, y: float) -> "Pen":
        """A pen that draws everything `factor` times as large around (x, y)."""
        return replace(self, origin=self.at((1 - factor) * x, (1 - factor) * y), scale=factor * self.scale)

    def shape(self, points: Sequence[Point], fill: Colour, outline: Colour | None = INK) -> None:
        corners = [self.at(*point) for point in points]
        self.draw.polygon(corners, fill=fill)
        if outline is not None:
            self.draw.line([*corners, corners[0]], fill=outline, width=self._width(0.018), joint="curve")

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Colour,
             outline: Colour | None = INK) -> None:
        self.shape([(x + rx * cos, y + ry * sin) for cos, sin in _ROUND], fill, outline)

    def disc(self, x: float, y: float, radius: float, fill: Colour) -> None:
        self.oval(x, y, radius, radius, fill, None)

    def box(self, x: float, y: float, width: float, height: float, fill: Colour,
            outline: Colour | None = INK) -> None:
        """A rectangle from its lower left corner."""
        self.shape([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], fill, outline)

    def stroke(self, points: Sequence[Point], width: float, fill: Colour, outlined: bool = False) -> None:
        """A thick line with round ends."""
        corners = [self.at(*point) for point in points]
        if outlined:
            self.stroke(points, width + 0.03, INK)
        self.draw.line(corners, fill=fill, width=self._width(width), joint="curve")
        radius = self._width(width) / 2
        if radius > 1.5:
            for x, y in (corners[0], corners[-1]):
                self.draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)

    def arc(self, arc: "Arc", width: float, fill: Colour = INK) -> None:
        """A thick line along an arc."""
        angles = [math.radians(arc.start + (arc.end - arc.start) * n / 10) for n in range(11)]
        self.stroke([(arc.x + arc.rx * math.cos(a), arc.y + arc.ry * math.sin(a)) for a in angles], width, fill)

    def _width(self, width: float) -> int:
        return max(1, round(width * self.scale))


def hue(value: float, saturation: float = 0.7, brightness: float = 0.85) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(value % 1.0, saturation, brightness)
    return round(red * 255), round(green * 255), round(blue * 255)


def shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, round(part * factor)) for part in colour)
    return red, green, blue


def vary(colour: Colour, rng: np.random.Generator, amount: float = 14) -> Colour:
    """A colour near `colour`."""
    red, green, blue = (int(np.clip(part + shift, 0, 255))
                        for part, shift in zip(colour, rng.uniform(-amount, amount, 3), strict=True))
    return red, green, blue
