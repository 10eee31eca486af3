"""The videos as the page shows them: everything of a video as JSON, which the page's script makes a card of."""

import base64
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.emotion.taxonomy import Taxonomy
from pipeline.metrics.protocols import prepare_evc, prepare_evc_reference
from pipeline.report.attention import pack_attention

NO_EMOTION = "(none)"
LEAST = 0.005           # of a probability that is listed: less is printed as 0 %
MATRIX_SIZE = 10        # reference emotions of the confusions: more would not be readable
BEAMS = 10              # hypotheses that are shown: there are dozens, and thousands of videos
CIDER = ("CIDEr (coco)", "CIDEr (evc)")     # a video's own score: the first that its line has

# What is said of a caption: of its emotion alone, not of its content.
OUTCOMES = {
    "right": ("emotion right", "every emotion said is in the references"),
    "mixed": ("emotion partly right", "some emotions said are in the references, some are not"),
    "wrong": ("emotion wrong", "no emotion said is in the references"),
    "missed": ("emotion missed", "the references have an emotion, the caption says none"),
    "plain": ("no emotion", "neither the references nor the caption have an emotion"),
    "unknown": ("no references", "no references to compare with"),
}

# A token without the punctuation around it.
_WORD = re.compile(r"[^\W_](?:\S*[^\W_])?")

Frames = Sequence[tuple[float, bytes]]      # seconds and picture
Piece = str | tuple[str, str, str]          # plain text, or an emotion word, its category and how it compares
Card = dict[str, Any]


@dataclass
class EmotionWords:
    """Finds the emotion words of captions; a word is looked up once, for many videos say the same ones."""

    taxonomy: Taxonomy
    _category_of: dict[str, str | None] = field(default_factory=dict)

    def mark(self, text: str, reference: frozenset[str] | None = None) -> list[Piece]:
        """`text` cut at its emotion words; they are "right" or "wrong" beside the `reference` emotions, where given."""
        pieces: list[Piece] = []
        end = 0
        for match in _WORD.finditer(text):
            word = match.group()
            if word not in self._category_of:
                self._category_of[word] = self.taxonomy.first_category(prepare_evc(word))
            if category := self._category_of[word]:
                state = "" if reference is None else "right" if category in reference else "wrong"
                pieces += [text[end:match.start()], (word, category, state)]
                end = match.end()
        return [piece for piece in (*pieces, text[end:]) if piece]


def predict_categories(caption: str, taxonomy: Taxonomy) -> frozenset[str]:
    """The categories that a generated caption counts for in the emotion metrics."""
    return taxonomy.predicted_categories(prepare_evc(caption))


def collect_reference_categories(references: Sequence[str], taxonomy: Taxonomy) -> frozenset[str]:
    """The reference emotions of a video, as the emotion metrics have them."""
    return taxonomy.reference_categories(map(prepare_evc_reference, references))


def judge_caption(caption: str, references: Sequence[str], taxonomy: Taxonomy) -> str:
    """Which of OUTCOMES a caption is."""
    if not references:
        return "unknown"
    predicted = predict_categories(caption, taxonomy)
    reference = collect_reference_categories(references, taxonomy)
    if not predicted:
        return "missed" if reference else "plain"
    return "right" if predicted <= reference else "mixed" if predicted & reference else "wrong"


