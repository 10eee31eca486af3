"""The sections of params.yaml: the type, the bounds and the default of every parameter.

params.yaml lists all of them with a comment a key: what it does, its unit and range. Its values are the defaults here
(tests/params/test_params.py compares them).
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.base import Count, CountOrZero, NonNegativeFloat, PositiveFloat, Section, Seed, Share, Slug
from pipeline.params.captioner_sections import Captioner, Generation, Training
from pipeline.params.encoder_sections import Encoders, EncoderTraining


class Machine(Section):
    """What describes this machine and changes no result: no stage becomes stale by it."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    decoder_processes: CountOrZero = 0
    decoding_timeout: PositiveFloat = 120.0
    scoring_timeout: PositiveFloat = 600.0
    buffer_megabytes: Count = 256
    save_interval: NonNegativeFloat = 10.0
    search_batch_size: Count = 1024
    resident_megabytes: Count = 2048


class Cluster(Section):
    """Processes that work side by side: `none`, `local`, or the address of a dask scheduler."""

    scheduler: Annotated[str, Field(pattern=r"^(none|local|(tcp|tls|ucx|ws|wss)://.+)$")] = "none"
    workers: CountOrZero = 0
    retries: CountOrZero = 3


class Data(Section):
    """Where a data set comes from. Paths are relative to the project's root, or absolute."""

    kind: Literal["folder", "msvd", "msrvtt", "emvidcap-s", "emvidcap-l", "emvidcap"] = "folder"
    videos: str = "sample/clips"
    captions: str = "sample/captions.jsonl"
    corpus: str = "sample/captions.jsonl"
    validation: Share = 0.1
    test: Share = 0.2
    missing_videos: Literal["error", "leave_out", "keep"] = "error"
    published_counts: bool = True


class Sample(Section):
    """The rendered sample world: clips a split, their length and side, captions a clip."""

    pretrain: Count = 800
    train: Count = 600
    validation: Count = 200
    test: Count = 400
    seconds: PositiveFloat = 2.0
    size: Annotated[int, Field(ge=112, multiple_of=2)] = 112
    captions: Annotated[int, Field(ge=5)] = 6


class Extraction(Section):
    """From videos to feature stores."""

    num_shards: Annotated[int, Field(ge=0, le=9999)] = 0
    decoder: Literal["pyav", "ffmpeg"] = "pyav"
    allowed_failures: Share = 0.0
    min_decoded_share: Share = 0.5


class Retrieval(Section):
    """Candidates a video: how many are stored, how many of those the later stages use."""

    stored: Count = 100
    used: Count = 20

    @model_validator(mode="after")
    def _check_used(self) -> "Retrieval":
        if self.used > self.stored:
            raise ValueError(f"used ({self.used}) is more than stored ({self.stored})")
        return self


class Emotion(Section):
    """Estimators of a caption's emotions, and the modalities that a video's prior reads beside its candidates."""

    words: Literal["evc-179", "ft-161"] = "evc-179"
    estimators: tuple[Literal["lexicon", "expressions", "clip", "classifier"], ...] = (
        "lexicon", "expressions", "clip")
    classifier_model: str = ""
    classifier_labels: str = "goemotions"
    classifier_batch_size: Count = 64
    modalities: tuple[Literal["appearance", "audio", "motion"], ...] = ("appearance", "audio", "motion")

    @model_validator(mode="after")
    def _check_lists(self) -> "Emotion":
        if not self.estimators:
            raise ValueError("estimators is empty: name at least one of lexicon, expressions, clip, classifier")
        for name in ("estimators", "modalities"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name} has an entry twice: name each once")
        if "classifier" in self.estimators and not self.classifier_model:
            raise ValueError("classifier needs a classifier_model: a hub id (org/name) or a folder")
        return self


class Params(Section):
    """All of params.yaml."""

    dataset: Slug = "sample"
    seed: Seed = 0
    machine: Machine = Machine()
    cluster: Cluster = Cluster()
    data: Data = Data()
    sample: Sample = Sample()
    encoder: EncoderTraining = EncoderTraining()
    encoders: Encoders = Encoders()
    extraction: Extraction = Extraction()
    retrieval: Retrieval = Retrieval()
    emotion: Emotion = Emotion()
    captioner: Captioner = Captioner()
    training: Training = Training()
    generation: Generation = Generation()

    @model_validator(mode="after")
    def _check_text_tower(self) -> "Params":
        if self.encoders.appearance.weights == "imported" and "clip" in self.emotion.estimators:
            raise ValueError("emotion.estimators: clip needs a text encoder, and imported texts have none; leave it "
                             "out: emotion.estimators=[lexicon, expressions]")
        return self
