"""Random captions: several of every video at once, a word at a time, by the model's own probabilities."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.captioner.generation.constraints import forbid
from pipeline.captioner.model.captioner import Captioner, Encoded
from pipeline.captioner.vocabulary import BOS, EOS, PAD

_FULL = 0.75    # finished videos leave the batch once fewer than this share of it are unfinished


@dataclass(frozen=True)
class SamplingSettings:
    """`count` captions a video; words beyond the most probable mass `top_p` are not drawn."""

    count: int
    temperature: float = 1.0
    top_p: float = 1.0
    no_repeat_ngram_size: int = 0


@torch.no_grad()
def sample(model: Captioner, encoded: Encoded, videos: int, settings: SamplingSettings,
           uniform: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Tokens [V, count, longest] (words, <eos>, then <pad>) and their Σ log p [V, count], by the model as it is.

    log p is the model's under the constraints, before temperature and `top_p`. uniform: random numbers from 0 to 1
    [V, count, longest], one for every word; without it PyTorch's own are drawn.
    """
    device, longest, count = model.device, model.section.max_words + 1, settings.count
    if uniform is None:
        uniform = torch.rand(videos, count, longest, dtype=torch.double, device=device)
    texts = torch.full((videos, count, longest), PAD, device=device)
    sums = torch.zeros(videos, count, device=device)
    active = torch.arange(videos, device=device)                         # [v] which video a row is
    tokens = torch.full((videos * count, 1), BOS, device=device)        # [v·count, 1 + words so far]
    done = torch.zeros(videos, count, dtype=torch.bool, device=device)  # [v, count]
    cache = model.decoder.cache(videos * count)
    for position in range(longest):
        logits = model.step(encoded, tokens.view(len(active), count, -1), cache).float().flatten(0, 1)
        log_p = forbid(logits, tokens, longest, settings.no_repeat_ngram_size).log_softmax(-1)
        drawn = _draw(log_p, settings, uniform[active, :, position].flatten())     # [v·count]
        gain = log_p.gather(1, drawn[:, None]).view(len(active), count)
        drawn = drawn.masked_fill(done.flatten(), PAD)
        texts[active, :, position] = drawn.view(len(active), count)
        sums[active] += gain.masked_fill(done, 0.0)
        tokens = torch.cat([tokens, drawn[:, None]], 1)
        done |= (drawn == EOS).view(len(active), count)
        kept = torch.nonzero(~done.all(1)).flatten()
        if not len(kept):
            break
        if len(kept) < _FULL * len(active):
            rows = (kept[:, None] * count + torch.arange(count, device=device)).flatten()
            cache.select(rows)
            encoded, active, done, tokens = encoded.select(kept), active[kept], done[kept], tokens[rows]
    return texts, sums


def _draw(log_p: Tensor, settings: SamplingSettings, uniform: Tensor) -> Tensor:
    """One word of every row [R, vocabulary], by a number from 0 to 1 each [R] → [R]."""
    probabilities = (log_p / settings.temperature).softmax(-1).double()
    if settings.top_p < 1:
        ordered, words = probabilities.sort(-1, descending=True)
        before = ordered.cumsum(-1) - ordered
        probabilities = probabilities.scatter(1, words, ordered.masked_fill(before >= settings.top_p, 0.0))
    # By the inverse of the distribution: one random number a row, where torch.multinomial takes one a word.
    mass = probabilities.cumsum(-1)
    at = uniform[:, None].to(mass) * mass[:, -1:]
    drawn = torch.searchsorted(mass, at, right=True).squeeze(1)
    # Rounding may put `at` on the whole mass: then it is the last word of any.
    last = (mass >= mass[:, -1:]).to(torch.uint8).argmax(1)
    return torch.minimum(drawn, last)
