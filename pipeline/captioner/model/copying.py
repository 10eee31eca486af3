"""Copying: the words that follow in the candidates what the caption says so far.

A candidate is a sentence that people wrote of something alike, and its order of words is lost in its embedding. Here
every place in a candidate is looked at: the more of the last three words of the caption stand before it, and the more
similar the candidate is, the more its word counts. A gate says at each word how much is copied (a pointer network, See
et al., ACL 2017, whose attention is a match of words).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.captioner.inputs import Modality, word_key
from pipeline.captioner.vocabulary import BOS, EOS, PAD, SPECIALS, UNK, Vocabulary

CONTEXT = 3         # words before, <bos> being one
_NEVER = -1e4       # finite, so that a video without candidates has no NaN


@dataclass(frozen=True)
class Places:
    """The P places of a video's candidates: the words before each, the word there, and how much it counts."""

    context: Tensor     # [V, P, CONTEXT] newest first
    word: Tensor        # [V, P]
    weight: Tensor      # [V, P] logarithm

    def select(self, index: Tensor) -> "Places":
        return Places(self.context[index], self.word[index], self.weight[index])


class Copying(nn.Module):
    keys: Tensor
    tokens: Tensor

    def __init__(self, vocabulary: Vocabulary, candidates: int, width: int) -> None:
        super().__init__()
        words = vocabulary.entries[len(SPECIALS):]
        keys = torch.tensor([word_key(word) for word in words], dtype=torch.long).sort()
        self.register_buffer("keys", keys.values, persistent=False)
        self.register_buffer("tokens", keys.indices + len(SPECIALS), persistent=False)
        self.ranks = nn.Parameter(torch.zeros(candidates))
        self.similarity = nn.Parameter(torch.zeros(()))
        self.matches = nn.Parameter(torch.ones(CONTEXT))       # what one more matching word before adds
        self.gate = nn.Linear(width, 1)
        self.support = nn.Parameter(torch.zeros(CONTEXT + 1))  # of the gate, by how many words match at best

    def places(self, text: Modality, scores: Tensor | None) -> Places | None:
        """Of V videos' candidates; None where their words are not known."""
        if text.words is None or not text.words.shape[1]:
            return None
        videos, count, _ = text.words.shape
        nearest = torch.searchsorted(self.keys, text.words).clamp(max=len(self.keys) - 1)
        spoken = torch.where(self.keys[nearest] == text.words, self.tokens[nearest], UNK)      # [V, K, L]
        spoken = spoken.masked_fill(text.words == 0, PAD)
        ends = torch.full_like(spoken[..., :1], PAD)
        word = torch.cat([spoken, ends], -1)                                                    # [V, K, L + 1]
        length = (word != PAD).sum(-1, keepdim=True)
        word = word.scatter(-1, length, EOS)
        first = torch.full_like(spoken[..., :1], BOS)
        before = torch.cat([first, word[..., :-1]], -1)
        context = [before]
        for _ in range(CONTEXT - 1):
            context.append(torch.cat([ends, context[-1][..., :-1]], -1))
        ranks = torch.cat([self.ranks, self.ranks[-1:].expand(max(0, count - len(self.ranks)))])[:count]
        weight = ranks.expand(videos, count)
        if scores is not None:
            weight = weight + self.similarity * scores
        usable = (word != PAD) & (word != UNK) & text.mask[..., None] & (length > 0)
        weight = torch.where(usable, weight[..., None], _NEVER)
        return Places(torch.stack(context, -1).flatten(1, 2), word.flatten(1), weight.flatten(1))

    def forward(self, states: Tensor, context: Tensor, places: Places, logits: Tensor) -> Tensor:
        """States [N, d], the last words [N, CONTEXT] (newest first, <pad> before <bos>), their videos' places [N, P]
        and logits [N, vocabulary] → log p [N, vocabulary] of the mixture."""
        equal = (places.context == context[:, None]).cumprod(-1)                                # [N, P, CONTEXT]
        attention = torch.softmax(places.weight + equal.to(self.matches.dtype) @ self.matches, -1)     # [N, P]
        best = equal.sum(-1).masked_fill(places.weight <= _NEVER, 0).amax(1)                    # [N]
        share = torch.sigmoid(self.gate(states)[:, 0] + self.support[best])[:, None]
        possible = (places.weight > _NEVER).any(1, keepdim=True)
        share = share * possible
        own = logits.float().softmax(-1) * (1 - share)
        return own.scatter_add(1, places.word, attention.float() * share).clamp(min=1e-30).log()
