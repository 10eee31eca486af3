"""HCOT, the Holistic Concept-Oriented Theme: what the predicted attributes tell the decoder.

Both blocks read attribute logits that are detached: the caption loss must not bend the attributes into a
code.
"""

import torch
from torch import Tensor, nn

from pipeline.captioner.attributes import AttributeList, category_probabilities, logits_above
from pipeline.captioner.model.dropout import Dropout
from pipeline.captioner.vocabulary import UNK, Vocabulary

_MOST = 5.0     # evidence counts no more than this


class AttributeEmbedding(nn.Module):
    """AEB: the most probable attributes as memory rows [V, n, d], with their rank as position."""

    def __init__(self, attributes: int, embedded: int, width: int, dropout: float) -> None:
        super().__init__()
        self.count = min(embedded, attributes)
        self.words = nn.Embedding(attributes, width)
        self.ranks = nn.Embedding(self.count, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(self, logits: Tensor) -> Tensor:
        """Logits [V, N] → rows [V, n, d]."""
        top = logits.topk(self.count, dim=-1).indices                            # [V, n], most probable first
        return self.dropout(self.norm(self.words(top) + self.ranks.weight))      # type: ignore[no-any-return]


class EmotionGuide(nn.Module):
    """What the emotional attributes add to the logits of their words, as much as the sentence so far wants of them.

    The evidence is how far an emotional attribute's logit, and that of its category, lies above that of its share of
    the training videos: people name one mood in many words. What is shown is left to the decoder, which sees it better.
    """

    known: Tensor
    tokens: Tensor
    membership: Tensor

    def __init__(self, attributes: AttributeList, vocabulary: Vocabulary, width: int) -> None:
        super().__init__()
        tokens = torch.tensor(vocabulary.encode(attributes.emotional), dtype=torch.long)     # [N_EM]
        known = torch.nonzero(tokens != UNK).flatten()          # a rare attribute is no word of the vocabulary
        self.register_buffer("known", known, persistent=False)
        self.register_buffer("tokens", tokens[known], persistent=False)
        self.register_buffer("membership", attributes.membership, persistent=False)
        self.gates = nn.Linear(width, 2)        # of words, of categories

    def evidence(self, logits: Tensor, base: Tensor) -> Tensor:
        """Attribute logits [V, N] and their base [N + C] → [V, 2, N_EM]: for every emotional word, for its category."""
        emotional = self.membership.shape[1]
        above = logits_above(logits, base, self.membership).clamp(-_MOST, _MOST)[:, logits.shape[1] - emotional:]
        own, of_categories = above[:, :emotional], above[:, emotional:]
        return torch.stack([own, of_categories @ self.membership / self.membership.sum(0).clamp(min=1)], 1)

    def forward(self, states: Tensor, evidence: Tensor, logits: Tensor) -> Tensor:
        """States [N, d], their videos' evidence [N, 2, N_EM] → `logits` [N, vocabulary] with what is added."""
        added = (self.gates(states)[..., None] * evidence).sum(1).index_select(1, self.known)
        return logits.index_add(1, self.tokens, added.to(logits.dtype))


class LinearTheme(nn.Module):
    """CARE's global guidance in place of CFB: one layer over all attributes alike → theme [V, d]."""

    def __init__(self, attributes: int, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(attributes, width, bias=False)

    def forward(self, logits: Tensor) -> Tensor:
        return self.layer(torch.sigmoid(logits))    # type: ignore[no-any-return]


class CoarseToFine(nn.Module):
    """CFB: the theme [V, d] = l_UN + l_EM.

    Each group's probabilities go through a Linear layer of their own and weight the rows of a latent matrix
    of their own. The emotional group is coarse and fine: the categories (noisy-or of their words), then the
    words.
    """

    membership: Tensor

    def __init__(self, universal: int, membership: Tensor, width: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("membership", membership)
        self.universal = universal
        emotional = sum(membership.shape)
        self.universal_weights = nn.Linear(universal, universal)
        self.emotional_weights = nn.Linear(emotional, emotional)
        self.field = nn.Parameter(torch.randn(universal, width) * 0.1)
        self.emotion = nn.Parameter(torch.randn(emotional, width) * 0.1)
        self.dropout = Dropout(dropout)

    def forward(self, logits: Tensor) -> Tensor:
        """Logits [V, N_UN + N_EM] → theme [V, d]."""
        words = logits[:, self.universal:]
        fine = torch.sigmoid(words)                                               # ρ_EM [V, N_EM]
        emotional = torch.cat([category_probabilities(words, self.membership), fine], -1)
        l_un = self.universal_weights(torch.sigmoid(logits[:, :self.universal])) @ self.field    # [V, d]
        l_em = self.emotional_weights(emotional) @ self.emotion                                  # [V, d]
        return self.dropout(l_un + l_em)    # type: ignore[no-any-return]
