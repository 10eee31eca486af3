"""The actions of the sample world: what a figure holds, and how its hands and feet move in time."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.datasets.sample.figures import Pose
from pipeline.datasets.sample.pen import INK, WHITE, Colour, Pen, hue

_HUES = {"bicycle": 0.0, "book": 0.6, "ball": 0.95, "kite": 0.8, "flower": 0.35, "picture": 0.55}
_STANDING = ((-0.09, 0.03), (0.09, 0.03))


@dataclass(frozen=True)
class Tool:
    """What the things of one clip look like."""

    colour: Colour
    second: Colour
    tempo: float        # cycles a second
    phase: float

    @classmethod
    def of(cls, action: str, rng: np.random.Generator) -> "Tool":
        first = _HUES.get(action, 0.0) + rng.uniform(-0.06, 0.06)
        return cls(hue(first, 0.8), hue(first + rng.uniform(0.4, 0.6), 0.8), rng.uniform(0.6, 1.2),
                   rng.uniform(0, 1))

    def wave(self, time: float) -> float:
        """-1 to 1."""
        return math.sin(2 * math.pi * (self.tempo * time + self.phase))


def pose(action: str, tool: Tool, time: float) -> Pose:
    wave = tool.wave(time)
    turn = 2 * math.pi * (tool.tempo * time + tool.phase)
    if action == "bicycle":
        pedals = (0.1 * math.cos(turn), 0.1 * math.sin(turn))
        return Pose(((0.2, 0.3), (0.32, 0.32)),
                    ((pedals[0], -0.04 + pedals[1]), (-pedals[0], -0.04 - pedals[1])))
    feet = (_STANDING[0], (0.17 + 0.06 * wave, 0.1)) if action == "ball" else _STANDING
    hands = {
        "guitar": ((0.06, 0.33 + 0.05 * wave), (0.36, 0.5)),
        "book": ((0.12, 0.34), (0.4, 0.36)),
        "ball": ((-0.27, 0.38 + 0.04 * wave), (0.27, 0.4 - 0.04 * wave)),
        "pizza": ((-0.2, 0.24), (0.27, 0.5 + 0.07 * wave)),
        "kite": ((-0.2, 0.26), (0.3, 0.62 + 0.04 * wave)),
        "flower": ((-0.22, 0.26), (0.33, 0.42)),
        "picture": ((-0.22, 0.26), (0.42 + 0.05 * wave, 0.47 + 0.07 * math.cos(turn * 1.7))),
    }[action]
    return Pose(hands, feet)


def draw_behind(pen: Pen, action: str, tool: Tool, time: float) -> None:
    """The part of the things that the figure hides."""
    if action == "bicycle":
        _bicycle(pen, tool, time)
    elif action == "picture":
        _easel(pen, tool)


def draw_between(pen: Pen, action: str, tool: Tool, time: float) -> None:
    """The part of the things that lies before the body, under hands and head."""
    if action in _HELD:
        draw, x, y = _HELD[action]
        draw(pen.grown(1.3, x, y), tool, time)


def _bicycle(pen: Pen, tool: Tool, time: float) -> None:
    turn = 2 * math.pi * tool.tempo * time
    for x in (-0.32, 0.36):
        pen.oval(x, -0.06, 0.17, 0.17, INK, None)
        pen.oval(x, -0.06, 0.13, 0.13, (225, 228, 230), None)
        for spoke in range(3):
            angle = turn + spoke * math.pi / 3
            along = (0.13 * math.cos(angle), 0.13 * math.sin(angle))
            pen.stroke([(x - along[0], -0.06 - along[1]), (x + along[0], -0.06 + along[1])], 0.012, INK)
    frame = [(-0.32, -0.06), (-0.08, 0.18), (0.28, 0.18), (0.0, -0.05), (-0.32, -0.06)]
    pen.stroke(frame, 0.045, tool.colour)
    pen.stroke([(0.36, -0.06), (0.27, 0.28), (0.36, 0.33)], 0.045, tool.colour)


def _easel(pen: Pen, tool: Tool) -> None:
    for foot in (0.44, 0.86):
        pen.stroke([(0.65, 0.75), (foot, 0.0)], 0.035, (150, 104, 62))
    pen.box(0.44, 0.26, 0.42, 0.42, WHITE)
    pen.disc(0.56, 0.55, 0.07, tool.colour)
    pen.shape([(0.48, 0.3), (0.82, 0.3), (0.7, 0.46)], tool.second, None)


def _guitar(pen: Pen, _tool: Tool, _time: float) -> None:
    pen.stroke([(0.0, 0.32), (0.46, 0.56)], 0.045, (92, 58, 34))
    pen.oval(0.12, 0.38, 0.12, 0.11, (205, 122, 52))
    pen.oval(-0.02, 0.31, 0.15, 0.14, (205, 122, 52))
    pen.disc(0.05, 0.345, 0.05, INK)


def _book(pen: Pen, tool: Tool, _time: float) -> None:
    pen.shape([(0.02, 0.32), (0.26, 0.27), (0.5, 0.34), (0.5, 0.56), (0.26, 0.49), (0.02, 0.54)], tool.colour)
    pen.shape([(0.05, 0.35), (0.26, 0.3), (0.26, 0.51), (0.05, 0.55)], WHITE, None)
    pen.shape([(0.26, 0.3), (0.47, 0.37), (0.47, 0.57), (0.26, 0.51)], WHITE, None)
    for row in range(3):
        y = 0.38 + 0.05 * row
        pen.stroke([(0.09, y + 0.02), (0.22, y - 0.01)], 0.012, INK)
        pen.stroke([(0.3, y - 0.01), (0.43, y + 0.03)], 0.012, INK)


def _ball(pen: Pen, tool: Tool, time: float) -> None:
    away = abs(tool.wave(time / 2))
    x, y = 0.36 + 0.3 * away, 0.11 + 0.3 * away * (1.2 - away)
    pen.oval(x, y, 0.11, 0.11, WHITE)
    pen.disc(x, y, 0.045, tool.colour)
    for spot in range(3):
        angle = 2.1 * spot + 6 * away
        pen.disc(x + 0.085 * math.cos(angle), y + 0.085 * math.sin(angle), 0.025, tool.colour)


def _pizza(pen: Pen, tool: Tool, time: float) -> None:
    y = 0.52 + 0.07 * tool.wave(time)
    pen.shape([(0.14, y + 0.01), (0.46, y - 0.13), (0.48, y + 0.15)], (250, 206, 84))
    pen.stroke([(0.46, y - 0.13), (0.48, y + 0.15)], 0.055, (190, 120, 58))
    for x, rise in ((0.27, 0.0), (0.38, 0.06), (0.38, -0.05)):
        pen.disc(x, y + rise, 0.033, (206, 54, 42))


def _kite(pen: Pen, tool: Tool, time: float) -> None:
    drift, rise = 0.04 * tool.wave(time), 0.05 * tool.wave(time * 0.7 + 0.2)
    x, y = 0.72 + drift, 0.98 + rise
    pen.stroke([(0.3, 0.62), (x, y - 0.16)], 0.014, INK)
    tail = [(x, y - 0.16), (x + 0.06, y - 0.28), (x - 0.02, y - 0.36), (x + 0.05, y - 0.46)]
    pen.stroke(tail, 0.03, tool.second)
    pen.shape([(x, y + 0.2), (x + 0.15, y), (x, y - 0.18), (x - 0.15, y)], tool.colour)
    pen.shape([(x, y + 0.2), (x + 0.15, y), (x, y - 0.18)], tool.second)


def _flower(pen: Pen, tool: Tool, time: float) -> None:
    for drop in range(4):
        fall = (time * 1.6 + drop / 4 + tool.phase) % 1.0
        pen.disc(0.62 + 0.03 * (drop % 2), 0.46 - 0.2 * fall, 0.022, (70, 150, 235))
    pen.shape([(0.28, 0.34), (0.5, 0.34), (0.48, 0.52), (0.3, 0.52)], tool.colour)
    pen.stroke([(0.48, 0.4), (0.62, 0.5)], 0.045, tool.colour)
    x = 0.68
    pen.stroke([(x, 0.1), (x, 0.24)], 0.03, (60, 140, 60))
    for petal in range(5):
        angle = 2 * math.pi * petal / 5
        pen.disc(x + 0.055 * math.cos(angle), 0.26 + 0.055 * math.sin(angle), 0.045, tool.second)
    pen.disc(x, 0.26, 0.035, (250, 220, 70))
    pen.shape([(x - 0.1, 0.12), (x + 0.1, 0.12), (x + 0.07, 0.0), (x - 0.07, 0.0)], (186, 96, 60))


# With the point that stays where it is when the thing is drawn larger than the figure's scale.
_HELD: dict[str, tuple[Callable[[Pen, Tool, float], None], float, float]] = {
    "guitar": (_guitar, 0.0, 0.32), "book": (_book, 0.12, 0.34), "ball": (_ball, 0.3, 0.0),
    "pizza": (_pizza, 0.14, 0.5), "kite": (_kite, 0.5, 0.8), "flower": (_flower, 0.3, 0.0),
}
