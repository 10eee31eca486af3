"""Charts that the page draws with HTML, so that they fit a phone as well as a desk: positions in per cent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.report.tables import format_percent, select_drawn

_TICKS = 6      # at most, with the one at 0


@dataclass(frozen=True)
class Dot:
    name: str       # of the model or line
    kind: str       # its look in style.css
    value: str
    left: float     # per cent of the axis


@dataclass(frozen=True)
class Measure:
    name: str
    dots: tuple[Dot, ...]       # the model last, so on top

    @property
    def low(self) -> float:
        return min(dot.left for dot in self.dots)

    @property
    def high(self) -> float:
        return max(dot.left for dot in self.dots)


@dataclass(frozen=True)
class DotPlot:
    measures: tuple[Measure, ...]
    ticks: tuple[tuple[int, float], ...]        # number and place
    legend: tuple[tuple[str, str], ...]         # kind and name, the model first


@dataclass(frozen=True)
class EmotionBar:
    category: str
    recall: float               # per cent of the videos whose references have it
    precision: float | None     # per cent of the captions that say it; None where none does
    counts: str


def build_dots(metrics: Mapping[str, Any]) -> DotPlot | None:
    """Every measure of the model beside its reference lines, on one axis from 0; None where nothing was scored."""
    measures, rows = select_drawn(metrics)
    values = [100 * value for _, own in rows for value in own if value is not None]
    if not values:
        return None
    step = next(step for step in _steps() if step * (_TICKS - 1) >= max(values))
    end = step * -(-max(values) // step) or step
    return DotPlot(
        tuple(Measure(measure, tuple(
            Dot(name, _kind(name), format_percent(own[number]), 100 * 100 * value / end)
            for name, own in reversed(rows) if (value := own[number]) is not None))
            for number, measure in enumerate(measures)),
        tuple((step * n, 100 * step * n / end) for n in range(int(end // step) + 1)),
        tuple((_kind(name), name) for name, own in rows if any(value is not None for value in own)))


def build_emotion_bars(table: Sequence[Mapping[str, Any]]) -> list[EmotionBar]:
    """Recall and precision of every emotion that is meant or said, the commonest first."""
    rows = sorted((row for row in table if row["videos"] or row["predicted"]),
                  key=lambda row: (-row["videos"], row["category"]))
    return [EmotionBar(row["category"], 100 * row["hits"] / row["videos"] if row["videos"] else 0.0,
                       100 * row["hits"] / row["predicted"] if row["predicted"] else None,
                       f"{row['hits']} of {row['videos']}") for row in rows]


def _kind(name: str) -> str:
    return name.lower().replace(" ", "-")


def _steps() -> Sequence[int]:
    return [base * 10 ** power for power in range(9) for base in (1, 2, 5)]
