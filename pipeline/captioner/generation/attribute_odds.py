"""VTAI's opinion of a beam: the log-odds of the attributes that it names.

The detector learned from all captions of a video at once, the decoder from one word after another: they err
differently, so together they choose better among the beams than either alone (docs/experiments.md). A beam's score
becomes (Σ log p + weight · Σ log-odds of its attributes, each once) / length ** length_penalty.
"""

from collections.abc import Sequence

from torch import Tensor

from pipeline import params
from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.generation.beam_search import Beams
from pipeline.captioner.vocabulary import Vocabulary


class AttributeOdds:
    """Which attribute each word of the vocabulary is."""

    def __init__(self, vocabulary: Vocabulary, attributes: AttributeList) -> None:
        number = {word: i for i, word in enumerate(attributes.words)}
        self._attribute_of = {token: number[word] for token, word in enumerate(vocabulary.entries) if word in number}

    def rerank(self, beams: Sequence[Beams], logits: Tensor, section: params.Generation) -> list[Beams]:
        """The beams of every video in the new order, with the new scores, by its attribute `logits` [V, N]."""
        weight, penalty = section.attribute_odds, section.length_penalty
        return [sorted(((tokens, score + weight * self._log_odds(tokens, video_logits) / len(tokens) ** penalty)
                        for tokens, score in video_beams), key=lambda beam: -beam[1])
                for video_beams, video_logits in zip(beams, logits.float().tolist(), strict=True)]

    def _log_odds(self, tokens: Sequence[int], logits: Sequence[float]) -> float:
        return sum(logits[self._attribute_of[token]] for token in set(tokens) if token in self._attribute_of)
