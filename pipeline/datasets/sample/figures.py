"""The actors of the sample world: cartoon figures with big heads, so that a small picture shows the face.

A figure is 1 high, stands on y = 0 and looks to the reader; x goes right. It is drawn in two steps, with what
it holds between them: body, then head and arms.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.datasets.sample.grammar import choose
from pipeline.datasets.sample.pen import INK, WHITE, Arc, Colour, Pen, Point, hue, shade, vary

HIP, SHOULDER, HEAD, RADIUS = 0.24, 0.46, 0.72, 0.235
SKINS: tuple[Colour, ...] = ((255, 219, 184), (236, 188, 146), (198, 140, 98), (141, 92, 62))
HAIRS: tuple[Colour, ...] = ((60, 40, 30), (110, 66, 34), (214, 168, 84), (30, 28, 34), (168, 84, 48))

# Of clothes: near one hue an actor.
_HUES = {"man": 0.62, "woman": 0.0, "boy": 0.33, "girl": 0.85, "robot": 0.5}


@dataclass(frozen=True)
class Look:
    """What a figure looks like in one clip."""

    actor: str
    skin: Colour
    hair: Colour
    top: Colour
    bottom: Colour


@dataclass(frozen=True)
class Pose:
    """Where hands and feet are."""

    hands: tuple[Point, Point]
    feet: tuple[Point, Point]


def look(actor: str, rng: np.random.Generator) -> Look:
    colour = _HUES.get(actor, 0.0) + rng.uniform(-0.07, 0.07)
    skin = choose(SKINS, rng)
    fur: dict[str, tuple[Colour, ...]] = {
        "dog": ((206, 168, 124), (190, 150, 110)),
        "cat": ((248, 164, 66), (240, 178, 96)),
        "robot": ((188, 200, 210), (160, 190, 205)),
        "bear": ((98, 60, 38), (84, 52, 36)),
    }
    return Look(actor, vary(choose(fur.get(actor, (skin,)), rng), rng, 8), choose(HAIRS, rng),
                hue(colour, rng.uniform(0.5, 0.85)), hue(colour + rng.uniform(0.4, 0.6), 0.5, 0.55))


def draw_body(pen: Pen, look: Look, pose: Pose) -> None:
    furry = look.actor in ("dog", "cat", "bear", "robot")
    limbs = look.skin if furry or look.actor in ("woman", "girl", "boy") else look.bottom
    for side, foot in zip((-1, 1), pose.feet, strict=True):
        pen.stroke([(side * 0.07, HIP), foot], 0.085, limbs, outlined=True)
        pen.oval(foot[0] + 0.02, foot[1] + 0.01, 0.065, 0.04, shade(look.skin, 0.7) if furry else INK)
    if look.actor in ("dog", "cat"):
        tail = [(-0.12, 0.22), (-0.26, 0.24), (-0.3, 0.42)]
        pen.stroke(tail, 0.06, look.skin, outlined=True)
    _TORSOS.get(look.actor, _shirt)(pen, look)


def draw_head(pen: Pen, look: Look, pose: Pose, face: str, blink: bool) -> None:
    sleeves = look.top if look.actor in ("man", "woman", "boy", "girl") else look.skin
    for side, hand in zip((-1, 1), pose.hands, strict=True):
        elbow = ((side * 0.17 + hand[0]) / 2 + side * 0.03, (SHOULDER + hand[1]) / 2 - 0.05)
        pen.stroke([(side * 0.13, SHOULDER - 0.03), elbow, hand], 0.07, sleeves, outlined=True)
        pen.oval(*hand, 0.045, 0.045, look.skin)
    head = pen.grown(1.25, 0.0, SHOULDER)
    _HEADS[look.actor](head, look)
    _draw_face(head, face, blink, WHITE if look.actor == "robot" else None)


def _shirt(pen: Pen, look: Look) -> None:
    pen.shape([(-0.13, HIP - 0.03), (0.13, HIP - 0.03), (0.16, SHOULDER), (-0.16, SHOULDER)], look.top)
    if look.actor == "boy":
        pen.box(-0.14, HIP - 0.08, 0.28, 0.08, look.bottom)


def _dress(pen: Pen, look: Look) -> None:
    hem = HIP - 0.1 if look.actor == "woman" else HIP - 0.05
    pen.shape([(-0.24, hem), (0.24, hem), (0.11, SHOULDER), (-0.11, SHOULDER)], look.top)
    pen.stroke([(-0.13, 0.34), (0.13, 0.34)], 0.03, look.bottom)


def _fur(pen: Pen, look: Look) -> None:
    wide = 0.24 if look.actor == "bear" else 0.17
    pen.oval(0, 0.34, wide, 0.19, look.skin)
    pen.oval(0, 0.32, wide * 0.6, 0.12, shade(look.skin, 1.35), None)


def _metal(pen: Pen, look: Look) -> None:
    pen.box(-0.18, 0.18, 0.36, 0.3, look.skin)
    pen.box(-0.1, 0.27, 0.2, 0.12, look.top)


_TORSOS: dict[str, Callable[[Pen, Look], None]] = {
    "woman": _dress, "girl": _dress, "dog": _fur, "cat": _fur, "bear": _fur, "robot": _metal,
}


def _man(pen: Pen, look: Look) -> None:
    pen.oval(0, HEAD + 0.04, RADIUS, RADIUS * 0.98, look.hair)
    pen.oval(0, HEAD - 0.02, RADIUS * 0.96, RADIUS * 0.9, look.skin)
    pen.arc(Arc(0, HEAD - 0.03, RADIUS * 0.9, RADIUS * 0.85, 190, 350), 0.07, look.hair)   # beard


def _woman(pen: Pen, look: Look) -> None:
    pen.shape([(-0.29, HEAD - 0.3), (0.29, HEAD - 0.3), (0.24, HEAD + 0.12), (-0.24, HEAD + 0.12)], look.hair)
    pen.oval(0, HEAD + 0.05, RADIUS * 1.08, RADIUS, look.hair)
    pen.oval(0, HEAD - 0.02, RADIUS * 0.88, RADIUS * 0.92, look.skin)


def _boy(pen: Pen, look: Look) -> None:
    pen.oval(0, HEAD, RADIUS, RADIUS * 0.95, look.skin)
    pen.shape([(-0.235, HEAD + 0.07), (0.235, HEAD + 0.07), (0.2, HEAD + 0.2), (0.08, HEAD + 0.26),
               (-0.08, HEAD + 0.26), (-0.2, HEAD + 0.2)], look.bottom)                 # cap
    pen.stroke([(0.02, HEAD + 0.07), (0.33, HEAD + 0.06)], 0.05, look.bottom, outlined=True)


def _girl(pen: Pen, look: Look) -> None:
    for side in (-1, 1):
        pen.oval(side * 0.3, HEAD + 0.02, 0.1, 0.13, look.hair)
        pen.disc(side * 0.22, HEAD + 0.1, 0.05, look.top)
    pen.oval(0, HEAD + 0.03, RADIUS, RADIUS * 0.97, look.hair)
    pen.oval(0, HEAD - 0.03, RADIUS * 0.92, RADIUS * 0.86, look.skin)


def _dog(pen: Pen, look: Look) -> None:
    pen.oval(0, HEAD, RADIUS, RADIUS * 0.92, look.skin)
    for side in (-1, 1):
        pen.oval(side * 0.235, HEAD - 0.02, 0.075, 0.19, shade(look.skin, 0.55))
    pen.oval(0, HEAD - 0.09, 0.13, 0.1, shade(look.skin, 1.3), None)
    pen.oval(0, HEAD - 0.03, 0.045, 0.032, INK)


def _cat(pen: Pen, look: Look) -> None:
    for side in (-1, 1):
        ear = [(side * 0.22, HEAD + 0.08), (side * 0.06, HEAD + 0.2), (side * 0.2, HEAD + 0.35)]
        pen.shape(ear, look.skin)
    pen.oval(0, HEAD, RADIUS * 1.05, RADIUS * 0.88, look.skin)
    for side in (-1, 1):
        for rise in (-0.02, 0.03):
            pen.stroke([(side * 0.12, HEAD - 0.06), (side * 0.32, HEAD - 0.06 + rise * 2)], 0.014, INK)
    pen.shape([(-0.035, HEAD - 0.02), (0.035, HEAD - 0.02), (0, HEAD - 0.055)], (235, 120, 130))


def _robot(pen: Pen, look: Look) -> None:
    pen.stroke([(0, HEAD + 0.15), (0, HEAD + 0.31)], 0.03, INK)
    pen.disc(0, HEAD + 0.31, 0.05, (235, 60, 60))
    pen.box(-0.24, HEAD - 0.2, 0.48, 0.38, look.skin)
    pen.box(-0.19, HEAD - 0.15, 0.38, 0.28, (58, 74, 92))


def _bear(pen: Pen, look: Look) -> None:
    for side in (-1, 1):
        pen.oval(side * 0.19, HEAD + 0.18, 0.09, 0.09, look.skin)
        pen.disc(side * 0.19, HEAD + 0.18, 0.045, shade(look.skin, 1.5))
    pen.oval(0, HEAD, RADIUS * 1.08, RADIUS * 0.98, look.skin)
    pen.oval(0, HEAD - 0.08, 0.14, 0.11, shade(look.skin, 1.7), None)
    pen.oval(0, HEAD - 0.02, 0.05, 0.035, INK)


_HEADS: dict[str, Callable[[Pen, Look], None]] = {
    "man": _man, "woman": _woman, "boy": _boy, "girl": _girl,
    "dog": _dog, "cat": _cat, "robot": _robot, "bear": _bear,
}


def _draw_face(pen: Pen, face: str, blink: bool, light: Colour | None) -> None:
    """Eyes, brows and mouth; `light` is the ink on a dark face."""
    ink = light or INK
    for side in (-1, 1):
        if blink:
            pen.stroke([(side * 0.06, HEAD + 0.03), (side * 0.12, HEAD + 0.03)], 0.022, ink)
        else:
            large = 1.45 if face == "round" else 1.0
            pen.oval(side * 0.09, HEAD + 0.035, 0.05 * large, 0.055 * large, WHITE, INK)
            pen.disc(side * 0.085, HEAD + 0.03, 0.027, INK)
        rise = {"smile": (0.13, 0.13), "content": (0.12, 0.12), "frown": (0.07, 0.17), "sad": (0.18, 0.09),
                "round": (0.18, 0.15)}[face]
        brow = [(side * 0.04, HEAD + rise[0]), (side * 0.14, HEAD + rise[1])]
        pen.stroke(brow, 0.055 if face == "frown" else 0.034, ink)
    if face == "smile":
        half = [(0.13 * math.cos(a), HEAD - 0.07 + 0.12 * math.sin(a))
                for a in np.linspace(-math.pi, 0, 9).tolist()]
        pen.shape(half, WHITE, ink)
        for side in (-1, 1):
            pen.disc(side * 0.165, HEAD - 0.06, 0.04, (250, 130, 130))
    elif face == "content":
        pen.arc(Arc(0, HEAD - 0.06, 0.12, 0.07, 200, 340), 0.045, ink)
    elif face == "frown":
        pen.stroke([(-0.11, HEAD - 0.13), (0.11, HEAD - 0.13)], 0.055, ink)
    elif face == "sad":
        pen.arc(Arc(0, HEAD - 0.18, 0.12, 0.09, 10, 170), 0.055, ink)
        pen.oval(0.14, HEAD - 0.06, 0.03, 0.055, (110, 180, 245), None)     # a tear
    else:
        pen.oval(0, HEAD - 0.125, 0.085, 0.095, (170, 30, 44), ink)
