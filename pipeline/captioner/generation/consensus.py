"""Consensus: of a video's beams, the one that the retrieved captions agree with most.

The likeliest sentence is often one that fits many videos. A beam's score becomes its Σ log p / length ** power +
weight · agreement, where agreement is the mean similarity of the beam and the video's candidates by their weighted
n-grams: CIDEr (Vedantam et al., CVPR 2015) without its clipping, so that the candidates of a video are one vector.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pipeline.captioner.generation.captions import Caption
from pipeline.common.text import words
from pipeline.retrieval.index import CaptionIndex

_ORDERS = 4         # n-grams of 1 to 4 words
_SCALE = 10.0       # CIDEr's
_END = "</s>"       # where a sentence ends is part of it

Gram = tuple[str, ...]
Vector = dict[Gram, float]


class Consensus:
    """Agreement of sentences with candidates; rare n-grams weigh more, by the captions of the videos of a corpus."""

    def __init__(self, corpus: Iterable[Sequence[str]]) -> None:
        """`corpus`: the captions of every video."""
        self._videos = 0
        self._videos_with: Counter[Gram] = Counter()      # n-gram → videos that have it
        for captions in corpus:
            self._videos += 1
            self._videos_with.update({gram for caption in captions for grams in _grams(caption) for gram in grams})

    @classmethod
    def of(cls, index: CaptionIndex) -> "Consensus":
        captions: dict[str, list[str]] = defaultdict(list)
        for owners, text in zip(index.owners, index.texts, strict=True):
            for video in owners:
                captions[video].append(text)
        return cls(captions.values())

    def agreement(self, sentences: Sequence[str], candidates: Sequence[str]) -> list[float]:
        """Of every sentence with the candidates of its video, on CIDEr's scale of 0 to 10."""
        centre: list[defaultdict[Gram, float]] = [defaultdict(float) for _ in range(_ORDERS)]
        for candidate in candidates:
            for total, vector in zip(centre, self._vectors(candidate), strict=True):
                for gram, weight in vector.items():
                    total[gram] += weight
        share = _SCALE / (_ORDERS * max(1, len(candidates)))
        return [share * sum(weight * total.get(gram, 0.0)
                            for total, vector in zip(centre, self._vectors(sentence), strict=True)
                            for gram, weight in vector.items()) for sentence in sentences]

    def choose(self, candidates: Sequence[str]) -> str:
        """The candidate that agrees most with all of them; of equal ones the nearest."""
        agreements = self.agreement(candidates, candidates)
        return candidates[agreements.index(max(agreements))]

    def rerank(self, captions: Sequence[Caption], candidates: Sequence[Sequence[str]], weight: float) -> list[Caption]:
        """`captions` with their beams in the new order; the candidates of each video in the same order."""
        return [self._rerank_one(caption, own, weight) for caption, own in zip(captions, candidates, strict=True)]

    def _rerank_one(self, caption: Caption, candidates: Sequence[str], weight: float) -> Caption:
        agreements = self.agreement([beam.text for beam in caption.beams], candidates)
        beams = [replace(beam, score=beam.score + weight * agreement)
                 for beam, agreement in zip(caption.beams, agreements, strict=True)]
        beams.sort(key=lambda beam: -beam.score)
        return replace(caption, text=beams[0].text, score=beams[0].score, beams=tuple(beams))

    def _vectors(self, sentence: str) -> list[Vector]:
        """Of every order a vector of length 1 (or nothing)."""
        vectors = []
        for grams in _grams(sentence):
            vector = {gram: count * (math.log(self._videos) - math.log(max(1, self._videos_with[gram])))
                      for gram, count in grams.items()}
            length = math.sqrt(sum(weight ** 2 for weight in vector.values()))
            vectors.append({gram: weight / length for gram, weight in vector.items()} if length else {})
        return vectors


def _grams(sentence: str) -> list[Counter[Gram]]:
    tokens = [*words(sentence), _END]
    return [Counter(tuple(tokens[i:i + n]) for i in range(len(tokens) - n + 1)) for n in range(1, _ORDERS + 1)]
