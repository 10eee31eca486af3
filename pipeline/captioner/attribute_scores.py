"""How well a captioner's VTAI finds the attributes that the references have."""

from collections.abc import Sequence

import torch

from pipeline.captioner.checkpoint import Checkpoint
from pipeline.captioner.inputs import InputSource
from pipeline.metrics.average_precision import compute_mean_average_precision


@torch.inference_mode()
def attribute_precision(checkpoint: Checkpoint, inputs: InputSource, references: Sequence[Sequence[str]],
                        batch_size: int) -> dict[str, float | None]:
    """Mean average precision of the universal and of the emotional attributes; {} without VTAI."""
    model, attributes = checkpoint.model, checkpoint.attributes
    batches = []
    for first in range(0, len(inputs), batch_size):
        batch = inputs.select(range(first, min(first + batch_size, len(inputs)))).to(model.device)
        logits = model.encode(batch).attribute_logits
        if logits is None:
            return {}
        batches.append(logits.float().cpu())
    predicted, targets = torch.cat(batches), attributes.counts(references) > 0
    split = len(attributes.universal)
    return {"universal_map": compute_mean_average_precision(predicted[:, :split], targets[:, :split]),
            "emotional_map": compute_mean_average_precision(predicted[:, split:], targets[:, split:])}