def make_card(row: Mapping[str, Any], references: Sequence[str], frames: Frames, words: EmotionWords) -> Card:
    """All that the page shows of the video of one line of predictions.jsonl, but its split and its file."""
    caption, taxonomy = row["caption"], words.taxonomy
    meant = collect_reference_categories(references, taxonomy)
    reference = meant if references else None
    attributes, beams = row.get("attributes") or (), row.get("beams") or ()
    order = sorted(range(len(attributes)), key=lambda n: (-attributes[n]["probability"], attributes[n]["word"]))
    return {
        "id": row["video_id"],
        "outcome": judge_caption(caption, references, taxonomy),
        "frames": picture_entries(frames),
        "caption": words.mark(caption, reference),
        "attention": pack_attention(row, order),
        "score": _number(row.get("score")),
        "cider": find_cider(row),
        "retrieved": bool(beams and beams[0].get("retrieved")),
        "baseline": None if row.get("baseline") is None else words.mark(row["baseline"], reference),
        "references": [words.mark(text) for text in references],
        "candidates": [(words.mark(entry["text"]), _number(entry["score"])) for entry in row.get("candidates") or ()],
        "beams": [(words.mark(beam["caption"], reference), _number(beam["score"]), bool(beam.get("retrieved")))
                  for beam in beams[:BEAMS]],
        "hypotheses": len(beams),
        "emotions": _compare_emotions(row, meant),
        "attributes": [(attributes[n]["word"], _number(attributes[n]["probability"]), bool(attributes[n]["emotional"]))
                       for n in order],
        "meant": sorted(meant),
        "said": sorted(predict_categories(caption, taxonomy)),
    }


def find_cider(row: Mapping[str, Any]) -> float | None:
    """The video's own score."""
    own = row.get("scores") or {}
    return next((_number(own[name]) for name in CIDER if name in own), None)


def compare_cards(card: Card, other: Mapping[str, Any], references: Sequence[str], words: EmotionWords) -> Card:
    """What a card says of the same video's line in another run's predictions; `change`: by how much its own CIDEr is
    above that of the other run, None where one has none."""
    theirs = find_cider(other)
    meant = frozenset(card["meant"]) if references else None
    return {"caption": words.mark(other["caption"], meant), "cider": theirs,
            "outcome": judge_caption(other["caption"], references, words.taxonomy),
            "change": None if theirs is None or card["cider"] is None else round(card["cider"] - theirs, 4)}


def picture_entries(frames: Frames) -> list[tuple[float, str]]:
    """Frames as a card has them: seconds, and the picture in base64."""
    return [(round(seconds, 2), base64.b64encode(picture).decode("ascii")) for seconds, picture in frames]


def _compare_emotions(row: Mapping[str, Any], meant: frozenset[str]) -> list[tuple[str, float | None, float, bool]]:
    """(category, prior, final, in the references), the likeliest first; what neither has is left out."""
    prior = row.get("prior") or {}
    final = {entry["category"]: entry["probability"] for entry in row.get("emotions") or ()}
    shown = [category for category in final if max(final[category], prior.get(category, 0.0)) >= LEAST]
    return [(category, _number(prior.get(category)), round(final[category], 4), category in meant)
            for category in sorted(shown, key=lambda category: (-final[category], category))]


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)


@dataclass(frozen=True)
class Cell:
    category: str       # predicted
    share: float        # of the row's videos
    kind: str           # right, wrong or silent


@dataclass(frozen=True)
class Confusions:
    """Rows: reference emotions, how many videos have each, and which share of their captions says what."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, int, tuple[Cell, ...]], ...]


def count_confusions(cards: Sequence[Card]) -> Confusions | None:
    """The emotions with the most videos, and the three others most often predicted; None where fewer than two.

    A video of several reference emotions counts for each. A prediction of another one of them is no confusion and
    counts for that one alone; a caption without an emotion counts under `(none)`.
    """
    counts: Counter[tuple[str, str]] = Counter()
    videos: Counter[str] = Counter()
    for card in cards:
        meant, predicted = set(card["meant"]), set(card["said"]) or {NO_EMOTION}
        videos.update(meant)
        counts.update((category, other) for category in meant for other in predicted - (meant - {category}))
    rows = sorted(videos, key=lambda name: (-videos[name], name))[:MATRIX_SIZE]
    if len(rows) < 2:
        return None
    others: Counter[str] = Counter()
    for (row, column), count in counts.items():
        if row in rows and column not in rows and column != NO_EMOTION:
            others[column] += count
    columns = (*rows, *sorted(others, key=lambda name: (-others[name], name))[:3], NO_EMOTION)
    return Confusions(columns, tuple(
        (row, videos[row], tuple(
            Cell(column, counts[row, column] / videos[row],
                 "right" if row == column else "silent" if column == NO_EMOTION else "wrong") for column in columns))
        for row in rows))
