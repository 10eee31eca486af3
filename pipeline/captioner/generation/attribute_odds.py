"""VTAI's opinion of a beam: the log-odds of the attributes that it names.

The detector learned from all captions of a video at once, the decoder from one word after another: they err
differently, so together they choose better among the beams than either alone (docs/experiments.md). A beam's score
becomes (Σ log p + weight · Σ log-odds of its attributes, each once) / length ** power.
"""

from collections.abc import Sequence

from torch import Tensor

from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.vocabulary import Vocabulary

Beams = list[tuple[list[int], float]]       # tokens with <eos>, score; best first


class Odds:
    """Which attribute each word of the vocabulary is."""

    def __init__(self, vocabulary: Vocabulary, attributes: AttributeList) -> None:
        number = {word: place for place, word in enumerate(attributes.words)}
        self._attribute = {token: number[word] for token, word in enumerate(vocabulary.entries) if word in number}

    def rerank(self, found: Sequence[Beams], logits: Tensor, weight: float, power: float) -> list[Beams]:
        """The beams of every video in the new order, with the new scores, by its attribute `logits` [V, N]."""
        return [sorted(((tokens, score + weight * self._of(tokens, own) / len(tokens) ** power)
                        for tokens, score in beams), key=lambda beam: -beam[1])
                for beams, own in zip(found, logits.float().tolist(), strict=True)]

    def _of(self, tokens: Sequence[int], logits: Sequence[float]) -> float:
        return sum(logits[self._attribute[token]] for token in set(tokens) if token in self._attribute)
