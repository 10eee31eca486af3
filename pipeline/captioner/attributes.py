"""Attributes: which words they are, and which of them a video has by its captions. model/vtai.py predicts them.

Universal attributes are frequent words of the training captions; emotional ones are words of the emotion
taxonomy. CARE's concepts are one group: frequent words, of a longer list of stop words.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.common.text import words
from pipeline.emotion.taxonomy import Taxonomy

# Thin, as in the authors' charts, where pronouns and particles are attributes: words that say nothing alone.
STOP_WORDS = frozenset((
    "a", "an", "the", "is", "are", "was", "were", "be", "been", "being", "am", "of", "to", "in",
    "on", "at", "by", "for", "from", "with", "into", "and", "or", "as", "it", "its", "this", "that",
    "these", "those", "there",
))
FUNCTION_WORDS = STOP_WORDS | frozenset((
    "i", "me", "my", "we", "us", "our", "you", "your", "he", "him", "his", "she", "her", "they", "them", "their",
    "himself", "herself", "itself", "themselves", "each", "other", "others", "both", "all", "any", "some", "few",
    "more", "most", "such", "same", "no", "not", "nor", "only", "own", "so", "than", "too", "very", "just", "then",
    "here", "now", "once", "again", "what", "which", "who", "whom", "whose", "where", "when", "why", "how", "if",
    "but", "because", "as", "until", "while", "about", "against", "between", "through", "during", "before", "after",
    "above", "below", "up", "down", "out", "off", "over", "under", "further", "do", "does", "did", "doing", "has",
    "have", "had", "having", "will", "would", "can", "could", "should", "may", "might", "must", "s", "t",
))

_DRAWN = 3          # captions; of 1, 3, 10 and all it gives the best captions (docs/experiments.md)
_LEAST = 0.001      # a category's probability is taken for at least this, so that its logit is finite


@dataclass(frozen=True)
class AttributeList:
    """Attributes in the model's order: the universal words, then the emotional ones."""

    universal: tuple[str, ...]
    emotional: tuple[str, ...]
    emotional_index: tuple[int, ...]            # of each emotional word among the taxonomy's words
    categories: tuple[str, ...]
    emotional_categories: tuple[tuple[int, ...], ...]   # of each emotional word: indices of its categories

    @classmethod
    def build(cls, captions: Sequence[str], taxonomy: Taxonomy, universal_words: int,
              groups: Literal["emotional", "one"] = "emotional") -> "AttributeList":
        """The `universal_words` most frequent words but stop words, and every emotion word that occurs.

        With `one` group, as CARE has it, an emotion word is a word like others.
        """
        counts = Counter(word for caption in captions for word in words(caption))
        emotional = tuple(word for word in taxonomy.words if word in counts and groups == "emotional")
        excluded = {*emotional, *(STOP_WORDS if groups == "emotional" else FUNCTION_WORDS)}
        universal = (word for word in counts if word not in excluded)
        frequent = sorted(universal, key=lambda word: (-counts[word], word))
        number = {category: i for i, category in enumerate(taxonomy.categories)}
        index = {word: i for i, word in enumerate(taxonomy.words)}
        return cls(tuple(frequent[:universal_words]), emotional, tuple(index[word] for word in emotional),
                   taxonomy.categories,
                   tuple(tuple(number[c] for c in taxonomy.categories_of(word)) for word in emotional))

    def __len__(self) -> int:
        return len(self.universal) + len(self.emotional)

    @cached_property
    def words(self) -> tuple[str, ...]:
        return self.universal + self.emotional

    @cached_property
    def membership(self) -> Tensor:
        """[C, N_EM] float: 1 where the emotional word belongs to the category."""
        matrix = torch.zeros(len(self.categories), len(self.emotional))
        for word, categories in enumerate(self.emotional_categories):
            matrix[list(categories), word] = 1.0
        return matrix

    def counts(self, captions: Sequence[Sequence[str]]) -> Tensor:
        """[V, N] float: in how many of the video's captions the attribute stands."""
        number = {word: i for i, word in enumerate(self.words)}
        counts = torch.zeros(len(captions), len(self))
        for video, sentences in enumerate(captions):
            for sentence in sentences:
                counts[video, [number[word] for word in set(words(sentence)) if word in number]] += 1
        return counts

    def targets(self, captions: Sequence[Sequence[str]]) -> Tensor:
        """[V, N] of 0 to 1: what VTAI learns, `chance_of_some` of the captions in which the attribute stands."""
        return chance_of_some(self.counts(captions), captions)


def chance_of_some(counts: Tensor, captions: Sequence[Sequence[str]]) -> Tensor:
    """[V, N]: the chance that an attribute which `counts` [V, N] of a video's captions have is in one of three of them.

    A word that one of forty people wrote says little about the video, and with forty captions most videos have some
    word of every mood. With up to three captions it is 1 where any of them has the attribute.
    """
    number = torch.tensor([len(own) for own in captions])[:, None]
    none = torch.ones_like(counts)
    for drawn in range(_DRAWN):             # in place: of 100,000 videos a tensor has hundreds of MB
        left = number - drawn
        others = (left - counts).clamp_(min=0).div_(left.clamp(min=1))
        none.mul_(others.masked_fill_(left <= 0, 1.0))
    return none.neg_().add_(1)


def category_probabilities(logits: Tensor, membership: Tensor) -> Tensor:
    """Noisy-or: 1 - Π (1 - p) over each category's words. [..., N_EM], [C, N_EM] → [..., C].

    log (1 - sigmoid(x)) = -softplus(x), so nothing is lost where a probability is close to 1.
    """
    return 1 - torch.exp(-F.softplus(logits) @ membership.T)


def base_logits(targets: Tensor, membership: Tensor) -> Tensor:
    """[N + C]: the logit of every attribute's, then of every category's share of the training videos.

    targets [V, N]: which attributes they have; membership [C, N_EM].
    """
    categories = (targets[:, -membership.shape[1]:] @ membership.T).clamp(max=1) if membership.shape[1] else \
        targets.new_zeros(len(targets), len(membership))
    return torch.logit(torch.cat([targets, categories], 1).mean(0).clamp(0.01, 0.99))


def logits_above(logits: Tensor, base: Tensor, membership: Tensor) -> Tensor:
    """[V, N + C]: how far the logits [V, N] of the attributes, and those of the categories, lie above `base`."""
    emotional = logits[:, logits.shape[1] - membership.shape[1]:]
    categories = torch.logit(category_probabilities(emotional, membership), eps=_LEAST)
    return torch.cat([logits, categories], 1) - base
