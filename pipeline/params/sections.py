"""The sections of params.yaml: what every parameter means, its type, its bounds and its default."""

from itertools import combinations
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

Slug = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0.0)]

CaptionerModality = Literal["appearance", "audio", "motion", "text"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Transformers = TypeVar("Transformers", "AudioEncoder", "MotionEncoder")


def _kind_fits(section: Transformers) -> Transformers:
    if section.kind == "transformers" and not section.model:
        raise ValueError("kind transformers needs a model: a hub id (org/name) or a folder")
    if (section.kind == "imported") != bool(section.features):
        raise ValueError("kind imported and features go together: a file of rows that are already encoded")
    return section


class Data(Section):
    """Where a data set comes from. Paths are relative to the project's root, or absolute.

    `videos` is a folder, `captions` a file (`folder`) or the folder of the owners' files, `corpus` a file of
    captions to retrieve from or the same as `captions`, which stands for the training captions.
    `missing_videos`: what becomes of a published video without a file (`keep`: its features are imported).
    `published_counts`: other counts than the published ones end the stage.
    """

    kind: Literal["sample", "folder", "msvd", "msrvtt", "emvidcap-s", "emvidcap-l", "emvidcap"]
    videos: str
    captions: str
    corpus: str
    validation: Share = 0.1
    test: Share = 0.2
    missing_videos: Literal["error", "leave_out", "keep"] = "error"
    published_counts: bool = True


class Sample(Section):
    """The rendered sample world: clips a split, their length in seconds, side in pixels, captions a clip."""

    train: Positive
    validation: Positive
    test: Positive
    seconds: Rate
    size: Annotated[int, Field(ge=112, multiple_of=2)]
    captions: Annotated[int, Field(ge=5)]


class EncoderTraining(Section):
    """How the encoder stage trains a CLIP of its own where `encoders.appearance.weights` is `train`."""

    epochs: Positive
    batch: Annotated[int, Field(ge=2)]
    learning_rate: Rate


class AppearanceEncoder(Section):
    """An open_clip model: pictures, and the texts they are compared with.

    `frames` are spread over each video; with `per_second` (above 0) it is so many a second instead. `features` is a
    file of frames that are already encoded, and with weights `imported` `texts` is one of captions: docs/sharing.md.
    """

    name: Slug
    model: str
    weights: str
    frames: Positive
    per_second: Annotated[float, Field(ge=0)] = 0.0
    batch: Positive = 32
    features: str = ""
    texts: str = ""

    @model_validator(mode="after")
    def _imports_fit(self) -> "AppearanceEncoder":
        if (self.weights == "imported") != bool(self.texts):
            raise ValueError("weights imported and texts go together: a file of the captions' embeddings")
        if self.texts and not self.features:
            raise ValueError("texts are imported, so features must be: a file of the frames' embeddings")
        if self.features and self.weights == "train":
            raise ValueError("features are imported, so weights cannot be train: name the model that made them")
        return self


class AudioEncoder(Section):
    """Windows of sound. `model`: of `transformers` a hub id or folder; of `imported` what made the rows.

    `features` is a file of rows that are already encoded, where `kind` is `imported`: docs/sharing.md.
    """

    name: Slug
    kind: Literal["logmel", "transformers", "imported", "none"]
    model: str = ""
    features: str = ""
    windows: Positive
    window_seconds: Annotated[float, Field(ge=0.025)]
    batch: Positive = 32

    @model_validator(mode="after")
    def _fits(self) -> "AudioEncoder":
        return _kind_fits(self)


class MotionEncoder(Section):
    """Windows of frames, as many a window as the model takes; `model` and `features` as in AudioEncoder."""

    name: Slug = "motion"
    kind: Literal["transformers", "imported", "none"] = "none"
    model: str = ""
    features: str = ""
    windows: Positive = 8
    window_seconds: Rate = 2.0
    batch: Positive = 8

    @model_validator(mode="after")
    def _fits(self) -> "MotionEncoder":
        return _kind_fits(self)


class Encoders(Section):
    appearance: AppearanceEncoder
    audio: AudioEncoder
    motion: MotionEncoder = MotionEncoder()

    @model_validator(mode="after")
    def _names_differ(self) -> "Encoders":
        names = {"appearance": self.appearance.name, "audio": self.audio.name, "motion": self.motion.name}
        for one, other in combinations(names, 2):
            if names[one] == names[other]:
                raise ValueError(f"encoders.{one}.name and encoders.{other}.name name one folder")
        return self


class Extraction(Section):
    """From videos to stores. `least_share`: a video of which less could be decoded counts as failed.

    `memory`: MB of prepared frames and sound that may wait for the encoder. `save_every`: finished videos are saved
    at least so often, in seconds; a run that is killed repeats no more than that.
    """

    decoders: Annotated[int, Field(ge=0)] = 0
    backend: Literal["pyav", "ffmpeg"] = "pyav"
    timeout: Rate = 120.0
    shards: Annotated[int, Field(ge=1, le=9999)] = 16
    allowed_failures: Share = 0.0
    least_share: Share = 0.5
    memory: Positive = 256
    save_every: Annotated[float, Field(ge=0)] = 10.0


class Cluster(Section):
    """Processes that extract side by side: `none`, `local`, or the address of a dask scheduler.

    `workers` are those of `local`; 0: one a GPU, or one a core where there is no GPU. `retries`: workers that may
    die over one shard before the run ends.
    """

    scheduler: Annotated[str, Field(pattern=r"^(none|local|(tcp|tls|ucx|ws|wss)://.+)$")] = "none"
    workers: Annotated[int, Field(ge=0)] = 0
    retries: Annotated[int, Field(ge=0)] = 3


class Retrieval(Section):
    """Candidates a video: how many are stored, how many of those the later stages use."""

    stored: Positive = 100
    used: Positive = 20
    batch: Positive = 1024

    @model_validator(mode="after")
    def _used_are_stored(self) -> "Retrieval":
        if self.used > self.stored:
            raise ValueError(f"used ({self.used}) is more than stored ({self.stored})")
        return self


class Emotion(Section):
    """Back ends of a caption's emotion probabilities (their weights), and the softmax temperatures.

    `classifier_model` is a transformers sequence classifier, by hub id or folder; `classifier_labels` says which
    categories its labels stand for: a map that ships, or a JSON file like those in pipeline/emotion/labels.
    `calibrate` fits a temperature per back end on the training videos.
    """

    words: Literal["evc-179", "ft-161"] = "evc-179"
    lexicon: Share = 0.5
    clip: Share = 0.5
    classifier: Share = 0.0
    classifier_model: str = ""
    classifier_labels: str = "goemotions"
    classifier_batch: Positive = 64
    clip_temperature: Rate = 0.02
    calibrate: bool = False
    retrieval_temperature: Rate = 0.05

    @model_validator(mode="after")
    def _some_weight(self) -> "Emotion":
        if self.lexicon + self.clip + self.classifier <= 0:
            raise ValueError("lexicon, clip and classifier are all 0: at least one back end needs a weight")
        if self.classifier > 0 and not self.classifier_model:
            raise ValueError("classifier needs a classifier_model: a hub id (org/name) or a folder")
        return self


class Captioner(Section):
    """The model. `vtai`, `cfb` and `aeb` switch the parts of the paper; all off is the baseline.

    VTAI reads `modalities`, the decoder those of them that `memory` names (`[]`: all). A modality that the data set
    does not have is left out. What only `presets/care.yaml` changes is CARE's way of the same part. The
    paper's decoder is Pre-LN (`layer_norm: before`); after, as in CARE, validated better: docs/experiments.md.
    """

    modalities: tuple[CaptionerModality, ...] = ("appearance", "audio", "motion", "text")
    memory: tuple[CaptionerModality, ...] = ()
    vtai: bool = True
    cfb: bool = True
    aeb: bool = True
    standardise: bool = True
    attributes: Literal["emotional", "one"] = "emotional"
    matching: Literal["lexical", "semantic", "both"] = "lexical"
    matching_threshold: Share = 0.5
    detector: Literal["layered", "linear"] = "layered"
    prior: bool = True
    theme: Literal["coarse-to-fine", "linear"] = "coarse-to-fine"
    layer_norm: Literal["before", "after"] = "after"
    width: Positive = 512
    heads: Positive = 8
    layers: Positive = 1
    feedforward: Positive = 2048
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    attention_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    universal_words: Positive = 500
    embedded_attributes: Positive = 30
    word_count: Positive = 3
    max_words: Positive = 30

    @model_validator(mode="before")
    @classmethod
    def _memory_of_modalities(cls, told: Any) -> Any:
        """Settings that mean one model are equal: memory names some of the modalities, or none where it means all."""
        if not isinstance(told, dict) or not all(
                isinstance(told.get(key), list | tuple) and told[key] for key in ("memory", "modalities")):
            return told
        kept = [name for name in told["memory"] if name in told["modalities"]]
        if not kept:
            return told
        return {**told, "memory": () if set(kept) == set(told["modalities"]) else kept}

    @property
    def remembered(self) -> tuple[CaptionerModality, ...]:
        """The modalities that the decoder attends to."""
        return self.memory or self.modalities

    @model_validator(mode="after")
    def _parts_fit(self) -> "Captioner":
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) is not a multiple of heads ({self.heads})")
        if (self.cfb or self.aeb) and not self.vtai:
            raise ValueError("cfb and aeb read the attributes that vtai predicts: they need vtai=true")
        if "appearance" not in self.modalities or "appearance" not in self.remembered:
            raise ValueError("modalities, and memory where it names any of them, must hold appearance")
        return self


