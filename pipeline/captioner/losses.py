"""The two losses: L = L_caption + λ L_attribute."""

import torch.nn.functional as F
from torch import Tensor

from pipeline.captioner.vocabulary import UNK


def caption_loss(logits: Tensor, targets: Tensor, captions: int, smoothing: float) -> Tensor:
    """Cross entropy of packed logits [N, vocabulary] and targets [N], summed and divided by `captions`.

    <unk> is no target: it is never generated, so nothing is to be learned from it.
    """
    total = F.cross_entropy(logits, targets, ignore_index=UNK, label_smoothing=smoothing, reduction="sum")
    return total / captions


def attribute_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross entropy [V, N], summed over attributes and divided by the positives, mean over videos."""
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)
    return (entropy / targets.sum(1).clamp(min=1)).mean()
