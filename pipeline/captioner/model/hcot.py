"""HCOT, the Holistic Concept-Oriented Theme: what the predicted attributes tell the decoder.

Both blocks read attribute logits that are detached: the caption loss must not bend the attributes into a
code.
"""

import torch
from torch import Tensor, nn

from pipeline.captioner.attributes import category_probabilities
from pipeline.captioner.model.dropout import Dropout


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
