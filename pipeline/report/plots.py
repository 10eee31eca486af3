"""Plots as inline SVG. Each function returns one `<svg>` element, or "" where there is nothing to draw.

The background is transparent, colours are mid tones that show on white and on black, and the texts stay
texts: the page's style sheet gives them its own colour and typeface. The same data give the same bytes.
"""

import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEAL, ORANGE, VIOLET, GREEN, GREY = "#2b8fa8", "#d9772b", "#8a6fd1", "#3a9a5b", "#848a94"
MATRIX_SIZE = 10            # reference emotions: more would not be readable

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


def draw_training(history: Sequence[Mapping[str, Any]]) -> str:
    """Losses, validation CIDEr and CFS by epoch; the epoch of the best CFS, whose weights are kept, is marked."""
    losses = [(label, colour, points)
              for key, label, colour in (("loss", "all", GREY), ("caption_loss", "caption", TEAL),
                                         ("attribute_loss", "attributes", ORANGE))
              if (points := _points(history, key))]
    cider, cfs = ([(epoch, 100 * value) for epoch, value in _points(history, f"validation_{name}")]
                  for name in ("cider", "cfs"))
    if not losses and not cfs:
        return ""
    last = max(row["epoch"] for row in history)
    with _figure(9.6, 3.1) as figure:
        panels = iter(figure.subplots(1, bool(losses) + bool(cfs), squeeze=False)[0])
        if losses:
            axes = _epochs(next(panels), "Training loss", last)
            for label, colour, points in losses:
                axes.plot(*zip(*points, strict=True), color=colour, label=label, marker=_marker(points))
            axes.legend()
        if cfs:
            axes = _epochs(next(panels), "Validation (×100)", last)
            for label, colour, points in (("CIDEr", TEAL, cider), ("CFS", VIOLET, cfs)):
                axes.plot(*zip(*points, strict=True), color=colour, label=label)
            axes.legend(loc="lower right")
            epoch, best = max(cfs, key=lambda point: (point[1], -point[0]))
            axes.plot([epoch], [best], "o", color=VIOLET, markersize=7)
            axes.annotate(f"{best:.1f} in epoch {epoch:g}", (epoch, best), textcoords="offset points",
                          xytext=(0, -16), ha="right" if epoch > last / 2 else "left")
        return _svg(figure, "training", "Training curves: losses, and validation CIDEr and CFS, by epoch")


