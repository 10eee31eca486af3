"""Beam search over all videos of a batch at once.

All videos and all their beams take a step together; a video that is done leaves the batch. The score of a caption is
Σ log p / length ** length_penalty, <eos> counted in both. A hypothesis that ends among the best `num_beams`
continuations is finished. The search of a video ends when it has `num_beams` finished hypotheses and none of its beams,
were it to end here, would be better than the worst of them. That is the rule of Hugging Face's `generate`. Where
length_penalty is above 0 a longer caption could still overtake them, which is rare and would cost a third more steps.
"""

import torch
from torch import Tensor

from pipeline import params
from pipeline.captioner.generation.constraints import forbid
from pipeline.captioner.model.captioner import Captioner, Encoded
from pipeline.captioner.vocabulary import BOS, EOS, PAD

Beams = list[tuple[list[int], float]]       # tokens with <eos>, score; best first
_NEVER = float("-inf")


@torch.inference_mode()
def search(model: Captioner, encoded: Encoded, videos: int, section: params.Generation) -> list[Beams]:
    """For every encoded video its finished hypotheses (tokens with <eos>, score), best first."""
    results: list[Beams] = [[] for _ in range(videos)]
    state = _Search(model, encoded, videos, section)
    while len(state.videos):
        state.step()
        for video, beams in state.pop_finished():
            results[video] = beams
    return results


class _Search:
    """The beams of the videos that are not done. V shrinks while B = beam stays."""

    def __init__(self, model: Captioner, encoded: Encoded, videos: int, section: params.Generation) -> None:
        device = model.device
        self.model, self.encoded, self.beam, self.power = model, encoded, section.num_beams, section.length_penalty
        self.no_repeat = section.no_repeat_ngram_size
        self.longest = model.section.max_words + 1                               # with <eos>
        self.videos = torch.arange(videos, device=device)                        # [V] which video a row is
        self.tokens = torch.full((videos, self.beam, 1), BOS, device=device)     # [V, B, 1 + words so far]
        self.sums = torch.full((videos, self.beam), _NEVER, device=device)
        self.sums[:, 0] = 0.0                                                    # all start alike: one counts
        self.finished = torch.full((videos, self.beam), _NEVER, device=device)   # scores, best first
        self.texts = torch.full((videos, self.beam, self.longest), PAD, device=device)
        self.returned = torch.zeros(videos, dtype=torch.bool, device=device)     # but still in the batch
        self.cache = model.decoder.cache(videos * self.beam)

    def step(self) -> None:
        """One more word for every beam."""
        videos, beam = self.sums.shape
        tokens, sums = self._continuations()                                     # [V, 2B] each, best first
        origin = tokens // self.model.shape.vocabulary
        tokens = tokens % self.model.shape.vocabulary
        ends = tokens == EOS
        self._finish(sums.masked_fill(~ends, _NEVER)[:, :beam], origin[:, :beam])

        # At most one continuation of each beam ends, so B of the 2B go on.
        alive = sums.masked_fill(ends, _NEVER)
        self.sums, chosen = alive.topk(beam, dim=1)
        origin, tokens = origin.gather(1, chosen), tokens.gather(1, chosen)
        rows = (torch.arange(videos, device=origin.device)[:, None] * beam + origin).flatten()
        self.cache.select(rows)
        past = self.tokens.flatten(0, 1)[rows].view(videos, beam, -1)
        self.tokens = torch.cat([past, tokens[..., None]], -1)

    def _continuations(self) -> tuple[Tensor, Tensor]:
        """The 2B most probable continuations [V, 2B]: beam · vocabulary + token, and the sum of log p."""
        logits = self.model.step(self.encoded, self.tokens, self.cache).float()         # [V, B, vocabulary]
        total = logits.logsumexp(-1, keepdim=True)
        forbid(logits.flatten(0, 1), self.tokens.flatten(0, 1), self.longest, self.no_repeat)
        # 2B of all continuations are among the 2B best of each beam.
        vocabulary = logits.shape[-1]
        best, token = logits.topk(min(2 * self.beam, vocabulary), dim=-1)        # [V, B, k]
        sums = (self.sums[..., None] + best - total).flatten(1)                  # [V, B·k]
        flat = (torch.arange(self.beam, device=token.device)[:, None] * vocabulary + token).flatten(1)
        sums, chosen = sums.topk(2 * self.beam, dim=1)
        return flat.gather(1, chosen), sums

    def _finish(self, sums: Tensor, origin: Tensor) -> None:
        """Put ended continuations [V, B] among the finished; the best B stay."""
        if not torch.isfinite(sums).any():
            return
        length = self.tokens.shape[2]                                            # words and <eos>
        texts = torch.full_like(self.texts, PAD)
        texts[..., :length - 1] = self.tokens[..., 1:].gather(1, origin[..., None].expand(-1, -1, length - 1))
        texts[..., length - 1] = EOS
        scores = torch.cat([self.finished, sums / length ** self.power], 1)      # [V, 2B]
        self.finished, chosen = scores.topk(self.beam, dim=1)
        self.texts = torch.cat([self.texts, texts], 1).gather(
            1, chosen[..., None].expand(-1, -1, self.longest))

    def pop_finished(self) -> list[tuple[int, Beams]]:
        """The videos that are done since the last call, with their finished hypotheses."""
        length = self.tokens.shape[2] - 1
        bound = self.sums.amax(1) / length ** self.power
        done = (self.finished[:, -1] >= bound) & ~self.returned          # [V]; a hypothesis that lacks counts as -inf
        index = torch.nonzero(done).flatten()
        out = []
        for video, scores, texts in zip(self.videos[index].tolist(), self.finished[index].tolist(),
                                        self.texts[index].tolist(), strict=True):
            out.append((video, [(text[:text.index(EOS) + 1], score)
                                for text, score in zip(texts, scores, strict=True) if score > _NEVER]))
        self.returned |= done
        if out:
            self._shrink()
        return out

    def _shrink(self) -> None:
        """Take returned videos out of the batch once they are a quarter of it: moving the others costs too."""
        kept = torch.nonzero(~self.returned).flatten()
        if len(kept) > 0.75 * len(self.returned):
            return
        if len(kept):
            rows = (kept[:, None] * self.beam + torch.arange(self.beam, device=kept.device)).flatten()
            self.cache.select(rows)
            self.encoded = self.encoded.select(kept)
        self.videos, self.tokens, self.sums = self.videos[kept], self.tokens[kept], self.sums[kept]
        self.finished, self.texts, self.returned = self.finished[kept], self.texts[kept], self.returned[kept]
