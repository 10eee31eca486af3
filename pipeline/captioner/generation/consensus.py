"""Consensus: of a video's beams, the one that the retrieved captions agree with most.

The likeliest sentence is often one that fits many videos. A beam's score becomes its Σ log p / length ** power +
weight · agreement, where agreement is the mean similarity of the beam and the video's candidates by their weighted
n-grams: CIDEr (Vedantam et al., CVPR 2015) without its clipping, so that the candidates of a video are one vector.
Nearer candidates count more: of N the one of rank r counts e^(-1.5 r / N) (docs/experiments.md).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise

import numpy as np

from pipeline.captioner.generation.captions import Caption
from pipeline.captioner.generation.document_frequency import DocumentFrequency, Reals
from pipeline.captioner.ngram_keys import Numbers, find_sorted, ragged_entries
from pipeline.common.text import words
from pipeline.retrieval.index import CaptionIndex

_ORDERS = 4         # n-grams of 1 to 4 words
_SCALE = 10.0       # CIDEr's
_FALL = 1.5         # the nearest candidate counts about e^1.5 times the farthest
_END = "</s>"       # where a sentence ends is part of it
_BLOCK = 64         # videos that are compared at once


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

    def agreements(self, sentences: Sequence[Sequence[str]], candidates: Sequence[Sequence[str]]) -> list[Reals]:
        """For every video of each of its sentences: with the video's candidates, nearest first, on CIDEr's scale of
        0 to 10."""
        found: list[Reals] = []
        for first in range(0, len(sentences), _BLOCK):
            block = slice(first, first + _BLOCK)
            found += self._agreements(sentences[block], candidates[block])
        return found

    def _agreements(self, sentences: Sequence[Sequence[str]], candidates: Sequence[Sequence[str]]) -> list[Reals]:
        number = {text: row for row, text in enumerate(dict.fromkeys(chain(*sentences, *candidates)))}
        spoken, retrieved = _Occurrences.of(sentences, number), _Occurrences.of(candidates, number)
        counts = np.exp(-_FALL * retrieved.rank / np.maximum(1, retrieved.many[retrieved.video]))
        total = np.zeros(len(spoken.row))
        for vectors in self._frequency.vectors(list(map(_tokens, number))):
            keys, gram = np.unique(vectors.key, return_inverse=True)
            bounds = np.searchsorted(vectors.sentence, np.arange(len(number) + 1))
            owner, entry = ragged_entries(bounds, retrieved.row)
            places, at = np.unique(retrieved.video[owner] * len(keys) + gram[entry], return_inverse=True)
            centre = np.bincount(at, counts[owner] * vectors.weight[entry], len(places))
            owner, entry = ragged_entries(bounds, spoken.row)
            at, met = find_sorted(places, spoken.video[owner] * len(keys) + gram[entry])
            total += np.bincount(owner[met], vectors.weight[entry[met]] * centre[at[met]], len(total))
        share = _SCALE / (_ORDERS * np.maximum(1.0, np.bincount(retrieved.video, counts, len(candidates))))
        return np.split(total * share[spoken.video], spoken.many.cumsum()[:-1])

    def choose(self, candidates: Sequence[Sequence[str]]) -> list[str]:
        """For every video the candidate that agrees most with all of them; of equal ones the nearest."""
        return [own[int(agreements.argmax())]
                for own, agreements in zip(candidates, self.agreements(candidates, candidates), strict=True)]

    def rerank(self, captions: Sequence[Caption], candidates: Sequence[Sequence[str]], weight: float) -> list[Caption]:
        """`captions` with their beams in the new order; the candidates of each video in the same order."""
        agreements = self.agreements([[beam.text for beam in caption.beams] for caption in captions], candidates)
        return [_reranked(caption, weight * own) for caption, own in zip(captions, agreements, strict=True)]


@dataclass(frozen=True)
class _Occurrences:
    """Texts of videos, one after the other."""

    row: Numbers        # [M] which of the distinct texts
    video: Numbers      # [M]
    rank: Numbers       # [M] among its video's
    many: Numbers       # [videos] texts of each

    @classmethod
    def of(cls, texts: Sequence[Sequence[str]], number: Mapping[str, int]) -> "_Occurrences":
        many = np.array([len(own) for own in texts], np.int64)
        return cls(np.array([number[text] for own in texts for text in own], np.int64),
                   np.repeat(np.arange(len(texts)), many), np.concatenate([np.arange(0), *map(np.arange, many)]), many)


def _reranked(caption: Caption, gains: Reals) -> Caption:
    beams = sorted((replace(beam, score=beam.score + float(gain))
                    for beam, gain in zip(caption.beams, gains, strict=True)), key=lambda beam: -beam.score)
    return replace(caption, text=beams[0].text, score=beams[0].score, beams=tuple(beams))


def _tokens(sentence: str) -> list[str]:
    return [*words(sentence), _END]
