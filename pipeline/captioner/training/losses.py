"""The two losses: L = L_caption + λ L_attribute."""

import torch.nn.functional as F
from torch import Tensor

from pipeline.captioner.vocabulary import UNK


def caption_loss(logits: Tensor, targets: Tensor, weights: Tensor, captions: Tensor, smoothing: float) -> Tensor:
    """Cross entropy of packed logits [N, vocabulary] and targets [N], summed and divided by the number of captions.

    Every word has the weight [N] of its caption, and `captions` is the sum of the captions' weights. <unk> is no
    target: it is never generated, so nothing is to be learned from it.
    """
    words = F.cross_entropy(logits, targets, ignore_index=UNK, label_smoothing=smoothing, reduction="none")
    return (words * weights).sum() / captions


def attribute_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross entropy [V, N], summed over attributes and divided by the positives, mean over videos."""
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)
    return (entropy / targets.sum(1).clamp(min=1)).mean()
