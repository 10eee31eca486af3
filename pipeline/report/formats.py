"""What the page expects in the JSON files of other stages; further entries are passed over."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from pipeline.common.commands import REMAKE
from pipeline.common.errors import SpectrumError

Scores = Mapping[str, float | None]
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
    candidates: Mapping[str, Scores] = {}
    references_in_corpus: Mapping[str, int] = {}


class MetricsFile(ScoreBlock):
    baseline: ScoreBlock | None = None
    without_rerankers: ScoreBlock | None = None
    without_candidates: ScoreBlock | None = None
    reference_lines: Mapping[str, ScoreBlock] = {}
    ahead_of: Mapping[str, Mapping[str, Interval]] = {}
    retrieval: RetrievalFile | None = None
    diversity: Mapping[str, float] = {}
    emotion_table: Sequence[CategoryCounts] = ()
    videos: int | None = None
    protocols: Mapping[str, Any] = {}
    warnings: Sequence[str] = ()
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


class PredictionRow(BaseModel):
    video_id: str
    caption: str
    baseline: str | None = None
    scores: Scores = {}
    prior: Mapping[str, float] = {}
    score: float | None = None
    beams: Sequence[BeamEntry] = ()
    candidates: Sequence[CandidateEntry] = ()
    emotions: Sequence[EmotionEntry] = ()
    attributes: Sequence[AttributeEntry] = ()


PriorScoreTable = Mapping[str, Scores]     # emotion.json


class IndexFile(BaseModel):
    captions: int
    dim: int


class KeptEpoch(BaseModel):
    epoch: int


class CaptionerFile(BaseModel):
    seed: int
    best: KeptEpoch
    vocabulary: Sequence[str]
    parameters: int | None = None
    curves_sha256: str | None = None
    captioner: Mapping[str, Any] = {}
    training: Mapping[str, Any] = {}


def check_format(path: Path, value: Value, expected: Any) -> Value:
    """`value` as it is, where it fits; else a SpectrumError that names the file and the first entry that does not."""
    try:
        TypeAdapter(expected).validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        entry = ".".join(map(str, first["loc"])) or "all of it"
        raise SpectrumError(f"{path}: {entry}: {first['msg']}, found {first['input']!r:.80}; "
                            f"{REMAKE}") from None
    return value
