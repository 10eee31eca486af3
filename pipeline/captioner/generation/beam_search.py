"""Captions of videos, with their attributes and emotions, by beam search or sampling.

Beam search: all videos of a batch and all their beams take a step together; a video that is done leaves the batch. The
score of a caption is Σ log p / length ** length_power, <eos> counted in both. A hypothesis that ends among
the best `beam` continuations is finished. The search of a video ends when no beam can still beat its best
finished caption: log p only falls, so a beam's score is at best its sum / longest length ** length_power.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline import params
from pipeline.captioner.attributes import AttributeList, category_probabilities
from pipeline.captioner.generation.attribute_odds import Beams, Odds
from pipeline.captioner.generation.constraints import forbid
from pipeline.captioner.generation.random_sampling import Draw, sample
from pipeline.captioner.inputs import Inputs
from pipeline.captioner.model.captioner import Captioner, Encoded
from pipeline.captioner.vocabulary import BOS, EOS, PAD, Vocabulary

_NEVER = float("-inf")


@dataclass(frozen=True)
class Hypothesis:
    text: str
    score: float


@dataclass(frozen=True)
class Attribute:
    word: str
    probability: float
    emotional: bool


@dataclass(frozen=True)
class Caption:
    """A video's caption: the best of `beams`. Attributes (none without VTAI) and emotions in order."""

    video_id: str
    text: str
    score: float
    beams: tuple[Hypothesis, ...]
    attributes: tuple[Attribute, ...]
    emotions: tuple[tuple[str, float], ...]

    def as_json(self, candidates: Iterable[tuple[str, float]] = ()) -> dict[str, Any]:
        """What a line of predictions.jsonl says of it; `candidates`: the video's, with their similarities."""
        return {
            "video_id": self.video_id, "caption": self.text, "score": round(self.score, 4),
            "beams": [{"caption": beam.text, "score": round(beam.score, 4)} for beam in self.beams],
            "emotions": [{"category": name, "probability": round(p, 4)} for name, p in self.emotions],
            "attributes": [{"word": attribute.word, "probability": round(attribute.probability, 4),
                            "emotional": attribute.emotional} for attribute in self.attributes],
            "candidates": [{"text": text, "score": round(float(score), 4)} for text, score in candidates],
        }


@torch.inference_mode()
def caption(model: Captioner, vocabulary: Vocabulary, attributes: AttributeList, inputs: Inputs,
            section: params.Generation) -> list[Caption]:
    """Captions of all `inputs`, in their order, `section.batch_size` videos at a time, without dropout."""
    training = model.training
    model.eval()
    try:
        odds = Odds(vocabulary, attributes)
        captions: list[Caption] = []
        for first in range(0, len(inputs), section.batch_size):
            batch = inputs.select(range(first, min(first + section.batch_size, len(inputs)))).to(model.device)
            encoded = model.encode(batch)
            found = told(model, encoded, len(batch), section)
            if encoded.attribute_logits is not None and section.attribute_odds:
                found = odds.rerank(found, encoded.attribute_logits, section.attribute_odds, section.length_penalty)
            probable = _attributes(encoded, attributes, model.section.embedded_attributes)
            felt = _emotions(encoded, attributes, batch)
            for video, tokens, attribute, emotion in zip(batch.ids, found, probable, felt, strict=True):
                beams = tuple(Hypothesis(vocabulary.decode(text), score) for text, score in tokens)
                captions.append(Caption(video, beams[0].text, beams[0].score, beams, attribute, emotion))
        return captions
    finally:
        model.train(training)


