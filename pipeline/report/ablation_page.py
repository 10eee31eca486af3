"""The ablation as one HTML file that loads nothing: how far each row is behind the full model, and all scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from pipeline.metrics.paired_bootstrap import describe
from pipeline.report.assets import read_asset, read_template


@dataclass(frozen=True)
class Bar:
    """The interval by which the full model is ahead of a row; places in percent of the axis."""

    row: str
    text: str
    tie: bool
    low: float
    high: float
    middle: float


def render(comparison: Mapping[str, Any], scores: Sequence[str], paper_set: str) -> str:
    """comparison: ablation.json; scores: the names of its columns; paper_set: what the authors' numbers are of."""
    rows: Sequence[Mapping[str, Any]] = comparison["rows"]
    bars, zero = _bars(rows)
    return read_template("ablation_page.html.j2").render(
        dataset=comparison["dataset"], videos=comparison["videos"], seeds=comparison["seeds"],
        epochs=comparison["epochs"], untrained=comparison["untrained"], warnings=comparison["warnings"],
        scores=scores, rows=rows, bars=bars, zero=zero, paper_set=paper_set,
        cell=lambda values: "–" if values is None else f"{100 * values['mean']:.1f}",
        deviation=lambda values: "" if values is None or values["deviation"] is None
        else f"±\u00a0{100 * values['deviation']:.1f}",
        style=Markup(read_asset("style.css")))


def _bars(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Bar], float]:
    """The intervals of all rows on one axis, and where on it zero is."""
    intervals = {row["row"]: row["full_is_ahead_by"]["cfs"] for row in rows if "cfs" in row["full_is_ahead_by"]}
    ends: list[float] = [0.0, *(own[end] for own in intervals.values() for end in ("low", "high"))]
    low, span = min(ends), max(max(ends) - min(ends), 1e-9)

    def place(value: float) -> float:
        return 100 * (value - low) / span

    return [Bar(name, describe(own), own["tie"], place(own["low"]), place(own["high"]), place(own["difference"]))
            for name, own in intervals.items()], place(0.0)
