"""VTAI, Visual-Text Attribute Investigation: predicts attributes from the modalities and the prior."""

import math

import torch
from torch import Tensor, nn

from pipeline import params
from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.inputs import Inputs, Modality, word_key
from pipeline.captioner.model.dropout import Dropout
from pipeline.captioner.model.feu import Features, Pooled

# A prior is taken for at least this, so that its logit is finite; a word at it adds nothing to the logits.
_LEAST = 0.01
_ABSENT = math.log(_LEAST / (1 - _LEAST))


class LinearDetector(nn.Module):
    """CARE's concept detector: one layer over the pooled rows of FEU → attribute logits [V, N]."""

    def __init__(self, section: params.Captioner, slots: dict[str, int], attributes: AttributeList) -> None:
        super().__init__()
        self.output = nn.Linear(len(slots) * section.hidden_size, len(attributes))

    def initialise_bias(self, frequency: Tensor) -> None:
        """It starts at one half, as CARE's does."""

    def forward(self, features: Features) -> Tensor:
        means = [(rows * features.masks[name][..., None]).sum(1)
                 / features.masks[name].sum(1, keepdim=True).clamp(min=1) for name, rows in features.rows.items()]
        return self.output(torch.cat(means, -1))    # type: ignore[no-any-return]


class AttributeDetector(nn.Module):
    """VTAI: pooled modalities and the candidates' prior through fully connected layers → attribute logits [V, N].

    The prior [V, N] is what the candidate captions say: of an emotional word its probability (METHOD: emotion
    of candidate captions), of a universal one the share of the candidates that hold it, by learned weights of
    their ranks. It is an input and a residual on the logits, `scale · logit(prior) + bias` with both learned,
    so that they start from what the candidates say and are corrected by frames, sound and motion. A model without
    candidates (no text modality), or with `prior` off, does not see it.
    """

    emotional_index: Tensor
    keys: Tensor
    columns: Tensor

    def __init__(self, section: params.Captioner, dims: dict[str, int], slots: dict[str, int],
                 attributes: AttributeList) -> None:
        super().__init__()
        width = section.hidden_size
        # Of its own: FEU changes as the decoder learns, and VTAI is ready before that.
        self.projections = nn.ModuleDict({name: nn.Sequential(nn.Linear(dim, width), nn.LayerNorm(width))
                                          for name, dim in dims.items()})
        self.prior = section.prior and "text" in slots
        self.universal = len(attributes.universal)
        # What stands for the mean of a modality that a video does not have.
        self.missing = nn.ParameterDict({name: nn.Parameter(torch.zeros(width)) for name in slots})
        inputs = len(slots) * width
        if self.prior:
            self.embed_prior = nn.Linear(len(attributes.categories) + len(attributes) + 2 * section.similarity, width)
            self.scale = nn.Parameter(torch.full((len(attributes),), 0.5))
            self.bias = nn.Parameter(torch.zeros(len(attributes)))
            self.ranks = nn.Parameter(torch.zeros(slots["text"]))
            self.similarity = nn.Parameter(torch.zeros(())) if section.similarity else None
            keys = torch.tensor([word_key(word) for word in attributes.universal], dtype=torch.long).sort()
            for name, table in (("emotional_index", torch.tensor(attributes.emotional_index, dtype=torch.long)),
                                ("keys", keys.values), ("columns", keys.indices)):
                self.register_buffer(name, table, persistent=False)     # made from the attributes
            inputs += width
        self.layers = nn.Sequential(
            Dropout(section.dropout), nn.Linear(inputs, width), nn.LayerNorm(width), nn.GELU(),
            Dropout(section.dropout),
            nn.Linear(width, width), nn.LayerNorm(width), nn.GELU(), Dropout(section.dropout),
        )
        self.output = nn.Linear(width, len(attributes))

    def initialise_bias(self, frequency: Tensor) -> None:
        """Let the output begin at each attribute's share of the training videos [N], not at one half."""
        with torch.no_grad():
            self.output.bias.copy_(torch.logit(frequency.clamp(0.01, 0.99)))

    def forward(self, pooled: Pooled, inputs: Inputs) -> Tensor:
        means = [torch.where(pooled.present[name], projection(pooled.means[name]), self.missing[name])
                 for name, projection in self.projections.items()]                          # [V, d] each
        if not self.prior:
            return self.output(self.layers(torch.cat(means, -1)))     # type: ignore[no-any-return]
        fine = inputs.prior_words.float().index_select(1, self.emotional_index)                   # [V, N_EM]
        prior = torch.cat([self._word_shares(inputs.modalities["text"], pooled.scores), fine], -1)    # [V, N]
        known = [inputs.prior_categories.float(), prior]
        if self.similarity is not None:
            known.append(_summary(inputs.modalities["text"].mask, pooled.scores))
        embedded_prior = self.embed_prior(torch.cat(known, -1))
        logits = self.output(self.layers(torch.cat([*means, embedded_prior], -1)))                 # [V, N]
        residual = self.scale * (torch.logit(prior, eps=_LEAST) - _ABSENT) + self.bias
        return logits + residual    # type: ignore[no-any-return]

    def _word_shares(self, text: Modality, scores: Tensor | None) -> Tensor:
        """[V, N_UN]: the weighted share of the candidates in which each universal word stands."""
        videos, count = text.mask.shape
        shares = text.mask.new_zeros(videos, self.universal + 1, dtype=self.ranks.dtype)    # and one for others
        if text.words is None or not self.universal:
            return shares[:, :-1]
        ranks = torch.cat([self.ranks, self.ranks[-1:].expand(max(0, count - len(self.ranks)))])[:count]
        if self.similarity is not None and scores is not None:
            ranks = ranks + self.similarity * scores
        weights = torch.softmax(ranks.masked_fill(~text.mask, -1e4), -1)                    # [V, K]
        nearest = torch.searchsorted(self.keys, text.words).clamp(max=self.universal - 1)   # [V, K, L]
        column = torch.where(self.keys[nearest] == text.words, self.columns[nearest], self.universal)
        column = column.sort(-1).values
        repeated = torch.zeros_like(column, dtype=torch.bool)
        repeated[..., 1:] = column[..., 1:] == column[..., :-1]         # a word counts once a candidate
        each = weights[..., None].expand(column.shape).masked_fill(repeated, 0.0)
        return shares.scatter_add(1, column.flatten(1), each.flatten(1))[:, :-1]


def _summary(mask: Tensor, scores: Tensor | None) -> Tensor:
    """[V, 2]: how similar the best candidate is, and all of them on average; 0 where nothing is known."""
    if scores is None or not mask.shape[1]:
        return torch.zeros(len(mask), 2, device=mask.device)
    best = scores.masked_fill(~mask, float("-inf")).amax(1).nan_to_num(neginf=0.0)
    return torch.stack([best, scores.sum(1) / mask.sum(1).clamp(min=1)], -1)
