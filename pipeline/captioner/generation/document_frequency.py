"""In how many videos of a corpus each n-gram stands, as sorted arrays of keys and counts: twelve bytes an n-gram."""

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.captioner.ngram_keys import Keys, Numbers, counted_ngrams, find_sorted, ngram_keys

Reals = NDArray[np.float64]

_BLOCK = 1 << 20                            # words that are counted together


@dataclass(frozen=True)
class WeightedNgrams:
    """Distinct n-grams of sentences, sorted by sentence and key."""

    sentence: Numbers       # [G]
    key: Keys               # [G]
    weight: Reals           # [G]


class DocumentFrequency:
    def __init__(self, videos: Iterable[Sequence[Sequence[str]]], orders: int) -> None:
        """videos: of each the words of its sentences; n-grams of 1 to `orders` words are counted."""
        self.videos = 0
        self._orders = orders
        self._number: dict[str, int] = {}
        self._tables = [_Table() for _ in range(orders)]
        words, lengths, sentences = array("q"), array("q"), array("q")
        for own in videos:
            self.videos += 1
            sentences.append(len(own))
            for sentence in own:
                words.extend([self._number.setdefault(word, len(self._number) + 1) for word in sentence])
                lengths.append(len(sentence))
            if len(words) >= _BLOCK:
                self._count(words, lengths, sentences)
                words, lengths, sentences = array("q"), array("q"), array("q")
        self._count(words, lengths, sentences)
        for table in self._tables:
            table.merge()

    def _count(self, words: "array[int]", lengths: "array[int]", sentences: "array[int]") -> None:
        lengths_, numbers = np.array(lengths, np.int64), np.array(words, np.int64)
        of_sentence = np.repeat(np.arange(len(sentences)), np.array(sentences, np.int64))
        video = np.repeat(of_sentence, lengths_)
        for n, table in enumerate(self._tables, start=1):
            begins, keys = ngram_keys(numbers, lengths_, n)
            order = np.lexsort((video[begins], keys))
            owner, keys = video[begins][order], keys[order]
            new = np.ones(len(keys), bool)                  # once a video, however many of its sentences have it
            new[1:] = (owner[1:] != owner[:-1]) | (keys[1:] != keys[:-1])
            table.add(keys[new])

    def vectors(self, sentences: Sequence[Sequence[str]]) -> list[WeightedNgrams]:
        """For every n the n-grams of all sentences, weighted by TF-IDF: of each sentence a vector of length 1, or 0."""
        strange: dict[str, int] = {}                        # words that the corpus lacks
        ids = [np.array([self._number.get(word) or strange.setdefault(word, len(self._number) + len(strange) + 1)
                         for word in sentence], np.int64) for sentence in sentences]
        found = []
        for n, table in enumerate(self._tables, start=1):
            grams = counted_ngrams(ids, n)
            weight = grams.count * (math.log(self.videos) - np.log(np.maximum(1, table.look_up(grams.key))))
            length = np.sqrt(np.bincount(grams.sentence, weight ** 2, len(sentences)))[grams.sentence]
            found.append(WeightedNgrams(grams.sentence, grams.key, np.divide(
                weight, length, out=np.zeros(len(weight)), where=length > 0)))
        return found


class _Table:
    """Keys in their order, and how often each was added. What is added waits until there is as much of it."""

    def __init__(self) -> None:
        self.keys, self.counts = np.empty(0, np.uint64), np.empty(0, np.uint32)
        self._waiting: list[Keys] = []
        self._size = 0

    def add(self, keys: Keys) -> None:
        self._waiting.append(keys)
        self._size += len(keys)
        if self._size > max(len(self.keys), 4 * _BLOCK):
            self.merge()

    def merge(self) -> None:
        fresh, added = np.unique(np.concatenate([np.empty(0, np.uint64), *self._waiting]), return_counts=True)
        self._waiting, self._size = [], 0
        at, known = find_sorted(self.keys, fresh)
        self.counts[at[known]] += added[known].astype(np.uint32)
        self.keys = np.insert(self.keys, at[~known], fresh[~known])
        self.counts = np.insert(self.counts, at[~known], added[~known].astype(np.uint32))

    def look_up(self, keys: Keys) -> Numbers:
        at, known = find_sorted(self.keys, keys)
        counts = np.zeros(len(keys), np.int64)
        counts[known] = self.counts[at[known]]
        return counts
