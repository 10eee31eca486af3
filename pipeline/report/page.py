"""The report's page: one self-contained HTML file about one run.

    page.render(ReportData(dataset="clips", metrics=…, predictions=…, …)) -> str

Everything comes by argument; the same data give the same page. Captions, ids and names are untrusted:
the template escapes them all, and the page's own policy lets no script run but the report's.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from itertools import groupby
from typing import Any

from markupsafe import Markup
from ruamel.yaml import YAML

from pipeline.emotion.taxonomy import Taxonomy
from pipeline.report import charts, gallery, plots, tables
from pipeline.report.assets import as_inert_json, hash_of, read_asset, read_card_scripts, read_template
from pipeline.report.comparison import OtherRun, count_changes
from pipeline.report.facts import StoreFacts

ENOUGH_FOR_A_MATRIX = 10        # videos with an emotion in their references


@dataclass(frozen=True)
class ReportData:
    """All that the page shows. Scores are fractions; None stands for a score that could not be had."""

    dataset: str
    metrics: Mapping[str, Any]                      # metrics.json; {} where nothing was scored
    predictions: Sequence[Mapping[str, Any]]        # the rows of predictions.jsonl
    references: Mapping[str, Sequence[str]]         # captions by video id; none for the videos of `predict`
    splits: Mapping[str, str]                       # split by video id
    taxonomy: Taxonomy                              # the emotion words and their categories
    frames: Mapping[str, gallery.Frames] = field(default_factory=dict)      # by video id
    clips: Mapping[str, str] = field(default_factory=dict)      # relative address by video id
    history: Sequence[Mapping[str, Any]] = ()       # a row an epoch of training
    facts: Mapping[str, str] = field(default_factory=dict)  # of data, index and captioner, by name
    stores: Sequence[StoreFacts] = ()               # the feature stores
    prior_scores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)     # emotion.json
    versions: Mapping[str, str] = field(default_factory=dict)   # of packages
    params: Mapping[str, Any] = field(default_factory=dict)     # as they are when the page is made
    trained: Mapping[str, Any] = field(default_factory=dict)    # sections that the captioner was trained with
    stale: Sequence[str] = ()                       # what is in `params` another than in `trained`
    encoder: Mapping[str, Any] = field(default_factory=dict)    # encoder.json, of the picture encoder
    recipe: Mapping[str, Any] = field(default_factory=dict)     # of the picture encoder's features
    other: OtherRun | None = None                   # that this one is compared with


def render(data: ReportData) -> str:
    """The whole page. It loads nothing; its only addresses are links to the clips."""
    words = gallery.EmotionWords(data.taxonomy)
    cards = sorted((gallery.make_card(row, data.references.get(row["video_id"], ()),
                                      data.frames.get(row["video_id"], ()), words)
                    | {"split": data.splits.get(row["video_id"], ""), "clip": data.clips.get(row["video_id"], "")}
                    for row in data.predictions), key=lambda card: card["id"])
    if data.other is not None:
        for card in cards:
            row = data.other.rows.get(card["id"])
            card["other"] = row and gallery.compare_cards(card, row, data.references.get(card["id"], ()), words)
    outcomes = Counter(card["outcome"] for card in cards)
    emotions = Counter(name for card in cards for name in {*card["meant"], *card["said"]})
    enough = sum(bool(card["meant"]) for card in cards) >= ENOUGH_FOR_A_MATRIX
    script = read_card_scripts()
    return read_template("page.html.j2").render(
        dataset=data.dataset,
        sentence=describe_model({**data.params, **data.trained}),
        sizes=count_videos(data),
        untrained=bool(data.metrics.get("untrained")),
        headlines=tables.build_headlines(data.metrics),
        columns=tables.MAIN,
        groups=_groups(tables.MAIN),
        rows=tables.build_rows(data.metrics, tables.MAIN),
        ahead_columns=tables.AHEAD,
        all_columns=tables.ALL,
        all_groups=_groups(tables.ALL),
        all_rows=tables.build_rows(data.metrics, tables.ALL),
        constant_word=tables.explain_constant_word(data.metrics),
        diversity=tables.describe_diversity(data.metrics),
        warnings=data.metrics.get("warnings") or (),
        dots=charts.build_dots(data.metrics),
        emotion_bars=charts.build_emotion_bars(data.metrics.get("emotion_table") or ()),
        confusions=gallery.count_confusions(cards) if enough else None,
        plots=[Markup(svg) for svg in (plots.draw_losses(data.history), plots.draw_validation(data.history))
               if svg],     # plots.py escapes
        best=plots.find_best(data.history),
        candidate_columns=tables.CANDIDATE_COLUMNS,
        candidate_rows=tables.build_candidate_rows(data.metrics.get("retrieval") or {}),
        outcomes=[(name, label, meaning, outcomes[name])
                  for name, (label, meaning) in gallery.OUTCOMES.items() if outcomes[name]],
        emotions=sorted(emotions.items()),
        splits=sorted(Counter(card["split"] for card in cards).items()),
        silent=gallery.NO_EMOTION,
        total=len(cards),
        other=data.other,
        other_ahead=tables.describe_ahead(data.other.ahead) if data.other else (),
        changes=count_changes([card["other"]["change"] for card in cards if card["other"]]) if data.other else {},
        attention=any(card["attention"] for card in cards),
        scored=any(card["cider"] is not None for card in cards),
        cards=Markup(as_inert_json({"cards": cards, "outcomes": gallery.OUTCOMES})),     # which is inert
        failures=[(store.name, video, reason) for store in data.stores for video, reason in store.failures.items()],
        facts=list(data.facts.items()),
        stores=data.stores,
        prior_columns=tables.PRIOR_COLUMNS,
        prior_rows=tables.build_prior_rows(data.prior_scores),
        versions=list(data.versions.items()),
        protocols={name: _yaml(value) for name, value in (data.metrics.get("protocols") or {}).items()},
        trained=_yaml(data.trained),
        stale=data.stale,
        params=_yaml({name: value for name, value in data.params.items() if name not in data.trained}),
        encoder=_yaml(data.encoder),
        recipe=_yaml(data.recipe),
        style=Markup(read_asset("style.css")),              # the package's own files
        script=Markup(script),
        script_hash=hash_of(script),
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
