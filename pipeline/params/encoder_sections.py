"""Sections of params.yaml about encoders. params.yaml itself says what each key does, its unit and its range."""

from itertools import combinations
from typing import Annotated, Literal, TypeVar

from pydantic import Field, model_validator

from pipeline.params.base import Count, NonNegativeFloat, PositiveFloat, Section, Slug

TransformersSection = TypeVar("TransformersSection", "AudioEncoder", "MotionEncoder")


def _checked_kind(section: TransformersSection) -> TransformersSection:
    if section.kind == "transformers" and not section.model:
        raise ValueError("kind transformers needs a model: a hub id (org/name) or a folder")
    if (section.kind == "imported") != bool(section.features):
        raise ValueError("kind imported needs features, the file to import, and features need kind imported")
    return section


class EncoderTraining(Section):
    """How the encoder stage trains a CLIP of its own where `encoders.appearance.weights` is `train`."""

    epochs: Count = 40
    batch_size: Annotated[int, Field(ge=2)] = 50
    learning_rate: PositiveFloat = 0.001


class AppearanceEncoder(Section):
    """An open_clip model: pictures, and the texts they are compared with."""

    name: Slug = "sample-clip"
    model: str = "spectrum-sample"
    weights: str = "train"
    num_frames: Count = 8
    fps: NonNegativeFloat = 0.0
    batch_size: Count = 32
    features: str = ""
    texts: str = ""

    @model_validator(mode="after")
    def _check_imports(self) -> "AppearanceEncoder":
        if (self.weights == "imported") != bool(self.texts):
            raise ValueError("weights imported need texts, a file of encoded captions, and texts need weights imported")
        if self.texts and not self.features:
            raise ValueError("texts are imported, so features must be, too: name a file of encoded frames")
        if self.features and self.weights == "train":
            raise ValueError("features are imported, so weights cannot be train: name the weights that made them")
        return self


class AudioEncoder(Section):
    """Windows of sound through log-mel statistics or a model of the transformers library."""

    name: Slug = "logmel"
    kind: Literal["logmel", "transformers", "imported", "none"] = "logmel"
    model: str = ""
    features: str = ""
    num_windows: Count = 8
    window_seconds: Annotated[float, Field(ge=0.025)] = 0.96
    batch_size: Count = 32

    @model_validator(mode="after")
    def _check_kind(self) -> "AudioEncoder":
        return _checked_kind(self)


class MotionEncoder(Section):
    """Windows of frames through a video model of the transformers library."""

    name: Slug = "motion"
    kind: Literal["transformers", "imported", "none"] = "none"
    model: str = ""
    features: str = ""
    num_windows: Count = 8
    window_seconds: PositiveFloat = 2.0
    batch_size: Count = 8

    @model_validator(mode="after")
    def _check_kind(self) -> "MotionEncoder":
        return _checked_kind(self)


class Encoders(Section):
    appearance: AppearanceEncoder = AppearanceEncoder()
    audio: AudioEncoder = AudioEncoder()
    motion: MotionEncoder = MotionEncoder()

    @model_validator(mode="after")
    def _check_names_differ(self) -> "Encoders":
        names = {"appearance": self.appearance.name, "audio": self.audio.name, "motion": self.motion.name}
        for one, other in combinations(names, 2):
            if names[one] == names[other]:
                raise ValueError(f"encoders.{one}.name and encoders.{other}.name are the same; "
                                 "each needs a folder of its own")
        return self
