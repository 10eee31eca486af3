"""The places of the sample world: backgrounds in a unit square, y up, the ground line near 0.35."""

from collections.abc import Callable

import numpy as np

from pipeline.datasets.sample.pen import INK, WHITE, Colour, Pen, shade, vary


def draw_place(pen: Pen, place: str, rng: np.random.Generator) -> None:
    _PLACES[place](pen, rng)


def _ground(pen: Pen, rng: np.random.Generator, sky: Colour, ground: Colour) -> float:
    """Sky above, ground below the line that is returned."""
    line = rng.uniform(0.3, 0.42)
    sky, ground = vary(sky, rng), vary(ground, rng)
    for step in range(8):        # brighter towards the line
        height = (1.02 - line) / 8
        pen.box(-0.02, line + step * height, 1.04, height + 0.01, shade(sky, 1.12 - 0.025 * step), None)
    pen.box(-0.02, -0.02, 1.04, line + 0.02, ground, None)
    return line


def _cloud(pen: Pen, x: float, y: float, size: float) -> None:
    for dx, dy, radius in ((-0.09, 0, 0.05), (0, 0.03, 0.07), (0.09, 0, 0.055)):
        pen.disc(x + dx * size, y + dy * size, radius * size, WHITE)


def _park(pen: Pen, rng: np.random.Generator) -> None:
    line = _ground(pen, rng, (150, 208, 240), (112, 186, 84))
    _cloud(pen, rng.uniform(0.1, 0.9), rng.uniform(0.82, 0.92), rng.uniform(0.7, 1.2))
    for x in np.linspace(0.05, 0.95, 4) + rng.uniform(-0.09, 0.09, 4):
        height = rng.uniform(0.2, 0.32)
        green = vary((58, 140, 62), rng, 20)
        pen.box(x - 0.018, line - 0.04, 0.036, height, (122, 82, 50), None)
        for dx, dy in ((-0.06, 0), (0.06, 0), (0, 0.06)):
            pen.disc(x + dx, line + height + dy, 0.085, green)
        pen.disc(x - 0.02, line + height + 0.06, 0.04, shade(green, 1.18))
    for x, y in rng.uniform((0, 0), (1, line - 0.08), (12, 2)):
        pen.disc(x, y, 0.009, vary((240, 220, 120), rng, 40))


def _beach(pen: Pen, rng: np.random.Generator) -> None:
    line = _ground(pen, rng, (140, 212, 250), (244, 220, 150))
    pen.disc(rng.uniform(0.1, 0.9), rng.uniform(0.82, 0.9), 0.07, (255, 236, 120))
    sea = vary((38, 132, 200), rng)
    pen.box(-0.02, line, 1.04, 0.17, sea, None)
    for y in (0.03, 0.08, 0.13):
        for x in np.arange(rng.uniform(-0.1, 0.1), 1.0, 0.24):
            wave = [(x, line + y), (x + 0.04, line + y + 0.012), (x + 0.08, line + y)]
            pen.stroke(wave, 0.012, shade(sea, 1.4))
    x = rng.uniform(0.05, 0.95)
    pen.stroke([(x, line - 0.1), (x, line + 0.22)], 0.02, WHITE)
    stripe = vary((230, 70, 60), rng, 20)
    for part in range(4):
        left = x - 0.18 + 0.09 * part
        pen.shape([(left, line + 0.2), (left + 0.09, line + 0.2), (x, line + 0.33)],
                  stripe if part % 2 else WHITE, None)


def _street(pen: Pen, rng: np.random.Generator) -> None:
    line = _ground(pen, rng, (196, 206, 216), (112, 114, 122))
    x = rng.uniform(-0.15, 0.0)
    while x < 1.0:
        width, height = rng.uniform(0.18, 0.28), rng.uniform(0.3, 0.55)
        wall = vary((190, 110, 90), rng, 45)
        pen.box(x, line, width, height, wall, INK)
        for wx in np.arange(x + 0.03, x + width - 0.05, 0.075):
            for wy in np.arange(line + 0.06, line + height - 0.07, 0.11):
                pen.box(wx, wy, 0.04, 0.06, (250, 236, 170) if rng.random() < 0.5 else (84, 100, 124), None)
        x += width
    pen.box(-0.02, line - 0.05, 1.04, 0.05, (176, 178, 182), None)
    for dash in np.arange(rng.uniform(-0.1, 0.1), 1, 0.22):
        pen.box(dash, 0.1, 0.12, 0.02, WHITE, None)


