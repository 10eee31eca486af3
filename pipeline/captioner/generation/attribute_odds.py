"""VTAI's opinion of a caption: the log-odds of what it names.

The detector learned from all captions of a video at once, the decoder from one word after another: they err
differently, so together they choose better among captions than either alone (docs/experiments.md). Of universal
attributes each counts by its own log-odds. Of emotional words the category counts, once, by how far its log-odds lie
above those of its share of the training videos: people name one mood in many words, each of them unlikely, and a
caption that names a likely mood is better than one that names none. The score becomes
(Σ log p + attribute_odds · Σ log-odds of things + emotion_odds · Σ log-odds of moods) / length ** length_penalty.
"""

from collections.abc import Sequence

from torch import Tensor

from pipeline import params
from pipeline.captioner.attributes import AttributeList, logits_above
from pipeline.captioner.generation.beam_search import Beams
from pipeline.captioner.vocabulary import Vocabulary


class AttributeOdds:
    """base: [N + C], see `attributes.base_logits`."""

    def __init__(self, vocabulary: Vocabulary, attributes: AttributeList, base: Tensor) -> None:
        self._membership = attributes.membership
        self._base = base.detach().float().cpu().clone()
        self._base[:len(attributes.universal)] = 0.0
        self._universal, count = len(attributes.universal), len(attributes)
        named = {word: number for number, word in enumerate(attributes.universal)}
        named |= {word: count + own[0]
                  for word, own in zip(attributes.emotional, attributes.emotional_categories, strict=True)}
        self._named = {token: named[word] for token, word in enumerate(vocabulary.entries) if word in named}

    def rerank(self, beams: Sequence[Beams], logits: Tensor, section: params.Generation) -> list[Beams]:
        """The captions of every video in the new order, with the new scores, by its attribute `logits` [V, N]."""
        odds, penalty = logits_above(logits.float().cpu(), self._base, self._membership), section.length_penalty
        odds[:, :self._universal] *= section.attribute_odds
        odds[:, self._universal:] *= section.emotion_odds
        return [sorted(((tokens, score + self._opinion(tokens, own) / len(tokens) ** penalty)
                        for tokens, score in of_video), key=lambda beam: -beam[1])
                for of_video, own in zip(beams, odds.tolist(), strict=True)]

    def _opinion(self, tokens: Sequence[int], odds: Sequence[float]) -> float:
        return sum(odds[number] for number in {self._named[token] for token in tokens if token in self._named})
