"""The videos that the report shows: which ones, and how their captions did on emotion."""

import base64
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.metrics.protocols import prepare_evc, prepare_evc_reference

SHOWN = 24
NOTHING_SAID = "(none)"

# The sizes shown before a "more" fold.
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

EmotionWords = Mapping[str, str | Sequence[str]]


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
class Shown:
    """A video's card."""

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


class Lexicon:
    """The emotion words, and what they say about captions, which are prepared as for the emotion metrics."""

    def __init__(self, emotion_words: EmotionWords) -> None:
        self._categories = {word: (value,) if isinstance(value, str) else tuple(sorted(value))
                            for word, value in emotion_words.items()}

    def said(self, caption: str) -> set[str]:
        """Categories a generated caption says: of every emotion word the first, as the metrics count."""
        return {self._categories[word][0] for word in prepare_evc(caption).split() if word in self._categories}

    def meant(self, references: Sequence[str]) -> set[str]:
        """Categories of a video: all of all emotion words in its references."""
        return {category for text in references for word in prepare_evc_reference(text).split()
                for category in self._categories.get(word, ())}

    def outcome(self, caption: str, references: Sequence[str]) -> str:
        if not references:
            return "unknown"
        said, meant = self.said(caption), self.meant(references)
        if not said:
            return "missed" if meant else "plain"
        return "right" if said <= meant else "mixed" if said & meant else "wrong"

    def mark(self, text: str, meant: set[str] | None = None) -> tuple[Piece, ...]:
        """`text` cut at its emotion words; they are compared with `meant` where that is given."""
        pieces, end = [], 0
        for match in _WORD.finditer(text):
            categories = self._categories.get(prepare_evc(match.group()))
            if categories:
                state = "" if meant is None else "right" if categories[0] in meant else "wrong"
                pieces += [Piece(text[end:match.start()]), Piece(match.group(), categories[0], state)]
                end = match.end()
        return tuple(piece for piece in (*pieces, Piece(text[end:])) if piece.text)


def outcomes(lexicon: Lexicon, predictions: Sequence[Mapping[str, Any]],
             references: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {row["video_id"]: lexicon.outcome(row["caption"], references.get(row["video_id"], ()))
            for row in predictions}


def choose(outcome_of: Mapping[str, str], seed: int) -> list[str]:
    """Ids of up to 24 videos, sorted: all outcomes in turn, each in an order that `seed` shuffles."""
    shuffle = random.Random(seed).shuffle
    queues = []
    for outcome in OUTCOMES:
        queue = sorted(video for video, found in outcome_of.items() if found == outcome)
        shuffle(queue)
        queues.append(queue)
    chosen: list[str] = []
    while any(queues) and len(chosen) < SHOWN:
        chosen += [queue.pop() for queue in queues if queue]
    return sorted(chosen[:SHOWN])


def show(row: Mapping[str, Any], lexicon: Lexicon, references: Sequence[str], split: str, outcome: str,
         thumbnails: Callable[[str], Sequence[bytes]]) -> Shown:
    """The card of one prediction."""
    video, caption = row["video_id"], row["caption"]
    meant = lexicon.meant(references) if references else None
    emotions = sorted(row.get("emotions") or (), key=lambda e: (-e["probability"], e["category"]))
    attributes = sorted(row.get("attributes") or (), key=lambda a: (-a["probability"], a["word"]))
    score = row.get("score")
    return Shown(
        id=video,
        split=split,
        outcome=outcome,
        frames=tuple("data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
                     for jpeg in thumbnails(video)),
        caption=Text(lexicon.mark(caption, meant), number(score)),
        search=f"{video} {caption}".lower(),
        sort_score="" if score is None else f"{score:.6f}",
        references=tuple(Text(lexicon.mark(text)) for text in references),
        candidates=tuple(Text(lexicon.mark(candidate["text"]), number(candidate["score"]))
                         for candidate in row.get("candidates") or ()),
        beams=tuple(Text(lexicon.mark(beam["caption"], meant), number(beam["score"]))
                    for beam in row.get("beams") or ()),
        emotions=tuple((e["category"], 100 * e["probability"], e["category"] in (meant or ()))
                       for e in emotions[:EMOTIONS]),
        attributes=tuple((a["word"], 100 * a["probability"], bool(a["emotional"]))
                         for a in attributes[:ATTRIBUTES]),
    )


def number(score: float | None) -> str:
    return "" if score is None else f"{score:.2f}".replace("-", "−")


def matrix(lexicon: Lexicon, predictions: Sequence[Mapping[str, Any]],
           references: Mapping[str, Sequence[str]]) -> tuple[Counter[tuple[str, str]], Counter[str]]:
    """(videos by (reference emotion, what is said instead or itself), videos by reference emotion).

    A video of several reference emotions counts for each. Saying another one of them is no confusion and
    counts for that one alone; a caption without an emotion counts under `(none)`.
    """
    counts: Counter[tuple[str, str]] = Counter()
    videos: Counter[str] = Counter()
    for row in predictions:
        said = lexicon.said(row["caption"]) or {NOTHING_SAID}
        meant = lexicon.meant(references.get(row["video_id"], ()))
        for each in meant:
            videos[each] += 1
            counts.update((each, other) for other in said - (meant - {each}))
    return counts, videos
