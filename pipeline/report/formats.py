"""What the page expects in the JSON files of other stages; further entries are passed over.

Types are those that JSON is read as: abstract ones (Sequence) take several times as long to check.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, model_validator

from pipeline.common.commands import REMAKE
from pipeline.common.errors import SpectrumError

Scores = dict[str, float | None]
Value = TypeVar("Value")


class ScoreBlock(BaseModel):
    coco: Scores = {}
    evc: Scores = {}
    emotion: Scores = {}
    word: str = ""


class CategoryCounts(BaseModel):
    category: str
    videos: int
    hits: int
    predicted: int


class Interval(BaseModel):
    difference: float
    low: float
    high: float
    tie: bool


class RetrievalFile(BaseModel):
    text_to_video: Scores = {}
    candidates: dict[str, Scores] = {}
    references_in_corpus: dict[str, int] = {}


class MetricsFile(ScoreBlock):
    baseline: ScoreBlock | None = None
    without_rerankers: ScoreBlock | None = None
    without_candidates: ScoreBlock | None = None
    reference_lines: dict[str, ScoreBlock] = {}
    ahead_of: dict[str, dict[str, Interval]] = {}
    retrieval: RetrievalFile | None = None
    diversity: dict[str, float] = {}
    emotion_table: list[CategoryCounts] = []
    videos: int | None = None
    protocols: dict[str, Any] = {}
    warnings: list[str] = []
    predictions_sha256: str | None = None


class BeamEntry(BaseModel):
    caption: str
    score: float


class CandidateEntry(BaseModel):
    text: str
    score: float


class EmotionEntry(BaseModel):
    category: str
    probability: float


class AttributeEntry(BaseModel):
    word: str
    probability: float
    emotional: bool


class AttentionPart(BaseModel):
    seconds: list[float]
    weights: list[list[Annotated[float, Field(ge=0, le=1)]]]


class AttentionEntry(BaseModel):
    words: list[str]
    parts: dict[str, AttentionPart]

    @model_validator(mode="after")
    def _weights_of_every_word(self) -> "AttentionEntry":
        for name, part in self.parts.items():
            if len(part.weights) != len(self.words) or len({len(word) for word in part.weights}) > 1:
                raise ValueError(f"{name}: expected weights of {len(self.words)} words, equally many for each")
            if part.seconds and part.weights and len(part.seconds) != len(part.weights[0]):
                raise ValueError(f"{name}: expected as many seconds as weights")
        return self


class PredictionRow(BaseModel):
    video_id: str
    caption: str
    baseline: str | None = None
    scores: Scores = {}
    prior: dict[str, float] = {}
    score: float | None = None
    beams: list[BeamEntry] = []
    candidates: list[CandidateEntry] = []
    emotions: list[EmotionEntry] = []
    attributes: list[AttributeEntry] = []
    attention: AttentionEntry | None = None


PriorScoreTable = dict[str, Scores]     # emotion.json


class IndexFile(BaseModel):
    captions: int
    dim: int


class KeptEpoch(BaseModel):
    epoch: int


class CaptionerFile(BaseModel):
    seed: int
    best: KeptEpoch
    vocabulary: list[str]
    parameters: int | None = None
    curves_sha256: str | None = None
    captioner: dict[str, Any] = {}
    training: dict[str, Any] = {}


@cache
def _adapter(expected: Any) -> TypeAdapter[Any]:
    """Made once: it takes longer than checking a line, and a file has thousands."""
    return TypeAdapter(expected)


def check_format(path: Path, value: Value, expected: Any) -> Value:
    """`value` as it is, where it fits; else a SpectrumError that names the file and the first entry that does not."""
    try:
        _adapter(expected).validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        entry = ".".join(map(str, first["loc"])) or "all of it"
        raise SpectrumError(f"{path}: {entry}: {first['msg']}, found {first['input']!r:.80}; "
                            f"{REMAKE}") from None
    return value
