"""Attributes: which words they are, which of them a video has, and VTAI, which predicts them.

Universal attributes are frequent words of the training captions; emotional ones are words of the emotion
taxonomy.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.captioner.dropout import Dropout
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.text import words

# Thin, as in the authors' charts, where pronouns and particles are attributes: words that say nothing alone.
STOP_WORDS = frozenset((
    "a", "an", "the", "is", "are", "was", "were", "be", "been", "being", "am", "of", "to", "in",
    "on", "at", "by", "for", "from", "with", "into", "and", "or", "as", "it", "its", "this", "that",
    "these", "those", "there",
))

# A prior is taken for at least this, so that its logit is finite; a word at it adds nothing to the logits.
_LEAST = 0.01
_ABSENT = math.log(_LEAST / (1 - _LEAST))


@dataclass(frozen=True)
class AttributeList:
    """Attributes in the model's order: the universal words, then the emotional ones."""

    universal: tuple[str, ...]
    emotional: tuple[str, ...]
    emotional_index: tuple[int, ...]            # of each emotional word among the taxonomy's words
    categories: tuple[str, ...]
    emotional_categories: tuple[tuple[int, ...], ...]   # of each emotional word: indices of its categories

    @classmethod
    def build(cls, captions: Sequence[str], taxonomy: Taxonomy, universal_words: int) -> "AttributeList":
        """The `universal_words` most frequent words but stop words, and every emotion word that occurs."""
        counts = Counter(word for caption in captions for word in words(caption))
        emotional = tuple(word for word in taxonomy.words if word in counts)
        universal = (word for word in counts if word not in STOP_WORDS and not taxonomy.categories_of(word))
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

    def targets(self, captions: Sequence[Sequence[str]]) -> Tensor:
        """[V, N] float: 1 where the attribute stands in any of the video's captions."""
        number = {word: i for i, word in enumerate(self.words)}
        found = torch.zeros(len(captions), len(self))
        for video, sentences in enumerate(captions):
            present = {word for sentence in sentences for word in words(sentence)}
            found[video, [number[word] for word in present if word in number]] = 1.0
        return found


def category_probabilities(logits: Tensor, membership: Tensor) -> Tensor:
    """Noisy-or: 1 - Π (1 - p) over each category's words. [..., N_EM], [C, N_EM] → [..., C].

    log (1 - sigmoid(x)) = -softplus(x), so nothing is lost where a probability is close to 1.
    """
    return 1 - torch.exp(-F.softplus(logits) @ membership.T)


class AttributeDetector(nn.Module):
    """VTAI: pooled modalities and emotional prior through fully connected layers → attribute logits [V, N].

    The prior is also a residual on the emotional logits, `scale · logit(prior) + bias` with both learned,
    so that they start from what the candidate captions say. `prior` is False where the model has no text
    modality: the prior comes from the candidates, and a model without them must not see it.
    """

    index: Tensor

    def __init__(self, pooled: int, attributes: int, categories: int, prior_index: Sequence[int], width: int,
                 dropout: float, prior: bool) -> None:
        super().__init__()
        self.prior = prior
        self.register_buffer("index", torch.tensor(prior_index, dtype=torch.long))
        inputs = pooled
        if prior:
            self.embed_prior = nn.Linear(categories + len(prior_index), width)
            self.scale = nn.Parameter(torch.tensor(0.5))
            self.bias = nn.Parameter(torch.zeros(len(prior_index)))
            inputs += width
        self.layers = nn.Sequential(
            nn.Linear(inputs, width), nn.LayerNorm(width), nn.GELU(), Dropout(dropout),
            nn.Linear(width, width), nn.LayerNorm(width), nn.GELU(), Dropout(dropout),
        )
        self.output = nn.Linear(width, attributes)

    def start_from(self, frequency: Tensor) -> None:
        """Let the output begin at each attribute's share of the training videos [N], not at one half."""
        with torch.no_grad():
            self.output.bias.copy_(torch.logit(frequency.clamp(0.01, 0.99)))

    def forward(self, pooled: Tensor, prior_categories: Tensor, prior_words: Tensor) -> Tensor:
        if not self.prior:
            return self.output(self.layers(pooled))       # type: ignore[no-any-return]
        fine = prior_words.float().index_select(1, self.index)              # [V, N_EM]
        prior = self.embed_prior(torch.cat([prior_categories.float(), fine], -1))
        logits = self.output(self.layers(torch.cat([pooled, prior], -1)))   # [V, N]
        residual = self.scale * (torch.logit(fine, eps=_LEAST) - _ABSENT) + self.bias
        universal = logits.shape[1] - len(self.index)
        return torch.cat([logits[:, :universal], logits[:, universal:] + residual], -1)