class Training(Section):
    """How the captioner learns.

    A batch is `captions` random captions mixed over all videos or, where that is 0, `videos` whole videos with
    all their captions. The rate warms up over the first `warmup` of the steps; then it falls along half a cosine
    (`cosine`), or is multiplied by `decay` an epoch (`decay`). `adam` adds `weight_decay` to the gradient of every
    parameter, `adamw` takes it off the matrices. `keep` names the validation score that chooses the epoch; after
    `patience` epochs without a gain the phase ends (0: never). `seeds` trainings begin at the seeds seed,
    seed + 1, …; the one that validates best is kept. The `self_critical_*` of an optional last phase: its reward
    is CIDEr-D + `emotion_reward` x the share of right less wrong emotions.
    """

    epochs: Positive = 50
    videos: Positive = 16
    captions: Annotated[int, Field(ge=0)] = 0
    optimiser: Literal["adamw", "adam"] = "adamw"
    learning_rate: Rate = 5e-4
    weight_decay: Annotated[float, Field(ge=0)] = 1e-3
    schedule: Literal["cosine", "decay"] = "cosine"
    decay: Annotated[float, Field(gt=0, le=1)] = 0.9
    warmup: Share = 0.05
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    attribute_weight: Annotated[float, Field(ge=0)] = 1.0
    plain_weight: Annotated[float, Field(gt=0, le=1)] = 1.0
    clip_norm: Rate = 5.0
    keep: Literal["cider", "cfs", "mean"] = "cfs"
    patience: Annotated[int, Field(ge=0)] = 0
    seeds: Positive = 1
    self_critical_epochs: Annotated[int, Field(ge=0)] = 0
    self_critical_samples: Annotated[int, Field(ge=2)] = 5
    self_critical_learning_rate: Rate = 5e-5
    emotion_reward: Annotated[float, Field(ge=0)] = 0.25

    @property
    def all_epochs(self) -> int:
        """Of both phases."""
        return self.epochs + self.self_critical_epochs