def told(model: Captioner, encoded: Encoded, videos: int, section: params.Generation,
         ) -> list[Beams]:
    """For every encoded video its captions (tokens with <eos>, score) by `section.method`, best first."""
    if section.method == "beam":
        return search(model, encoded, videos, section)
    generator = torch.Generator(model.device).manual_seed(section.seed)
    draw = Draw(section.num_beams, section.temperature, section.top_p, section.no_repeat_ngram_size)
    texts, sums = sample(model, encoded, videos, draw, generator)
    scores = sums / (texts != PAD).sum(-1) ** section.length_penalty
    found = [[([token for token in text if token != PAD], score) for text, score in zip(*drawn, strict=True)]
             for drawn in zip(texts.tolist(), scores.tolist(), strict=True)]
    return [sorted(captions, key=lambda caption: -caption[1]) for captions in found]


@torch.inference_mode()
def search(model: Captioner, encoded: Encoded, videos: int, section: params.Generation,
           ) -> list[Beams]:
    """For every encoded video its finished hypotheses (tokens with <eos>, score), best first."""
    found: list[Beams] = [[] for _ in range(videos)]
    state = _Search(model, encoded, videos, section)
    while len(state.videos):
        state.step()
        for video, beams in state.leave():
            found[video] = beams
    return found


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
        self.gone = torch.zeros(videos, dtype=torch.bool, device=device)         # told, but still here
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
        logits = self.model.step(self.encoded, self.tokens[..., -1], self.cache).float()         # [V, B, vocabulary]
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

    def leave(self) -> list[tuple[int, Beams]]:
        """The videos that are done since the last call, with their finished hypotheses."""
        bound = self.sums.amax(1) / self.longest ** self.power
        done = (self.finished[:, 0] >= bound) & torch.isfinite(self.finished[:, 0]) & ~self.gone    # [V]
        index = torch.nonzero(done).flatten()
        out = []
        for video, scores, texts in zip(self.videos[index].tolist(), self.finished[index].tolist(),
                                        self.texts[index].tolist(), strict=True):
            out.append((video, [(text[:text.index(EOS) + 1], score)
                                for text, score in zip(texts, scores, strict=True) if score > _NEVER]))
        self.gone |= done
        if out:
            self._shrink()
        return out

    def _shrink(self) -> None:
        """Take told videos out of the batch once they are a quarter of it: moving the others costs too."""
        kept = torch.nonzero(~self.gone).flatten()
        if len(kept) > 0.75 * len(self.gone):
            return
        if len(kept):
            rows = (kept[:, None] * self.beam + torch.arange(self.beam, device=kept.device)).flatten()
            self.cache.select(rows)
            self.encoded = self.encoded.select(kept)
        self.videos, self.tokens, self.sums = self.videos[kept], self.tokens[kept], self.sums[kept]
        self.finished, self.texts, self.gone = self.finished[kept], self.texts[kept], self.gone[kept]


def _attributes(encoded: Encoded, attributes: AttributeList, count: int) -> list[tuple[Attribute, ...]]:
    if encoded.attribute_logits is None:
        return [()] * len(encoded.memory.keys[0])
    top = torch.sigmoid(encoded.attribute_logits).topk(min(count, len(attributes)), dim=1)
    return [tuple(Attribute(attributes.words[i], p, i >= len(attributes.universal))
                  for i, p in zip(numbers, probabilities, strict=True))
            for numbers, probabilities in zip(top.indices.tolist(), top.values.tolist(), strict=True)]


def _emotions(encoded: Encoded, attributes: AttributeList,
              inputs: Inputs) -> list[tuple[tuple[str, float], ...]]:
    """Noisy-or of the emotional attributes; without VTAI or emotional attributes the candidates' prior alone."""
    if encoded.attribute_logits is None or not attributes.emotional:
        felt = inputs.prior_categories.float()
    else:
        emotional = encoded.attribute_logits[:, len(attributes.universal):]
        felt = category_probabilities(emotional, attributes.membership.to(emotional.device))
    order = felt.sort(dim=1, descending=True, stable=True)
    return [tuple(zip((attributes.categories[i] for i in numbers), probabilities, strict=True))
            for numbers, probabilities in zip(order.indices.tolist(), order.values.tolist(), strict=True)]
