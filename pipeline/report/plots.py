"""Training curves as inline SVG. Each function returns one `<svg>` element, or "" where there is nothing to draw.

The background is transparent, colours are mid tones that show on white and on black, and the texts stay
texts: the page's style sheet gives them its own colour and typeface. The same data give the same bytes.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEAL, ORANGE, VIOLET, GREY = "#2b8fa8", "#d9772b", "#8a6fd1", "#848a94"

_STYLE: Any = {
    "svg.hashsalt": "spectrum",
    "svg.fonttype": "none",
    "text.parse_math": False,           # a `$` in a name is a `$`
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "text.color": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GREY,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.0,
}


def draw_losses(history: Sequence[Mapping[str, Any]]) -> str:
    """The training losses by epoch."""
    losses = [(label, colour, points)
              for key, label, colour in (("loss", "all", GREY), ("caption_loss", "caption", TEAL),
                                         ("attribute_loss", "attributes", ORANGE))
              if (points := _points(history, key))]
    return _draw_curves("losses", "Training losses by epoch", losses) if losses else ""


def draw_validation(history: Sequence[Mapping[str, Any]]) -> str:
    """Validation CIDEr and CFS by epoch, times 100; the best CFS, whose weights are kept, is marked."""
    cider, cfs = ([(epoch, 100 * value) for epoch, value in _points(history, f"validation_{name}")]
                  for name in ("cider", "cfs"))
    if not cfs:
        return ""
    curves = [(label, colour, points) for label, colour, points in (("CIDEr", TEAL, cider), ("CFS", VIOLET, cfs))
              if points]
    return _draw_curves("validation", "Validation CIDEr and CFS by epoch, times 100", curves, find_best(history))


def find_best(history: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """(epoch, CFS times 100) of the best validation CFS; None without one."""
    points = _points(history, "validation_cfs")
    epoch, best = max(points, key=lambda point: (point[1], -point[0])) if points else (0.0, 0.0)
    return (epoch, 100 * best) if points else None


def _draw_curves(name: str, description: str, curves: Sequence[tuple[str, str, Sequence[tuple[float, float]]]],
                 mark: tuple[float, float] | None = None) -> str:
    from matplotlib.ticker import MaxNLocator

    last = max(epoch for _, _, points in curves for epoch, _ in points)
    with _figure(4.3, 2.7) as figure:
        axes = figure.subplots()
        axes.set_xlabel("epoch")
        axes.set_xlim(0.5, last + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.margins(y=0.14)
        for label, colour, points in curves:
            axes.plot(*zip(*points, strict=True), color=colour, label=label, marker=_marker(points))
        if mark is not None:
            axes.plot(*mark, "o", color=VIOLET, markersize=7, label="kept")
        figure.legend(loc="outside upper left", ncols=len(curves) + 1)      # above the curves, never over them
        return _svg(figure, name, description)


def _points(history: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    return [(row["epoch"], row[key]) for row in history if row.get(key) is not None]


def _marker(points: Sequence[object]) -> str:
    return "o" if len(points) < 4 else ""       # a line of one point would not be seen


@contextmanager
def _figure(width: float, height: float) -> "Iterator[Figure]":
    """A figure of its own, in inches; pyplot and its global list of figures stay out of it."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


def _svg(figure: "Figure", name: str, description: str) -> str:
    """The figure as one element: no prolog, date or size in points; its ids begin with `name`, for the
    ids of several drawings share one page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    _, _, body = text[text.index("<svg"):].partition(">")
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", body)
    width, height = (float(inches) * 72 for inches in figure.get_size_inches())
    return (f'<svg class="plot" role="img" aria-label="{escape(description)}" '
            f'viewBox="0 0 {width:g} {height:g}" style="--width: {width:g}">{body.strip()}')
