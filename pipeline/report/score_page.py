"""Scores of captions that came in files, as one HTML file that loads nothing."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.metrics.paired_bootstrap import describe
from pipeline.metrics.protocols import METRICS
from pipeline.metrics.score_table import COMPARED, NAMES, columns_of, percent

LOWEST = 20     # videos shown
_GROUPS = {"coco": ("Captions, coco protocol", METRICS),
           "emotion": ("Emotions", [key for key in NAMES if key not in METRICS]),
           "evc": ("Captions, evc protocol", METRICS)}


def render(metrics: dict[str, Any], rows: Sequence[Mapping[str, Any]], references: Mapping[str, Sequence[str]],
           source: str) -> str:
    """The page. metrics: of `score_files`; rows: of `rows_by_video`; source: where the references come from."""
    first = next(iter(metrics["systems"]))
    cider = next((key for key in ("CIDEr (coco)", "CIDEr (evc)") if key in rows[0]), "")
    environment = Environment(loader=PackageLoader("pipeline.report", "."), autoescape=True,
                              undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    text = environment.get_template("score_page.html.j2").render(
        name=first,
        source=source,
        metrics=metrics,
        groups=[(part, title, [(key, NAMES[key]) for key in keys]) for part, (title, keys) in _GROUPS.items()],
        lines=columns_of(metrics),
        comparisons=[(name, COMPARED[score], describe(interval))
                     for name, scores in metrics["ahead_of"].items() if name in metrics["systems"]
                     for score, interval in scores.items()],
        percent=percent,
        cider=cider,
        lowest=sorted(rows, key=lambda row: row[cider])[:LOWEST] if cider else (),
        references=references,
        style=Markup(files("pipeline.report").joinpath("style.css").read_text(encoding="utf-8")),
    )
    return text.encode(errors="backslashreplace").decode()      # halves of characters in ids and captions
