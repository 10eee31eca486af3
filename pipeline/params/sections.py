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


class Cluster(Section):
    """Processes that extract side by side: `none`, `local`, or the address of a dask scheduler."""

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

    train: Count = 400
    validation: Count = 60
    test: Count = 100
    seconds: PositiveFloat = 3.0
    size: Annotated[int, Field(ge=112, multiple_of=2)] = 128
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
    """Back ends of a caption's emotion probabilities (their weights), and the softmax temperatures."""

    words: Literal["evc-179", "ft-161"] = "evc-179"
    lexicon: Share = 0.5
    clip: Share = 0.5
    classifier: Share = 0.0
    classifier_model: str = ""
    classifier_labels: str = "goemotions"
    classifier_batch_size: Count = 64
    clip_temperature: PositiveFloat = 0.02
    calibrate: bool = False
    retrieval_temperature: PositiveFloat = 0.05

    @model_validator(mode="after")
    def _check_weights(self) -> "Emotion":
        if self.lexicon + self.clip + self.classifier <= 0:
            raise ValueError("lexicon, clip and classifier are all 0: at least one back end needs a weight")
        if self.classifier > 0 and not self.classifier_model:
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
        if self.encoders.appearance.weights == "imported" and self.emotion.clip > 0:
            raise ValueError("emotion.clip puts questions to a text tower, and imported texts are captions alone; "
                             "set emotion.clip=0")
        return self