class Decoding(Section):
    """Beam search (`beam: 1` is greedy) or `beam` random captions a video (`sample`), the best score first.

    A score is Σ log p / length ** `length_power`. No `no_repeat` words in a row occur twice in a caption (0: they
    may). `temperature`, `top_p` and `seed` are of `sample`. Two opinions choose among the beams beside their score, by
    their weights (0: none): `attribute_odds`, VTAI's of the attributes that a beam names (attribute_odds.py),
    and `consensus`, the candidates' agreement with it (consensus.py).
    """

    method: Literal["beam", "sample"] = "beam"
    beam: Positive = 5
    batch: Positive = 64
    length_power: Annotated[float, Field(ge=0)] = 1.0
    no_repeat: Annotated[int, Field(ge=0)] = 0
    attribute_odds: Annotated[float, Field(ge=0)] = 0.0
    consensus: Annotated[float, Field(ge=0)] = 0.0
    temperature: Rate = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: Annotated[int, Field(ge=0)] = 0


class Metrics(Section):
    """`timeout`: seconds for the process that scores captions, for all sets together, METEOR included."""

    timeout: Rate = 600.0


class Params(Section):
    dataset: Slug
    seed: Annotated[int, Field(ge=0)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    data: Data
    sample: Sample
    encoder: EncoderTraining
    encoders: Encoders
    extraction: Extraction = Extraction()
    cluster: Cluster = Cluster()
    retrieval: Retrieval = Retrieval()
    emotion: Emotion = Emotion()
    captioner: Captioner = Captioner()
    training: Training = Training()
    decoding: Decoding = Decoding()
    metrics: Metrics = Metrics()

    @model_validator(mode="after")
    def _clip_has_a_text_tower(self) -> "Params":
        if self.encoders.appearance.weights == "imported" and self.emotion.clip > 0:
            raise ValueError("emotion.clip puts questions to a text tower, and imported texts are captions alone; "
                             "set emotion.clip=0")
        return self
