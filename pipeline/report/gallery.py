"""The videos that the report shows: which ones, and how their captions did on emotion."""

import base64
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.emotion.taxonomy import Taxonomy
from pipeline.metrics.protocols import prepare_evc, prepare_evc_reference

SHOWN = 24
NO_EMOTION = "(none)"

# How many of each are shown before a "more" fold.
REFERENCES, CANDIDATES, EMOTIONS, ATTRIBUTES = 3, 3, 5, 14

OUTCOMES = {
    "right": "every emotion said is in the references",
    "mixed": "some emotions said are in the references, some are not",
    "wrong": "no emotion said is in the references",
    "missed": "the references have an emotion, the caption says none",
    "plain": "neither the references nor the caption have an emotion",
    "unknown": "no references to compare with",
}

# A token without the punctuation around it.
_WORD = re.compile(r"[^\W_](?:\S*[^\W_])?")


@dataclass(frozen=True)
class Piece:
    """A stretch of a caption; `emotion` is the category of an emotion word, `state` how it compares."""

    text: str
    emotion: str = ""
    state: str = ""         # right, wrong, or "" where nothing is compared


@dataclass(frozen=True)
class Text:
    pieces: tuple[Piece, ...]
    score: str = ""


@dataclass(frozen=True)
class VideoCard:
    """All that the page shows of a video."""

    id: str
    split: str
    outcome: str
    frames: tuple[str, ...]                         # data: addresses
    caption: Text
    search: str                                     # lower case, for the filter
    sort_score: str
    references: tuple[Text, ...]
    candidates: tuple[Text, ...]
    beams: tuple[Text, ...]
    emotions: tuple[tuple[str, float, bool], ...]   # category, per cent, in the references
    attributes: tuple[tuple[str, float, bool], ...]  # word, per cent, emotional


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


def judge_captions(predictions: Sequence[Mapping[str, Any]], references: Mapping[str, Sequence[str]],
                   taxonomy: Taxonomy) -> dict[str, str]:
    """The outcome of every prediction, by video."""
    return {row["video_id"]: judge_caption(row["caption"], references.get(row["video_id"], ()), taxonomy)
            for row in predictions}


def mark_emotion_words(text: str, taxonomy: Taxonomy, reference: frozenset[str] | None = None) -> tuple[Piece, ...]:
    """`text` cut at its emotion words; they are compared with the `reference` emotions where these are given."""
    pieces, end = [], 0
    for match in _WORD.finditer(text):
        category = taxonomy.first_category(prepare_evc(match.group()))
        if category:
            state = "" if reference is None else "right" if category in reference else "wrong"
            pieces += [Piece(text[end:match.start()]), Piece(match.group(), category, state)]
            end = match.end()
    return tuple(piece for piece in (*pieces, Piece(text[end:])) if piece.text)


def choose_videos(outcome_of: Mapping[str, str], seed: int) -> list[str]:
    """Ids of up to 24 videos, sorted: all outcomes in turn, each in an order that `seed` shuffles."""
    shuffle = random.Random(seed).shuffle
    queues = []
    for outcome in OUTCOMES:
        queue = sorted(video for video, own in outcome_of.items() if own == outcome)
        shuffle(queue)
        queues.append(queue)
    chosen: list[str] = []
    while any(queues) and len(chosen) < SHOWN:
        chosen += [queue.pop() for queue in queues if queue]
    return sorted(chosen[:SHOWN])


def make_card(row: Mapping[str, Any], references: Sequence[str], split: str, taxonomy: Taxonomy,
              thumbnails: Callable[[str], Sequence[bytes]]) -> VideoCard:
    """The card of one prediction; `thumbnails` gives the JPEG frames of a video."""
    video, caption = row["video_id"], row["caption"]
    reference = collect_reference_categories(references, taxonomy) if references else None
    emotions = sorted(row.get("emotions") or (), key=lambda e: (-e["probability"], e["category"]))
    attributes = sorted(row.get("attributes") or (), key=lambda a: (-a["probability"], a["word"]))
    score = row.get("score")
    return VideoCard(
        id=video,
        split=split,
        outcome=judge_caption(caption, references, taxonomy),
        frames=tuple("data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
                     for jpeg in thumbnails(video)),
        caption=Text(mark_emotion_words(caption, taxonomy, reference), format_score(score)),
        search=f"{video} {caption}".lower(),
        sort_score="" if score is None else f"{score:.6f}",
        references=tuple(Text(mark_emotion_words(text, taxonomy)) for text in references),
        candidates=tuple(Text(mark_emotion_words(candidate["text"], taxonomy), format_score(candidate["score"]))
                         for candidate in row.get("candidates") or ()),
        beams=tuple(Text(mark_emotion_words(beam["caption"], taxonomy, reference), format_score(beam["score"]))
                    for beam in row.get("beams") or ()),
        emotions=tuple((e["category"], 100 * e["probability"], e["category"] in (reference or ()))
                       for e in emotions[:EMOTIONS]),
        attributes=tuple((a["word"], 100 * a["probability"], bool(a["emotional"]))
                         for a in attributes[:ATTRIBUTES]),
    )


def format_score(score: float | None) -> str:
    return "" if score is None else f"{score:.2f}".replace("-", "−")


def count_confusions(predictions: Sequence[Mapping[str, Any]], references: Mapping[str, Sequence[str]],
                     taxonomy: Taxonomy) -> tuple[Counter[tuple[str, str]], Counter[str]]:
    """(videos by reference emotion and predicted emotion, videos by reference emotion).

    A video of several reference emotions counts for each. A prediction of another one of them is no confusion and
    counts for that one alone; a caption without an emotion counts under `(none)`.
    """
    counts: Counter[tuple[str, str]] = Counter()
    videos: Counter[str] = Counter()
    for row in predictions:
        predicted = predict_categories(row["caption"], taxonomy) or {NO_EMOTION}
        reference = collect_reference_categories(references.get(row["video_id"], ()), taxonomy)
        for category in reference:
            videos[category] += 1
            counts.update((category, other) for other in predicted - (reference - {category}))
    return counts, videos
