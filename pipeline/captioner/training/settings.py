"""What decides a training beside its videos, and who listens to it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from pipeline import params
from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.cached_dataset import CachedDataset
from pipeline.captioner.generation.consensus import Consensus
from pipeline.captioner.splits import Split
from pipeline.captioner.trained import Epoch
from pipeline.captioner.training.attribute_matching import MatchAttributes, attribute_matching
from pipeline.captioner.training.state import fingerprint_of
from pipeline.common.progress import ignore
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.encoders import text_encoder
from pipeline.params.paths import Paths


@dataclass(frozen=True)
class TrainingSettings:
    """What beside the videos, the seed and the device decides a training.

    generation: how captions will be generated; validation generates them in the same way, so that the epoch is chosen
    by what is reported. match_attributes: which attributes the training videos have, by their captions. consensus: that
    of the caption index, where there is one.
    """

    captioner: params.Captioner
    training: params.Training
    generation: params.Generation
    taxonomy: Taxonomy
    match_attributes: MatchAttributes = AttributeList.targets
    consensus: Callable[[], Consensus] | None = None

    @classmethod
    def of(cls, params: params.Params, paths: Paths, dataset: CachedDataset,
           device: torch.device) -> "TrainingSettings":
        """Those of a data set's parameters. The encoder of texts is loaded where attributes are matched by meaning."""
        return cls(params.captioner, params.training, params.generation, Taxonomy.load(params.emotion.words),
                   attribute_matching(params.captioner, dataset.index, lambda: text_encoder.text_encoder(
                       params.encoders.appearance, paths.encoder, str(device)).encode_texts),
                   lambda: dataset.consensus)

    def fingerprint(self, train: Split, validation: Split, seed: int, device: torch.device) -> str:
        """Stands for everything that decides what `train` of the same arguments returns."""
        return fingerprint_of({
            "captioner": self.captioner.model_dump(mode="json"),
            "training": self.training.model_dump(mode="json", exclude={"num_seeds"}),
            "validation": self.generation.model_dump(mode="json"),
            "taxonomy": self.taxonomy.name, "seed": seed, "device": device.type,
            "captions": train.captions, "references": validation.captions, "candidates": validation.candidates,
        }, (train.inputs, validation.inputs))


@dataclass(frozen=True)
class Listeners:
    """Called while a training runs.

    on_epoch: with the record of each epoch. on_progress: with the epochs that are done since the last call, parts
    of one included, and whether this run did them.
    """

    on_epoch: Callable[[Epoch], None] = ignore
    on_progress: Callable[[float, bool], None] = ignore
