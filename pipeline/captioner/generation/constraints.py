"""Words that must not follow, for beam search, for sampling and for the gradient of samples alike."""

import torch
from torch import Tensor

from pipeline.captioner.vocabulary import BOS, EOS, PAD, UNK

_NEVER = float("-inf")


def forbid(logits: Tensor, tokens: Tensor, longest: int, no_repeat_ngram_size: int = 0) -> Tensor:
    """`logits` [R, vocabulary], changed in place: -inf for every word that must not follow `tokens` [R, 1 + words].

    Special tokens are never generated, no caption is empty, no word follows itself, a caption of `longest` tokens
    (<eos> counts) ends, and no n-gram of `no_repeat_ngram_size` words comes twice (0: it may).
    """
    words = tokens.shape[1] - 1
    if words == longest - 1:                # full: it can only end
        end = logits[:, EOS].clone()
        logits.fill_(_NEVER)[:, EOS] = end
        return logits
    if no_repeat_ngram_size and words >= no_repeat_ngram_size:
        _forbid_repeats(logits, tokens[:, 1:], no_repeat_ngram_size)
    return forbid_after(logits, tokens[:, -1], words == 0)


def forbid_after(logits: Tensor, last: Tensor, first: Tensor | bool) -> Tensor:
    """The rules that look at the `last` word [R] alone; `first`: whether (or where, [R]) the caption begins here."""
    logits.scatter_(1, last[:, None], _NEVER)
    logits[:, [PAD, BOS, UNK]] = _NEVER
    logits[:, EOS] = logits[:, EOS].masked_fill(torch.as_tensor(first, device=logits.device), _NEVER)
    return logits


def _forbid_repeats(logits: Tensor, words: Tensor, count: int) -> None:
    """-inf for the word that would complete a run of `count` words which [R, L] `words` already hold."""
    runs = words.unfold(1, count, 1)                                            # [R, runs, count]
    repeated = (runs[..., :-1] == words[:, None, words.shape[1] - count + 1:]).all(-1)     # [R, runs]
    barred = torch.where(repeated, _NEVER, -_NEVER).to(logits.dtype)
    logits.scatter_reduce_(1, runs[..., -1], barred, "amin")
