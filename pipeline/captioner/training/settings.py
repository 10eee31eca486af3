"""What decides a training beside its videos, and who listens to it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from pipeline import params
from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.splits import Split
from pipeline.captioner.trained import Epoch
from pipeline.captioner.training.attribute_matching import MatchAttributes
from pipeline.captioner.training.state import fingerprint_of
from pipeline.emotion.taxonomy import Taxonomy


@dataclass(frozen=True)
class TrainingSettings:
    """What beside the videos, the seed and the device decides a training.

    generation: of it validation, which is greedy, uses no_repeat_ngram_size alone. match_attributes: which
    attributes the training videos have, by their captions.
    """

    captioner: params.Captioner
    training: params.Training
    generation: params.Generation
    taxonomy: Taxonomy
    match_attributes: MatchAttributes = AttributeList.targets

    @property
    def validation_generation(self) -> params.Generation:
        """Greedy, without rerankers: all epochs are compared alike, and quickly."""
        return params.Generation(num_beams=1, batch_size=128, attribute_odds=0.0, consensus=0.0,
                                 no_repeat_ngram_size=self.generation.no_repeat_ngram_size)

    def fingerprint(self, train: Split, validation: Split, seed: int, device: torch.device) -> str:
        """Stands for everything that decides what `train` of the same arguments returns."""
        return fingerprint_of({
            "captioner": self.captioner.model_dump(mode="json"),
            "training": self.training.model_dump(mode="json", exclude={"num_seeds"}),
            "validation": self.validation_generation.model_dump(mode="json"),
            "taxonomy": self.taxonomy.name, "seed": seed, "device": device.type,
            "captions": train.captions, "references": validation.captions,
        }, (train.inputs, validation.inputs))


def ignore_event(*_: Any) -> None:
    """The listener of those who do not listen."""


@dataclass(frozen=True)
class Listeners:
    """Called while a training runs.

    on_epoch: with the record of each epoch. on_progress: with the epochs that are done since the last call, parts
    of one included, and whether this run did them.
    """

    on_epoch: Callable[[Epoch], None] = ignore_event
    on_progress: Callable[[float, bool], None] = ignore_event
