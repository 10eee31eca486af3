"""Captions of videos by one trained model: search or sampling, then the rerankers. The only way to captions here.

    generator = CaptionGenerator(model, vocabulary, attributes, params.generation, consensus)
    captions = generator.generate(inputs, candidates)

`evaluate`, `caption`, `ablate` and the validation of a training call it.
"""

from collections.abc import Callable, Sequence, Set

import torch
from torch import Tensor

from pipeline import params
from pipeline.captioner.attributes import AttributeList, category_probabilities
from pipeline.captioner.generation import beam_search
from pipeline.captioner.generation.attribute_odds import AttributeOdds
from pipeline.captioner.generation.beam_search import Beams
from pipeline.captioner.generation.candidate_hypotheses import CandidateHypotheses
from pipeline.captioner.generation.captions import Attribute, Caption, Hypothesis
from pipeline.captioner.generation.consensus import Consensus
from pipeline.captioner.generation.random_sampling import SamplingSettings, sample
from pipeline.captioner.inputs import Inputs, InputSource
from pipeline.captioner.model.captioner import Captioner, Encoded
from pipeline.captioner.vocabulary import PAD, Vocabulary


class CaptionGenerator:
    """`consensus` makes the consensus of the caption index when it is first needed; without it none reranks.

    The candidates rerank only the captions of a model that reads them: a row of the ablation without retrieved text is
    not to profit from it.
    """

    def __init__(self, model: Captioner, vocabulary: Vocabulary, attributes: AttributeList,
                 section: params.Generation, consensus: Callable[[], Consensus] | None = None) -> None:
        self.model, self.vocabulary, self.attributes, self.section = model, vocabulary, attributes, section
        self._odds = AttributeOdds(vocabulary, attributes, model.base)
        self._candidates = CandidateHypotheses(model, vocabulary, attributes)
        self._consensus = consensus if section.consensus and "text" in model.shape.dims else None

    @torch.inference_mode()
    def generate(self, inputs: InputSource, candidates: Sequence[Sequence[str]] = ()) -> list[Caption]:
        """Captions of all `inputs`, in their order, `section.batch_size` videos at a time, without dropout.

        candidates: of every video the retrieved captions, nearest first: the consensus reads all, and the first
        `section.candidates` are hypotheses beside the generated ones.
        """
        was_training = self.model.training
        self.model.eval()
        try:
            size = self.section.batch_size
            batches = [range(first, min(first + size, len(inputs))) for first in range(0, len(inputs), size)]
            uniform = self._random_numbers(len(inputs))
            captions: list[Caption] = []
            for batch, following in zip(batches, [*batches[1:], None], strict=True):
                selected = inputs.select(batch)
                if following is not None:
                    inputs.prepare(following)
                captions += self._batch(selected, candidates[batch.start:batch.stop],
                                        None if uniform is None else uniform[batch.start:batch.stop])
        finally:
            self.model.train(was_training)
        if self._consensus is not None:
            captions = self._consensus().rerank(captions, candidates, self.section.consensus)
        return captions

    def _random_numbers(self, videos: int) -> Tensor | None:
        """Of every video, for each word that may be sampled [videos, captions, longest]; so the size of a batch does
        not matter. None where nothing is sampled."""
        if self.section.method == "beam":
            return None
        generator = torch.Generator().manual_seed(self.section.seed)
        return torch.rand(videos, self.section.num_beams, self.model.section.max_words + 1, dtype=torch.double,
                          generator=generator)

    def _batch(self, inputs: Inputs, candidates: Sequence[Sequence[str]], uniform: Tensor | None) -> list[Caption]:
        inputs = inputs.to(self.model.device)
        encoded = self.model.encode(inputs)
        beams = (beam_search.search(self.model, encoded, len(inputs), self.section) if uniform is None
                 else _sampled(self.model, encoded, uniform.to(self.model.device), self.section))
        likeliest = [of_video[0][0] for of_video in beams]
        generated = [{tuple(tokens) for tokens, _ in of_video} for of_video in beams]
        if self.section.candidates and "text" in self.model.shape.dims:
            retrieved = self._candidates.score(encoded, [own[:self.section.candidates] for own in candidates],
                                               self.section)
            beams = [_joined(*of_video) for of_video in zip(beams, retrieved, strict=True)]
        if encoded.attribute_logits is not None and (self.section.attribute_odds or self.section.emotion_odds):
            beams = self._odds.rerank(beams, encoded.attribute_logits, self.section)
        attributes = _attributes(encoded, self.attributes, self.model.section.embedded_attributes)
        emotions = _emotions(encoded, self.attributes, inputs)
        return [self._caption(*parts)
                for parts in zip(inputs.ids, beams, generated, likeliest, attributes, emotions, strict=True)]

    def _caption(self, video: str, beams: Beams, generated: Set[tuple[int, ...]], likeliest: Sequence[int],
                 attributes: tuple[Attribute, ...], emotions: tuple[tuple[str, float], ...]) -> Caption:
        hypotheses = tuple(Hypothesis(self.vocabulary.decode(tokens), score, tuple(tokens) not in generated)
                           for tokens, score in beams)
        return Caption(video, hypotheses[0].text, hypotheses[0].score, hypotheses, attributes, emotions,
                       self.vocabulary.decode(likeliest))


def _joined(beams: Beams, retrieved: Beams) -> Beams:
    """Both, best first, what both have once."""
    known = {tuple(tokens) for tokens, _ in beams}
    others = [(tokens, score) for tokens, score in retrieved if tuple(tokens) not in known]
    return sorted([*beams, *others], key=lambda beam: -beam[1])


def _sampled(model: Captioner, encoded: Encoded, uniform: Tensor, section: params.Generation) -> list[Beams]:
    """For every encoded video captions by random sampling (tokens with <eos>, score), best first."""
    settings = SamplingSettings(section.num_beams, section.temperature, section.top_p, section.no_repeat_ngram_size)
    texts, sums = sample(model, encoded, len(uniform), settings, uniform)
    scores = sums / (texts != PAD).sum(-1) ** section.length_penalty
    sampled = [[([token for token in text if token != PAD], score) for text, score in zip(*of_video, strict=True)]
               for of_video in zip(texts.tolist(), scores.tolist(), strict=True)]
    return [sorted(captions, key=lambda caption: -caption[1]) for captions in sampled]


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
        probabilities = inputs.prior_categories.float()
    else:
        emotional = encoded.attribute_logits[:, len(attributes.universal):]
        probabilities = category_probabilities(emotional, attributes.membership.to(emotional.device))
    order = probabilities.sort(dim=1, descending=True, stable=True)
    return [tuple(zip((attributes.categories[i] for i in numbers), values, strict=True))
            for numbers, values in zip(order.indices.tolist(), order.values.tolist(), strict=True)]
