"""The report's page: one self-contained HTML file about one run.

    page.render(ReportData(dataset="clips", metrics=…, predictions=…, …)) -> str

Everything comes by argument; the same data give the same page. Captions, ids and names are untrusted:
the template escapes them all, and the page's own policy lets no script run but the report's.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from io import StringIO
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup
from ruamel.yaml import YAML

from pipeline.emotion.taxonomy import Taxonomy
from pipeline.report import gallery, plots, tables
from pipeline.report.facts import StoreFacts

ENOUGH_FOR_A_MATRIX = 10        # videos with an emotion in their references
Thumbnails = Mapping[str, Sequence[bytes]] | Callable[[str], Sequence[bytes]]


@dataclass(frozen=True)
class ReportData:
    """All that the page shows. Scores are fractions; None stands for a score that could not be had."""

    dataset: str
    metrics: Mapping[str, Any]                      # metrics.json; {} where nothing was scored
    predictions: Sequence[Mapping[str, Any]]        # the rows of predictions.jsonl
    references: Mapping[str, Sequence[str]]         # captions by video id; none for the videos of `predict`
    splits: Mapping[str, str]                       # split by video id
    taxonomy: Taxonomy                              # the emotion words and their categories
    thumbnails: Thumbnails = field(default_factory=dict)    # JPEG frames by id; asked for shown videos only
    history: Sequence[Mapping[str, Any]] = ()       # a row an epoch of training
    facts: Mapping[str, str] = field(default_factory=dict)  # of data, index and captioner, by name
    stores: Sequence[StoreFacts] = ()               # the feature stores
    prior_scores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)     # emotion.json
    versions: Mapping[str, str] = field(default_factory=dict)   # of packages
    params: Mapping[str, Any] = field(default_factory=dict)
    encoder: Mapping[str, Any] = field(default_factory=dict)    # encoder.json, of the picture encoder
    recipe: Mapping[str, Any] = field(default_factory=dict)     # of the picture encoder's features
    seed: int = 0                                   # chooses the gallery


def render(data: ReportData) -> str:
    """The whole page. It holds no address to load anything from."""
    outcome_of = gallery.judge_captions(data.predictions, data.references, data.taxonomy)
    counts, videos = gallery.count_confusions(data.predictions, data.references, data.taxonomy)
    emotional = sum(1 for row in data.predictions if gallery.collect_reference_categories(
        data.references.get(row["video_id"], ()), data.taxonomy))
    script = _asset("gallery.js")
    return _template().render(
        dataset=data.dataset,
        sentence=describe_model(data.params),
        sizes=count_videos(data),
        untrained=bool(data.metrics.get("untrained")),
        headlines=tables.build_headlines(data.metrics),
        columns=tables.MAIN,
        groups=_groups(tables.MAIN),
        rows=tables.build_rows(data.metrics, tables.MAIN),
        all_columns=tables.ALL,
        all_groups=_groups(tables.ALL),
        all_rows=tables.build_rows(data.metrics, tables.ALL),
        constant_word=tables.explain_constant_word(data.metrics),
        diversity=tables.describe_diversity(data.metrics),
        warnings=data.metrics.get("warnings") or (),
        plots={name: Markup(svg) for name, svg in {     # plots.py escapes
            "lines": plots.draw_reference_lines(*tables.select_drawn(data.metrics)),
            "training": plots.draw_training(data.history),
            "emotions": plots.draw_emotions(data.metrics.get("emotion_table") or ()),
            "matrix": plots.draw_confusions(counts, videos, gallery.NO_EMOTION)
            if emotional >= ENOUGH_FOR_A_MATRIX else "",
        }.items()},
        outcomes=[(name, meaning, count) for name, meaning in gallery.OUTCOMES.items()
                  if (count := list(outcome_of.values()).count(name))],
        shown=_make_cards(data, outcome_of),
        total=len(data.predictions),
        folds=gallery,
        facts=list(data.facts.items()),
        stores=data.stores,
        prior_columns=tables.PRIOR_COLUMNS,
        prior_rows=tables.build_prior_rows(data.prior_scores),
        versions=list(data.versions.items()),
        protocols={name: _yaml(value) for name, value in (data.metrics.get("protocols") or {}).items()},
        params=_yaml(data.params),
        encoder=_yaml(data.encoder),
        recipe=_yaml(data.recipe),
        style=Markup(_asset("style.css")),              # the package's own files
        script=Markup(script),
        script_hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def describe_model(params: Mapping[str, Any]) -> str:
    """The model in one sentence; "" where the parameters have no model."""
    captioner, encoders = params.get("captioner"), params.get("encoders")
    if not captioner or not encoders:
        return ""
    appearance, retrieval = encoders["appearance"], params.get("retrieval") or {}
    frames = ("imported frames of" if appearance.get("features")
              else f"{appearance['num_frames']} frames a video through")
    inputs = {"appearance": f"{frames} {appearance['model']}", "audio": "sound", "motion": "motion",
              "text": f"{retrieval.get('used', 'the')} retrieved captions"}
    parts = [name.upper() for name in ("vtai", "cfb", "aeb") if captioner[name]]
    read = [inputs[name] for name in captioner["modalities"]
            if name in inputs and (encoders.get(name) or {}).get("kind") != "none"]
    return (f"A Transformer of {_count(captioner['num_layers'], 'layer')} and width {captioner['hidden_size']} "
            f"that reads {_enumerate(read)}, "
            f"{'with ' + _enumerate(parts) if parts else 'without attributes or theme'}.")


def count_videos(data: ReportData) -> str:
    """How many videos were captioned and scored."""
    splits = Counter(data.splits.get(row["video_id"], "unknown") for row in data.predictions)
    by_split = ", ".join(f"{count:,} of {split}" for split, count in sorted(splits.items()))
    captioned = f"{_count(len(data.predictions), 'video')} captioned" + (f" ({by_split})" if by_split else "")
    scored = data.metrics.get("videos")
    return captioned if scored is None else f"{captioned}, {scored:,} scored"


def _make_cards(data: ReportData, outcome_of: Mapping[str, str]) -> list[gallery.VideoCard]:
    rows = {row["video_id"]: row for row in data.predictions}

    def thumbnails(video: str) -> Sequence[bytes]:
        return data.thumbnails(video) if callable(data.thumbnails) else data.thumbnails.get(video, ())

    return [gallery.make_card(rows[video], data.references.get(video, ()), data.splits.get(video, ""), data.taxonomy,
                              thumbnails)
            for video in gallery.choose_videos(outcome_of, data.seed)]


def _groups(columns: Sequence[tables.Column]) -> list[tuple[str, int]]:
    titles = {"coco": "Captions, coco protocol", "evc": "Captions, evc protocol", "emotion": "Emotion"}
    return [(titles[name], len(list(members)))
            for name, members in groupby(columns, lambda column: column.group)]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _enumerate(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def _yaml(value: object) -> str:
    plain = json.loads(json.dumps(value, default=str))      # tuples and paths become what YAML knows
    writer, text = YAML(), StringIO()
    writer.width = 100
    writer.dump(plain, text)
    return text.getvalue().strip() if plain else ""


def _asset(name: str) -> str:
    return files("pipeline.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    environment = Environment(loader=PackageLoader("pipeline.report", "."), autoescape=True,
                              undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("page.html.j2")
