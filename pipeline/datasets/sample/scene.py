"""Frames of a scene: the place once, the figure and its things at every time, then the light of the mood.

Drawn at twice the size and averaged down. A frame keeps a trail of the one before, so a single frame shows
something of the motion.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline.datasets.sample import figures, props
from pipeline.datasets.sample.grammar import PLACES, Mood, Scene
from pipeline.datasets.sample.pen import Pen
from pipeline.datasets.sample.places import draw_place

FPS = 10
_SIZES = {"bicycle": 0.88, "boy": 0.84, "girl": 0.82, "dog": 0.86, "cat": 0.8, "bear": 1.04}
_TRAIL = 0.3
_SPARK = (255, 224, 60)
# A place has a few spots that many clips share: else an encoder would know the clips of a small training split
# by their backgrounds, and learn nothing else.
_SPOTS = 4

# Red, green, blue factors; share of grey; lift towards white.
_LIGHTS = {"warm": ((1.1, 0.9, 0.62), 0.0, 0.02), "cold": ((0.5, 0.64, 0.92), 0.15, 0.0),
           "soft": ((1.0, 1.0, 1.0), 0.5, 0.2)}


@dataclass(frozen=True)
class _Motion:
    """Where the mood moves the figure at one time: shift in figure heights, tilt in radians."""

    dx: float
    dy: float
    tilt: float


@dataclass(frozen=True)
class _Figure:
    """Who acts in one clip, with what, and where: feet and height in pixels."""

    scene: Scene
    look: figures.Look
    tool: props.Tool
    feet: tuple[float, float]
    height: float


def frames(scene: Scene, seconds: float, size: int, rng: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """Frames [size, size, 3], `FPS` a second."""
    full = 2 * size
    backdrop = Image.new("RGB", (full, full))
    _draw_backdrop(ImageDraw.Draw(backdrop), scene.place, full, rng)
    look, tool = figures.look(scene.actor, rng), props.Tool.of(scene.action, rng)
    height = rng.uniform(0.62, 0.7) * _SIZES.get(scene.actor, 1.0) * _SIZES.get(scene.action, 1.0) * full
    feet = (rng.uniform(0.27, 0.36) * full, rng.uniform(0.89, 0.95) * full)
    figure = _Figure(scene, look, tool, feet, height)
    speed, phase, blinks = rng.uniform(0.85, 1.2), rng.uniform(0, 1), rng.uniform(0, 2.5)
    mirrored = rng.random() < 0.5
    strength = rng.uniform(0.75, 1.1)
    grain = rng.normal(0, rng.uniform(1.5, 4), (2 * size, 2 * size, 1)).astype(np.float32)
    before: NDArray[np.float32] | None = None
    count = max(1, round(seconds * FPS))
    for number in range(count):
        time, mood = number / FPS, scene.moods[number * len(scene.moods) // count]
        picture = backdrop.copy()
        motion = _motion(mood.motion, time * speed + phase, rng)
        _draw_figure(ImageDraw.Draw(picture), figure, time, mood, motion, blink=(time + blinks) % 2.5 < 0.12)
        if mirrored:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        drawn = np.asarray(picture.reduce(2), dtype=np.float32)      # [size, size, 3]
        before = drawn if before is None else (1 - _TRAIL) * drawn + _TRAIL * before
        top, left = rng.integers(size, size=2)
        lit = _light(before, mood.light, strength) + grain[top:top + size, left:left + size]
        yield np.clip(lit, 0, 255).astype(np.uint8)


def _draw_backdrop(draw: ImageDraw.ImageDraw, place: str, full: int, rng: np.random.Generator) -> None:
    spot = np.random.default_rng((tuple(PLACES).index(place), int(rng.integers(_SPOTS))))
    zoom, (left, down) = rng.uniform(1.1, 1.2), rng.uniform(0, 0.08, 2)
    draw_place(Pen(draw, (-left * full, (1 + down) * full), zoom * full), place, spot)


def _draw_figure(draw: ImageDraw.ImageDraw, figure: _Figure, time: float, mood: Mood, motion: _Motion,
                 blink: bool) -> None:
    scene, tool, height = figure.scene, figure.tool, figure.height
    lifted = 0.22 if scene.action == "bicycle" else 0.0
    ground = Pen(draw, figure.feet, height)
    ground.oval(0.05, 0.0, 0.3 - motion.dy, 0.045, (70, 66, 74), None)       # shadow
    origin = (figure.feet[0] + motion.dx * height, figure.feet[1] - (motion.dy + lifted) * height)
    pen = Pen(draw, origin, height, motion.tilt)
    props.draw_behind(pen, scene.action, tool, time)
    pose = props.pose(scene.action, tool, time)
    figures.draw_body(pen, figure.look, pose)
    props.draw_between(pen, scene.action, tool, time)
    figures.draw_head(pen, figure.look, pose, mood.face, blink)
    _draw_marks(pen, mood.motion)


def _motion(kind: str, time: float, rng: np.random.Generator) -> _Motion:
    if kind == "bounce":
        return _Motion(0.0, 0.13 * abs(math.sin(2 * math.pi * time * 0.9)), 0.0)
    if kind == "shake":
        dx, tilt = rng.uniform(-1, 1, 2)
        return _Motion(0.035 * dx, 0.0, 0.05 * tilt)
    swing = math.sin(2 * math.pi * time * 0.3)
    return _Motion(0.03 * swing, 0.0, 0.2 * swing)


def _draw_marks(pen: Pen, kind: str) -> None:
    """The lines of a cartoon: beside a shaking head, under jumping feet."""
    if kind == "shake":
        for side in (-1, 1):
            zigzag = [(side * (0.36 + 0.07 * (step % 2)), 0.92 - 0.08 * step) for step in range(5)]
            pen.stroke(zigzag, 0.03, _SPARK, outlined=True)
    elif kind == "bounce":
        for x in (-0.16, 0.0, 0.16):
            pen.stroke([(x, -0.06), (x, -0.15)], 0.04, _SPARK)


def _light(picture: NDArray[np.float32], kind: str, strength: float) -> NDArray[np.float32]:
    factors, grey, lift = _LIGHTS[kind]
    tint = (1 - lift * strength) * (1 + strength * (np.array(factors) - 1))
    mean = (picture[..., :1] + picture[..., 1:2] + picture[..., 2:]) / 3     # three times as fast as picture.mean
    mixed = picture + strength * grey * (mean - picture)
    lit: NDArray[np.float32] = (mixed * tint + 255 * lift * strength).astype(np.float32)
    return lit
