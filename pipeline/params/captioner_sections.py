"""Sections of params.yaml about the captioner: the model, its training, and how it generates captions."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline.params.base import Count, CountOrZero, NonNegativeFloat, PositiveFloat, Section, Seed, Share

Modality = Literal["appearance", "audio", "motion", "text"]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class Captioner(Section):
    """The model. `vtai`, `cfb` and `aeb` switch the parts of the paper; all off is the baseline.

    VTAI reads `modalities`, the decoder those of them that `decoder_modalities` names (`[]`: all). A modality that
    the data set does not have is left out.
    """

    modalities: tuple[Modality, ...] = ("appearance", "audio", "motion", "text")
    decoder_modalities: tuple[Modality, ...] = ()
    vtai: bool = True
    cfb: bool = True
    aeb: bool = True
    standardise: bool = True
    attributes: Literal["emotional", "one"] = "emotional"
    matching: Literal["lexical", "semantic", "both"] = "lexical"
    matching_threshold: Share = 0.5
    detector: Literal["layered", "linear"] = "layered"
    prior: bool = True
    similarity: bool = True
    copying: bool = False
    theme: Literal["coarse-to-fine", "linear"] = "coarse-to-fine"
    layer_norm: Literal["before", "after"] = "after"
    hidden_size: Count = 256
    num_heads: Count = 4
    num_layers: Count = 1
    feedforward_size: Count = 1024
    dropout: Dropout = 0.2
    attention_dropout: Dropout = 0.1
    universal_words: Count = 300
    embedded_attributes: Count = 16
    min_word_count: Count = 2
    max_words: Count = 30

    @model_validator(mode="before")
    @classmethod
    def _normalise_decoder_modalities(cls, values: Any) -> Any:
        """Settings that mean one model are equal: the decoder reads some of the modalities, or `[]` stands for all."""
        if not isinstance(values, dict):
            return values
        modalities = values.get("modalities", cls.model_fields["modalities"].default)
        chosen = values.get("decoder_modalities", cls.model_fields["decoder_modalities"].default)
        if not all(isinstance(names, list | tuple) and names for names in (modalities, chosen)):
            return values
        kept = [name for name in chosen if name in modalities]
        if not kept:
            return values
        return {**values, "decoder_modalities": () if set(kept) == set(modalities) else kept}

    @property
    def attended_modalities(self) -> tuple[Modality, ...]:
        """The modalities that the decoder attends to."""
        return self.decoder_modalities or self.modalities

    @model_validator(mode="after")
    def _check_parts(self) -> "Captioner":
        if self.hidden_size % self.num_heads:
            raise ValueError(f"hidden_size ({self.hidden_size}) is not a multiple of num_heads ({self.num_heads})")
        if (self.cfb or self.aeb) and not self.vtai:
            raise ValueError("cfb and aeb read the attributes that vtai predicts: they need vtai=true")
        if "appearance" not in self.modalities or "appearance" not in self.attended_modalities:
            raise ValueError("modalities, and decoder_modalities where it names any of them, must hold appearance")
        return self


class Training(Section):
    """How the captioner learns. The `self_critical_*` belong to an optional last phase, which learns from rewards."""

    epochs: Count = 6
    videos_per_batch: Count = 8
    captions_per_batch: CountOrZero = 0
    optimizer: Literal["adamw", "adam"] = "adamw"
    learning_rate: PositiveFloat = 0.001
    weight_decay: NonNegativeFloat = 0.001
    lr_schedule: Literal["cosine", "decay"] = "cosine"
    lr_decay: Annotated[float, Field(gt=0, le=1)] = 0.9
    warmup_ratio: Share = 0.05
    label_smoothing: Dropout = 0.1
    attribute_folds: Annotated[int, Field(ge=0, le=20)] = 5
    attribute_weight: NonNegativeFloat = 3.0
    neutral_caption_weight: Annotated[float, Field(gt=0, le=1)] = 0.25
    max_grad_norm: PositiveFloat = 5.0
    select_by: Literal["cider", "cfs", "mean"] = "cfs"
    patience: CountOrZero = 0
    num_seeds: Count = 1
    self_critical_epochs: CountOrZero = 0
    self_critical_samples: Annotated[int, Field(ge=2)] = 5
    self_critical_learning_rate: PositiveFloat = 5e-5
    emotion_reward: NonNegativeFloat = 0.25

    @property
    def all_epochs(self) -> int:
        """Epochs of both phases."""
        return self.epochs + self.self_critical_epochs


class Generation(Section):
    """How captions are generated: by beam search, or by sampling `num_beams` captions a video; the best score first.

    The score of a caption is Σ log p / length ** `length_penalty`. Rerankers choose among the beams beside the score,
    each by its weight (0: off): `attribute_odds`, `emotion_odds` and `consensus`. The first `candidates` retrieved
    captions can be chosen, too: the captioner scores them as its own.
    """

    method: Literal["beam", "sample"] = "beam"
    num_beams: Count = 5
    batch_size: Count = 64
    length_penalty: NonNegativeFloat = 1.0
    no_repeat_ngram_size: CountOrZero = 0
    attribute_odds: NonNegativeFloat = 1.0
    emotion_odds: NonNegativeFloat = 2.0
    consensus: NonNegativeFloat = 3.0
    candidates: CountOrZero = 20
    temperature: PositiveFloat = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: Seed = 0
