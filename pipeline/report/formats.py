"""What the page expects in the JSON files of other stages; further entries are passed over."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from pipeline.common.errors import SpectrumError

Scores = Mapping[str, float | None]
Value = TypeVar("Value")


class Block(BaseModel):
    coco: Scores = {}
    evc: Scores = {}
    emotion: Scores = {}
    word: str = ""


class CategoryCounts(BaseModel):
    category: str
    videos: int
    hits: int
    predicted: int


class Metrics(Block):
    baseline: Block | None = None
    reference_lines: Mapping[str, Block] = {}
    retrieval: Scores = {}
    diversity: Mapping[str, float] = {}
    emotion_table: Sequence[CategoryCounts] = ()
    videos: int | None = None
    protocols: Mapping[str, Any] = {}
    warnings: Sequence[str] = ()


class Beam(BaseModel):
    caption: str
    score: float


class Candidate(BaseModel):
    text: str
    score: float


class Emotion(BaseModel):
    category: str
    probability: float


class Attribute(BaseModel):
    word: str
    probability: float
    emotional: bool


class Prediction(BaseModel):
    video_id: str
    caption: str
    score: float | None = None
    beams: Sequence[Beam] = ()
    candidates: Sequence[Candidate] = ()
    emotions: Sequence[Emotion] = ()
    attributes: Sequence[Attribute] = ()


PriorScores = Mapping[str, Scores]     # emotion.json


class CaptionIndex(BaseModel):
    captions: int
    dim: int


class KeptEpoch(BaseModel):
    epoch: int


class Captioner(BaseModel):
    seed: int
    best: KeptEpoch
    vocabulary: Sequence[str]
    parameters: int | None = None


def check_format(path: Path, value: Value, expected: Any) -> Value:
    """`value` as it is, where it fits; else a SpectrumError that names the file and the first entry that does not."""
    try:
        TypeAdapter(expected).validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        entry = ".".join(map(str, first["loc"])) or "all of it"
        raise SpectrumError(f"{path}: {entry}: {first['msg']}, found {first['input']!r:.80}; make it again with "
                            "`dvc repro`") from None
    return value
