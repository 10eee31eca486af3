"""What generation gives: a video's caption with its beams, attributes and emotions."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Hypothesis:
    """retrieved: it is a candidate, in its own mood or another, that the captioner did not make by itself."""

    text: str
    score: float
    retrieved: bool = False


@dataclass(frozen=True)
class Attribute:
    word: str
    probability: float
    emotional: bool


@dataclass(frozen=True)
class Caption:
    """A video's caption: the best of `beams`, its hypotheses. Attributes (none without VTAI) and emotions in order.

    `likeliest` is the caption without rerankers: the generated one of the best score by the model's words alone.
    """

    video_id: str
    text: str
    score: float
    beams: tuple[Hypothesis, ...]
    attributes: tuple[Attribute, ...]
    emotions: tuple[tuple[str, float], ...]
    likeliest: str

    @property
    def generated(self) -> str:
        """The best hypothesis that the captioner made by itself."""
        return next(beam.text for beam in self.beams if not beam.retrieved)

    def as_json(self, candidates: Iterable[tuple[str, float]] = ()) -> dict[str, Any]:
        """What a line of predictions.jsonl says of it; `candidates`: the video's, with their similarities."""
        return {
            "video_id": self.video_id, "caption": self.text, "score": round(self.score, 4),
            "likeliest": self.likeliest,
            "beams": [{"caption": beam.text, "score": round(beam.score, 4), "retrieved": beam.retrieved}
                      for beam in self.beams],
            "emotions": [{"category": name, "probability": round(p, 4)} for name, p in self.emotions],
            "attributes": [{"word": attribute.word, "probability": round(attribute.probability, 4),
                            "emotional": attribute.emotional} for attribute in self.attributes],
            "candidates": [{"text": text, "score": round(float(score), 4)} for text, score in candidates],
        }
