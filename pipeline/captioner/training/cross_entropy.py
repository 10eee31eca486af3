"""The objective of the first phase: the training captions, word by word."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline import params
from pipeline.captioner.inputs import InputSource
from pipeline.captioner.model.captioner import Captioner
from pipeline.captioner.packing import Ids
from pipeline.captioner.training.batches import CaptionSet
from pipeline.captioner.training.losses import attribute_loss, caption_loss
from pipeline.captioner.training.optimization import half_precision


@dataclass
class CrossEntropy:
    """The objective: the likelihood of the training captions' words."""

    model: Captioner
    training: params.Training
    inputs: InputSource
    captions: CaptionSet
    targets: Tensor             # [V, N] attributes
    attribute_logits: Tensor | None     # [V, N] of a VTAI that is ready (cross_fitting.py)
    base_seed: int

    def __post_init__(self) -> None:
        self.epochs, self.learning_rate = self.training.epochs, self.training.learning_rate
        self.size = self.training.captions_per_batch or self.training.videos_per_batch
        self.items = len(self.captions) if self.training.captions_per_batch else len(self.inputs)
        self.batches = math.ceil(self.items / self.size)
        self.seed = [self.base_seed]

    def order(self, rng: np.random.Generator) -> list[Ids]:
        order = rng.permutation(self.items)
        return [order[first:first + self.size] for first in range(0, self.items, self.size)]

    def prepare(self, batch: Ids) -> None:
        self.inputs.prepare(self.captions.videos_of(batch) if self.training.captions_per_batch else batch)

    def losses(self, batch: Ids) -> tuple[Tensor, Tensor]:
        self.model.train()
        device = self.model.device
        chosen = (self.captions.mixed(batch, device) if self.training.captions_per_batch
                  else self.captions.batch(batch.tolist(), device))
        with half_precision(device):
            known = None if self.attribute_logits is None else self.attribute_logits[chosen.videos]
            encoded = self.model.encode(self.inputs.select(chosen.videos), known)
            logits = self.model.decode_packed(encoded, chosen.words, chosen.positions, chosen.video_of_word,
                                              chosen.packing)
        caption = caption_loss(logits.float(), chosen.targets, chosen.weights, chosen.captions,
                               self.training.label_smoothing)
        if encoded.attribute_logits is None or known is not None:
            return caption, torch.zeros((), device=device)
        return caption, attribute_loss(encoded.attribute_logits.float(), self.targets[chosen.videos])