def _kitchen(pen: Pen, rng: np.random.Generator) -> None:
    line = _ground(pen, rng, (246, 226, 190), (206, 160, 112))
    tile = vary((226, 190, 150), rng)
    for row, y in enumerate(np.arange(-0.02, line - 0.02, 0.09)):
        for x in np.arange(-0.1 + 0.09 * (row % 2), 1.0, 0.18):
            pen.box(x, y, 0.09, 0.09, tile, None)
    wood = vary((150, 92, 60), rng, 25)
    for x in np.arange(rng.uniform(-0.2, 0), 1, 0.24):
        pen.box(x, line - 0.03, 0.23, 0.2, wood)
        pen.disc(x + 0.19, line + 0.1, 0.014, (240, 220, 160))
        pen.box(x, 0.86, 0.23, 0.2, shade(wood, 1.15))
    pen.box(-0.02, line + 0.17, 1.04, 0.035, (236, 236, 238), None)
    x = rng.uniform(0.05, 0.3) if rng.random() < 0.5 else rng.uniform(0.6, 0.78)
    pen.box(x, line - 0.06, 0.2, 0.5, (238, 244, 246))                      # fridge
    pen.stroke([(x + 0.03, line + 0.22), (x + 0.17, line + 0.22)], 0.008, INK)
    x = (x + 0.5) % 0.8
    pen.box(x, line + 0.28, 0.2, 0.2, (160, 214, 246))                      # window
    pen.stroke([(x + 0.1, line + 0.28), (x + 0.1, line + 0.48)], 0.01, WHITE)


def _snow(pen: Pen, rng: np.random.Generator) -> None:
    line = _ground(pen, rng, (190, 214, 236), (240, 245, 250))
    for x in rng.uniform(0, 1, 3):
        height, wide = rng.uniform(0.28, 0.45), rng.uniform(0.2, 0.3)
        pen.shape([(x - wide, line), (x + wide, line), (x, line + height)], vary((122, 138, 164), rng), None)
        pen.shape([(x - wide * 0.4, line + height * 0.6), (x, line + height * 0.5),
                   (x + wide * 0.4, line + height * 0.6), (x, line + height)], WHITE, None)
    for x in rng.uniform(0, 1, 3):
        for layer in range(3):
            y, wide = line - 0.03 + 0.07 * layer, 0.09 - 0.022 * layer
            pen.shape([(x - wide, y), (x + wide, y), (x, y + 0.12)], vary((44, 96, 78), rng, 8), None)
    for x, y in rng.uniform(0, 1, (40, 2)):
        pen.disc(x, y, 0.009, WHITE)


def _desert(pen: Pen, rng: np.random.Generator) -> None:
    line = _ground(pen, rng, (250, 214, 150), (222, 150, 78))
    pen.disc(rng.uniform(0.1, 0.9), rng.uniform(0.78, 0.9), 0.09, (255, 246, 190))
    for x in rng.uniform(0, 1, 3):
        wide, height = rng.uniform(0.25, 0.4), rng.uniform(0.07, 0.14)
        pen.oval(x, line - 0.02, wide, height, vary((232, 168, 92), rng, 10), None)
    for x in (rng.uniform(0.04, 0.25), rng.uniform(0.75, 0.96)):
        base, green = line - rng.uniform(0.02, 0.1), vary((70, 130, 70), rng)
        pen.stroke([(x, base), (x, base + 0.3)], 0.05, green)
        pen.stroke([(x, base + 0.1), (x - 0.07, base + 0.12), (x - 0.07, base + 0.2)], 0.035, green)
        pen.stroke([(x, base + 0.15), (x + 0.07, base + 0.17), (x + 0.07, base + 0.25)], 0.035, green)


_PLACES: dict[str, Callable[[Pen, np.random.Generator], None]] = {
    "park": _park, "beach": _beach, "street": _street, "kitchen": _kitchen, "snow": _snow, "desert": _desert,
}
