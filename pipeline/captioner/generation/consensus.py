"""Consensus: of a video's beams, the one that the retrieved captions agree with most.

The likeliest sentence is often one that fits many videos. A beam's score becomes its Σ log p / length ** power +
weight · agreement, where agreement is the mean similarity of the beam and the video's candidates by their weighted
n-grams: CIDEr (Vedantam et al., CVPR 2015) without its clipping, so that the candidates of a video are one vector.
Nearer candidates count more: of N the one of rank r counts e^(-1.5 r / N) (docs/experiments.md).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from pipeline.captioner.generation.captions import Caption
from pipeline.captioner.generation.document_frequency import DocumentFrequency
from pipeline.common.text import words
from pipeline.retrieval.index import CaptionIndex

_ORDERS = 4         # n-grams of 1 to 4 words
_SCALE = 10.0       # CIDEr's
_FALL = 1.5         # the nearest candidate counts about e^1.5 times the farthest
_END = "</s>"       # where a sentence ends is part of it

Gram = tuple[str, ...]
Vector = dict[Gram, float]


class Consensus:
    """Agreement of sentences with candidates; rare n-grams weigh more, by the captions of the videos of a corpus."""

    def __init__(self, corpus: Iterable[Sequence[str]]) -> None:
        """`corpus`: the captions of every video."""
        self._frequency = DocumentFrequency((list(map(_tokens, captions)) for captions in corpus), _ORDERS)

    @classmethod
    def of(cls, index: CaptionIndex) -> "Consensus":
        number_of: dict[str, int] = {}
        videos = np.array([number_of.setdefault(video, len(number_of)) for owners in index.owners for video in owners])
        rows = np.repeat(np.arange(len(index.owners)), [len(owners) for owners in index.owners])
        rows = rows[np.argsort(videos, kind="stable")]
        ends = np.bincount(videos).cumsum()
        return cls([index.texts[row] for row in rows[begin:end]]
                   for begin, end in pairwise([0, *ends.tolist()]))

    def agreement(self, sentences: Sequence[str], candidates: Sequence[str]) -> list[float]:
        """Of every sentence with the candidates of its video, nearest first, on CIDEr's scale of 0 to 10."""
        vectors_of = self._vectors(list(dict.fromkeys([*sentences, *candidates])))
        centre: list[defaultdict[Gram, float]] = [defaultdict(float) for _ in range(_ORDERS)]
        counts = [math.exp(-_FALL * rank / len(candidates)) for rank in range(len(candidates))]
        for candidate, count in zip(candidates, counts, strict=True):
            for total, vector in zip(centre, vectors_of[candidate], strict=True):
                for gram, weight in vector.items():
                    total[gram] += count * weight
        share = _SCALE / (_ORDERS * max(1.0, sum(counts)))
        return [share * sum(weight * total.get(gram, 0.0)
                            for total, vector in zip(centre, vectors_of[sentence], strict=True)
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

    def _vectors(self, sentences: Sequence[str]) -> dict[str, list[Vector]]:
        """Of every sentence and every order a vector of length 1 (or nothing)."""
        tokens = list(map(_tokens, sentences))
        found = self._frequency.look_up(tokens)
        return {sentence: [self._vector(_grams(own, n), videos) for n, videos in enumerate(counts, start=1)]
                for sentence, own, counts in zip(sentences, tokens, found, strict=True)}

    def _vector(self, grams: Sequence[Gram], videos: Sequence[int]) -> Vector:
        """videos: how many have each of the n-grams."""
        videos_with = dict(zip(grams, videos, strict=True))
        vector = {gram: count * (math.log(self._frequency.videos) - math.log(max(1, videos_with[gram])))
                  for gram, count in Counter(grams).items()}
        length = math.sqrt(sum(weight ** 2 for weight in vector.values()))
        return {gram: weight / length for gram, weight in vector.items()} if length else {}


def _tokens(sentence: str) -> list[str]:
    return [*words(sentence), _END]


def _grams(tokens: Sequence[str], n: int) -> list[Gram]:
    return [tuple(tokens[i:i + n]) for i in range(len(tokens) - n + 1)]
