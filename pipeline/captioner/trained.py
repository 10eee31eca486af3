"""What a training gives."""

from dataclasses import dataclass

from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.model.captioner import Captioner
from pipeline.captioner.vocabulary import Vocabulary

# epoch, loss, caption_loss, attribute_loss, validation_cider, validation_cfs, learning_rate
Epoch = dict[str, float]


@dataclass(frozen=True)
class TrainedCaptioner:
    model: Captioner
    vocabulary: Vocabulary
    attributes: AttributeList
    history: list[Epoch]
    best: Epoch             # the epoch whose weights `model` has
    seed: int
