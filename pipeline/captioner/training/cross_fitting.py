"""VTAI is trained first, by cross-fitting, so that HCOT learns from attributes as good as those of new videos.

A detector knows the videos that it was trained on by heart: what it says of them is nearly the truth. A decoder that
learns beside it trusts the attributes blindly, and is lost where they are as uncertain as they are for any other video.
So the training videos are cut into parts; what is said of a part comes from a detector that was trained on the others,
and stopped when it was best on that part. The detector that is kept is trained on all of them for as long as those were
on average (cross-fitting, as in Chernozhukov et al., 2018).
"""

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline import params
from pipeline.captioner.inputs import InputSource
from pipeline.captioner.model.captioner import Captioner
from pipeline.captioner.model.feu import Pooled
from pipeline.captioner.model.vtai import AttributeDetector
from pipeline.captioner.training.losses import attribute_loss
from pipeline.common.errors import SpectrumError

_BATCH = 64             # videos
_HELD_OUT = 4096        # videos that a detector is tried on at once
_EPOCHS = 60            # at most
_PATIENCE = 6           # epochs without a gain after which a detector is done
_LEARNING_RATE = 0.001
_WEIGHT_DECAY = 0.01


@dataclass(frozen=True)
class _Videos:
    pooled: Pooled
    inputs: InputSource     # without rows
    targets: Tensor         # [V, N]

    def logits(self, detector: AttributeDetector, index: Tensor) -> Tensor:
        """[n, N] of the videos at `index`."""
        return detector(self.pooled.select(index), self.inputs.select(index))   # type: ignore[no-any-return]

    def loss(self, detector: AttributeDetector, index: Tensor) -> Tensor:
        return attribute_loss(self.logits(detector, index), self.targets[index])


def cross_fit(model: Captioner, inputs: InputSource, targets: Tensor, training: params.Training,
              seed: int) -> Tensor | None:
    """Trains and freezes the model's VTAI, and returns its attribute logits [V, N] of the training videos, each from a
    detector that did not see the video.

    None, and nothing is done, where `training.attribute_folds` is 0, there are too few videos, or the detector is one
    that learns beside the decoder.
    """
    folds = training.attribute_folds
    detector = model.detector
    if not folds or len(inputs) < 2 * folds or not isinstance(detector, AttributeDetector):
        return None
    with torch.no_grad():
        videos = _Videos(model.features.pool_all(inputs), inputs.without_rows(), targets)
    rng = np.random.default_rng([seed, 2])
    fold_of = torch.from_numpy(rng.permutation(len(inputs)) % folds)
    logits, lengths = torch.zeros_like(targets), []
    for fold in range(folds):
        held_out = torch.nonzero(fold_of == fold).flatten()
        best, length = _train(copy.deepcopy(detector), videos, torch.nonzero(fold_of != fold).flatten(), rng, _EPOCHS,
                              held_out)
        logits[held_out.to(targets.device)] = best
        lengths.append(length)
    _train(detector, videos, torch.arange(len(inputs)), rng, round(float(np.mean(lengths))))
    detector.requires_grad_(False)
    return logits


def _train(detector: AttributeDetector, videos: _Videos, chosen: Tensor, rng: np.random.Generator, epochs: int,
           held_out: Tensor | None = None) -> tuple[Tensor, int]:
    """Trains `detector` on the videos `chosen`; with others, `held_out`, its logits of those when they were best, and
    after how many epochs."""
    optimizer = torch.optim.AdamW(detector.parameters(), _LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
    best, least, length = torch.empty(0), float("inf"), 0
    for epoch in range(1, epochs + 1):
        detector.train()
        order = chosen[torch.from_numpy(rng.permutation(len(chosen)))]
        for batch in torch.split(order, _BATCH):
            loss = videos.loss(detector, batch)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        detector.eval()
        if held_out is None:
            continue
        with torch.no_grad():
            logits = torch.cat([videos.logits(detector, part) for part in torch.split(held_out, _HELD_OUT)])
            loss_of_others = float(attribute_loss(logits, videos.targets[held_out]))
        if not math.isfinite(loss_of_others):
            raise SpectrumError(f"the loss of VTAI is {loss_of_others}; lower training.learning_rate, and check the "
                                "features with `python -m pipeline.store verify`")
        if loss_of_others < least:
            best, least, length = logits, loss_of_others, epoch
        elif epoch - length >= _PATIENCE:
            break
    return best, length