def draw_reference_lines(measures: Sequence[str], rows: Sequence[tuple[str, Sequence[float | None]]]) -> str:
    """A dot a row's value (fractions) for every measure: the model beside its reference lines."""
    drawn = [(name, values) for name, values in rows if any(value is not None for value in values)]
    if not drawn:
        return ""
    looks = {"Model": ("o", TEAL, 10.0), "Baseline": ("o", GREY, 7.0), "Constant word": ("X", ORANGE, 8.0),
             "Nearest caption": ("s", VIOLET, 7.0), "Consensus caption": ("P", VIOLET, 8.0),
             "Human": ("D", GREEN, 7.0), "Without rerankers": ("o", TEAL, 5.0), "With candidates": ("^", TEAL, 7.0)}
    with _figure(9.6, 0.9 + 0.42 * len(measures)) as figure:
        axes = figure.subplots()
        for line in range(len(measures)):
            values = [100 * row[line] for _, row in drawn if row[line] is not None]  # type: ignore[operator]
            if values:
                axes.hlines(line, min(values), max(values), color=GREY, alpha=0.5, linewidth=1.2, zorder=1)
        for name, row in reversed(drawn):           # the model last, so on top
            marker, colour, size = looks[name]
            points = [(100 * value, line) for line, value in enumerate(row) if value is not None]
            axes.plot(*zip(*points, strict=True), marker, color=colour, markersize=size, label=name,
                      alpha=0.9, markeredgewidth=0)
        axes.set_yticks(range(len(measures)), measures)
        axes.set_ylim(len(measures) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.grid(axis="y", visible=False)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside upper left", ncols=min(4, len(drawn)))
        _bare(axes)
        return _svg(figure, "lines", "The model's scores beside the reference lines, times 100")


def draw_emotions(table: Sequence[Mapping[str, Any]]) -> str:
    """Bars: the share of the videos of a reference emotion whose caption has it; diamonds: precision."""
    rows = sorted((row for row in table if row["videos"] or row["predicted"]),
                  key=lambda row: (-row["videos"], row["category"]))
    if not rows:
        return ""
    with _figure(6.2, 1.0 + 0.27 * len(rows)) as figure:
        axes = figure.subplots()
        recall = [100 * row["hits"] / row["videos"] if row["videos"] else 0.0 for row in rows]
        axes.barh(range(len(rows)), recall, height=0.62, color=TEAL, alpha=0.85,
                  label="recall: said where the references have it")
        precision = [(100 * row["hits"] / row["predicted"], line) for line, row in enumerate(rows) if row["predicted"]]
        if precision:
            axes.plot(*zip(*precision, strict=True), "D", color=ORANGE, markersize=5, clip_on=False,
                      label="precision: right where it is said")
        for line, row in enumerate(rows):
            axes.text(104, line, f"{row['hits']} of {row['videos']}", va="center", fontsize=8)
        axes.set_yticks(range(len(rows)), [row["category"] for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(0, 100)
        axes.set_xlabel("% of videos")
        axes.grid(axis="y", visible=False)
        figure.legend(loc="outside upper left", ncols=1)
        _bare(axes)
        return _svg(figure, "emotions", "Recall and precision of every emotion category")


def draw_confusions(counts: Mapping[tuple[str, str], int], videos: Mapping[str, int], silent: str) -> str:
    """Of the videos with a reference emotion (row), the share whose caption has it, has another, or none.

    `counts[reference, predicted]` and `videos[reference]` count videos; the column `silent`, no emotion predicted,
    stands last. The emotions with the most videos are drawn, and the three others most often predicted.
    """
    rows = sorted(videos, key=lambda name: (-videos[name], name))[:MATRIX_SIZE]
    others: Counter[str] = Counter()
    for (row, column), count in counts.items():
        if row in rows and column not in rows and column != silent:
            others[column] += count
    columns = [*rows, *sorted(others, key=lambda name: (-others[name], name))[:3], silent]
    if len(rows) < 2:
        return ""
    from matplotlib.patches import Rectangle

    with _figure(1.4 + 0.36 * len(columns), 1.3 + 0.3 * len(rows)) as figure:
        axes = figure.subplots()
        axes.grid(visible=False)
        for y, row in enumerate(rows):
            for x, column in enumerate(columns):
                share = counts.get((row, column), 0) / videos[row]
                colour = TEAL if row == column else GREY if column == silent else ORANGE
                axes.add_patch(Rectangle((x - 0.47, y - 0.46), 0.94, 0.92, facecolor=colour, linewidth=0,
                                         alpha=0.05 + 0.8 * share))
                if share:
                    axes.text(x, y, f"{100 * share:.0f}", ha="center", va="center", fontsize=8)
        axes.set_yticks(range(len(rows)), [f"{row} ({videos[row]})" for row in rows])
        axes.set_xticks(range(len(columns)), columns, rotation=45, ha="left", rotation_mode="anchor")
        axes.xaxis.tick_top()
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        _bare(axes)
        return _svg(figure, "matrix", "Reference emotions (rows) against emotions said (columns), per cent")


def _points(history: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    return [(row["epoch"], row[key]) for row in history if row.get(key) is not None]


def _epochs(axes: "Axes", title: str, last: float) -> "Axes":
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title)
    axes.set_xlabel("epoch")
    axes.set_xlim(0.5, last + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.margins(y=0.14)
    return axes


def _marker(points: Sequence[object]) -> str:
    return "o" if len(points) < 4 else ""       # a line of one point would not be seen


def _bare(axes: "Axes") -> None:
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


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
