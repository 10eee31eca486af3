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

from pipeline.report import gallery, plots, tables
from pipeline.report.gallery import EmotionWords

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
    emotion_words: EmotionWords                     # categories (or one) by emotion word
    thumbnails: Thumbnails = field(default_factory=dict)    # JPEG frames by id; asked for shown videos only
    history: Sequence[Mapping[str, Any]] = ()       # a row an epoch of training
    stages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)   # what each stage did, in order
    params: Mapping[str, Any] = field(default_factory=dict)
    encoder: Mapping[str, Any] = field(default_factory=dict)    # recipe of the picture encoder
    seed: int = 0                                   # chooses the gallery


def render(data: ReportData) -> str:
    """The whole page. It holds no address to load anything from."""
    lexicon = gallery.Lexicon(data.emotion_words)
    outcome_of = gallery.outcomes(lexicon, data.predictions, data.references)
    counts, videos = gallery.matrix(lexicon, data.predictions, data.references)
    enough = sum(1 for row in data.predictions if lexicon.meant(data.references.get(row["video_id"], ()))) \
        >= ENOUGH_FOR_A_MATRIX
    seconds = {name: float(summary["seconds"]["all"]) for name, summary in data.stages.items()
               if (summary.get("seconds") or {}).get("all") is not None}
    script = _asset("gallery.js")
    return _template().render(
        dataset=data.dataset,
        sentence=sentence(data.params),
        sizes=sizes(data),
        untrained=bool(data.metrics.get("untrained")),
        cards=tables.cards(data.metrics),
        columns=tables.MAIN,
        groups=_groups(tables.MAIN),
        rows=tables.rows(data.metrics, tables.MAIN),
        all_columns=tables.ALL,
        all_groups=_groups(tables.ALL),
        all_rows=tables.rows(data.metrics, tables.ALL),
        gaming=tables.gaming(data.metrics),
        diversity=tables.diversity(data.metrics),
        warnings=data.metrics.get("warnings") or (),
        plots={name: Markup(svg) for name, svg in {     # plots.py escapes
            "lines": plots.reference_lines(*tables.drawn(data.metrics)),
            "training": plots.training(data.history),
            "emotions": plots.emotions(data.metrics.get("emotion_table") or ()),
            "matrix": plots.matrix(counts, videos, gallery.NOTHING_SAID) if enough else "",
            "timings": plots.timings(seconds),
        }.items()},
        outcomes=[(name, meaning, count) for name, meaning in gallery.OUTCOMES.items()
                  if (count := list(outcome_of.values()).count(name))],
        shown=_shown(data, lexicon, outcome_of),
        total=len(data.predictions),
        folds=gallery,
        stages=[_stage(name, summary) for name, summary in data.stages.items()],
        all_seconds=sum(seconds.values()),
        versions=_versions(data.stages),
        protocols={name: _yaml(value) for name, value in (data.metrics.get("protocols") or {}).items()},
        params=_yaml(data.params),
        encoder=_yaml(data.encoder),
        style=Markup(_asset("style.css")),              # the package's own files
        script=Markup(script),
        script_hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def sentence(params: Mapping[str, Any]) -> str:
    """The model in one sentence; "" where the parameters do not tell."""
    captioner, encoders = params.get("captioner"), params.get("encoders")
    if not captioner or not encoders:
        return ""
    appearance, retrieval = encoders["appearance"], params.get("retrieval") or {}
    frames = "imported frames of" if appearance.get("features") else f"{appearance['frames']} frames a video through"
    senses = {"appearance": f"{frames} {appearance['model']}", "audio": "sound", "motion": "motion",
              "text": f"{retrieval.get('used', 'the')} retrieved captions"}
    parts = [name.upper() for name in ("vtai", "cfb", "aeb") if captioner[name]]
    read = [senses[name] for name in captioner["modalities"]
            if name in senses and (encoders.get(name) or {}).get("kind") != "none"]
    return (f"A Transformer of {_count(captioner['layers'], 'layer')} and width {captioner['width']} "
            f"that reads {_enumerate(read)}, "
            f"{'with ' + _enumerate(parts) if parts else 'without attributes or theme'}.")


def sizes(data: ReportData) -> str:
    """How many videos were captioned and scored."""
    splits = Counter(data.splits.get(row["video_id"], "unknown") for row in data.predictions)
    told = ", ".join(f"{count:,} of {split}" for split, count in sorted(splits.items()))
    captioned = f"{_count(len(data.predictions), 'video')} captioned" + (f" ({told})" if told else "")
    scored = data.metrics.get("videos")
    return captioned if scored is None else f"{captioned}, {scored:,} scored"


def _shown(data: ReportData, lexicon: gallery.Lexicon, outcome_of: Mapping[str, str]) -> list[gallery.Shown]:
    rows = {row["video_id"]: row for row in data.predictions}

    def thumbnails(video: str) -> Sequence[bytes]:
        return data.thumbnails(video) if callable(data.thumbnails) else data.thumbnails.get(video, ())

    return [gallery.show(rows[video], lexicon, data.references.get(video, ()), data.splits.get(video, ""),
                         outcome_of[video], thumbnails)
            for video in gallery.choose(outcome_of, data.seed)]


def _groups(columns: Sequence[tables.Column]) -> list[tuple[str, int]]:
    titles = {"coco": "Captions, coco protocol", "evc": "Captions, evc protocol", "emotion": "Emotion"}
    return [(titles[name], len(list(members)))
            for name, members in groupby(columns, lambda column: column.group)]


def _stage(name: str, summary: Mapping[str, Any]) -> dict[str, str]:
    seconds = dict(summary.get("seconds") or {})
    rest = {key: value for key, value in summary.items() if key not in ("seconds", "versions")}
    return {"name": name, "seconds": _number(seconds.pop("all", None)),
            "parts": ", ".join(f"{_words(part)} {_number(value)}" for part, value in seconds.items()),
            "did": _yaml(rest)}


def _versions(stages: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Packages and their versions over all stages; more than one where the stages ran with different ones."""
    found: dict[str, set[str]] = {}
    for summary in stages.values():
        for package, version in (summary.get("versions") or {}).items():
            found.setdefault(package, set()).add(str(version))
    return [(package, ", ".join(sorted(versions))) for package, versions in sorted(found.items())]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _words(key: object) -> str:
    return str(key).replace("_", " ")


def _enumerate(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def _number(value: object) -> str:
    if value is None:
        return tables.NONE
    return f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


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
