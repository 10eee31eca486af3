"""Attributes: which words they are, which of them a video has, and VTAI, which predicts them.

Universal attributes are frequent words of the training captions; emotional ones are words of the emotion
taxonomy. CARE's concepts are one group: frequent words, of a longer list of stop words.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline import params
from pipeline.captioner.inputs import Inputs, Modality, word_key
from pipeline.captioner.model.dropout import Dropout
from pipeline.captioner.model.feu import Features
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
    def build(cls, captions: Sequence[str], taxonomy: Taxonomy, universal_words: int,
              groups: Literal["emotional", "one"] = "emotional") -> "AttributeList":
        """The `universal_words` most frequent words but stop words, and every emotion word that occurs.

        With `one` group, as CARE has it, an emotion word is a word like others.
        """
        counts = Counter(word for caption in captions for word in words(caption))
        felt = {word for word in taxonomy.words if word in counts and groups == "emotional"}
        emotional = tuple(word for word in taxonomy.words if word in felt)
        stop_words = STOP_WORDS if groups == "emotional" else FUNCTION_WORDS
        universal = (word for word in counts if word not in stop_words and word not in felt)
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


def pooled(features: Features) -> list[Tensor]:
    """The mean [V, d] over the rows of every modality; zero where a video has none."""
    return [(rows * features.masks[name][..., None]).sum(1) / features.masks[name].sum(1, keepdim=True).clamp(min=1)
            for name, rows in features.rows.items()]


class LinearDetector(nn.Module):
    """CARE's concept detector: one layer over the pooled modalities → attribute logits [V, N]."""

    def __init__(self, section: params.Captioner, slots: dict[str, int], attributes: AttributeList) -> None:
        super().__init__()
        self.output = nn.Linear(len(slots) * section.hidden_size, len(attributes))

    def start_from(self, frequency: Tensor) -> None:
        """It starts at one half, as CARE's does."""

    def forward(self, features: Features, inputs: Inputs) -> Tensor:    # noqa: ARG002
        return self.output(torch.cat(pooled(features), -1))    # type: ignore[no-any-return]


class AttributeDetector(nn.Module):
    """VTAI: pooled modalities and the candidates' prior through fully connected layers → attribute logits [V, N].

    The prior [V, N] is what the candidate captions say: of an emotional word its probability (METHOD: emotion
    of candidate captions), of a universal one the share of the candidates that hold it, by learned weights of
    their ranks. It is an input and a residual on the logits, `scale · logit(prior) + bias` with both learned,
    so that they start from what the candidates say and are corrected by what is seen and heard. A model without
    candidates (no text modality), or with `prior` off, does not see it.
    """

    index: Tensor
    keys: Tensor
    place: Tensor

    def __init__(self, section: params.Captioner, slots: dict[str, int], attributes: AttributeList) -> None:
        super().__init__()
        width = section.hidden_size
        self.prior = section.prior and "text" in slots
        self.universal = len(attributes.universal)
        # What stands for the mean of a modality that a video does not have.
        self.missing = nn.ParameterDict({name: nn.Parameter(torch.zeros(width)) for name in slots})
        inputs = len(slots) * width
        if self.prior:
            self.embed_prior = nn.Linear(len(attributes.categories) + len(attributes), width)
            self.scale = nn.Parameter(torch.full((len(attributes),), 0.5))
            self.bias = nn.Parameter(torch.zeros(len(attributes)))
            self.ranks = nn.Parameter(torch.zeros(slots["text"]))
            keys = torch.tensor([word_key(word) for word in attributes.universal], dtype=torch.long).sort()
            for name, table in (("index", torch.tensor(attributes.emotional_index, dtype=torch.long)),
                                ("keys", keys.values), ("place", keys.indices)):
                self.register_buffer(name, table, persistent=False)     # all told by the attributes
            inputs += width
        self.layers = nn.Sequential(
            nn.Linear(inputs, width), nn.LayerNorm(width), nn.GELU(), Dropout(section.dropout),
            nn.Linear(width, width), nn.LayerNorm(width), nn.GELU(), Dropout(section.dropout),
        )
        self.output = nn.Linear(width, len(attributes))

    def start_from(self, frequency: Tensor) -> None:
        """Let the output begin at each attribute's share of the training videos [N], not at one half."""
        with torch.no_grad():
            self.output.bias.copy_(torch.logit(frequency.clamp(0.01, 0.99)))

    def forward(self, features: Features, inputs: Inputs) -> Tensor:
        there = [mask.any(1, keepdim=True) for mask in features.masks.values()]         # [V, 1]
        seen = [torch.where(some, mean, missing) for some, mean, missing
                in zip(there, pooled(features), self.missing.values(), strict=True)]    # [V, d]
        if not self.prior:
            return self.output(self.layers(torch.cat(seen, -1)))     # type: ignore[no-any-return]
        fine = inputs.prior_words.float().index_select(1, self.index)                   # [V, N_EM]
        prior = torch.cat([self._said(inputs.modalities["text"]), fine], -1)            # [V, N]
        told = self.embed_prior(torch.cat([inputs.prior_categories.float(), prior], -1))
        logits = self.output(self.layers(torch.cat([*seen, told], -1)))                 # [V, N]
        residual = self.scale * (torch.logit(prior, eps=_LEAST) - _ABSENT) + self.bias
        return logits + residual    # type: ignore[no-any-return]

    def _said(self, text: Modality) -> Tensor:
        """[V, N_UN]: the weighted share of the candidates in which each universal word stands."""
        videos, count = text.mask.shape
        shares = text.mask.new_zeros(videos, self.universal + 1, dtype=self.ranks.dtype)    # and one for others
        if text.words is None or not self.universal:
            return shares[:, :-1]
        ranks = torch.cat([self.ranks, self.ranks[-1:].expand(max(0, count - len(self.ranks)))])[:count]
        weights = torch.softmax(ranks.masked_fill(~text.mask, -1e4), -1)                    # [V, K]
        nearest = torch.searchsorted(self.keys, text.words).clamp(max=self.universal - 1)   # [V, K, L]
        column = torch.where(self.keys[nearest] == text.words, self.place[nearest], self.universal)
        each = weights[..., None].expand(column.shape)
        return shares.scatter_add(1, column.flatten(1), each.flatten(1))[:, :-1]
