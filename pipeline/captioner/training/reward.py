"""The reward of sampled captions: CIDEr-D against the training captions of their videos, and the emotions named.

CIDEr-D (Vedantam et al., CVPR 2015) of a whole batch at once: the references' n-grams lie in sorted tables, those
of the sampled captions are looked up in them. It equals pycocoevalcap's `Cider` over the same words, document
frequencies included (tests/captioner/test_self_critical.py).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.captioner.ngram_keys import CountedNgrams, Numbers, counted_ngrams, find_sorted, ragged_entries
from pipeline.emotion.taxonomy import Taxonomy

Sentence = Sequence[str]
Reals = NDArray[np.float64]

_ORDERS = 4         # n-grams of 1 to 4 words
_SIGMA = 6.0        # of the penalty for another length
_SCALE = 10.0


class CiderD:
    """CIDEr-D against fixed references, by video: `score(videos, sentences)`."""

    def __init__(self, references: Sequence[Sequence[Sentence]]) -> None:
        self._numbers: dict[str, int] = {}
        self._references = np.array([len(own) for own in references])
        self._first = self._references.cumsum() - self._references      # of each video's references among all
        sentences = [self._ids(sentence) for own in references for sentence in own]
        self._length = np.array([len(ids) for ids in sentences])
        video = np.repeat(np.arange(len(references)), self._references)
        self._orders = [_Order(counted_ngrams(sentences, n), video, len(sentences)) for n in range(1, _ORDERS + 1)]

    def score(self, videos: Sequence[int], sentences: Sequence[Sentence]) -> Reals:
        """[n]: of every sentence against the references of its video (CIDEr 1.2 is 1.2, not 120)."""
        token_ids = [self._ids(sentence) for sentence in sentences]
        video = np.asarray(videos)
        length = np.array([len(ids) for ids in token_ids])
        # A pair is a sentence and one reference of its video.
        pairs = self._references[video]
        start = pairs.cumsum() - pairs
        sentence = np.repeat(np.arange(len(token_ids)), pairs)
        reference = np.arange(pairs.sum()) - start[sentence] + self._first[video][sentence]
        alike = np.zeros(len(sentence))
        for n, order in enumerate(self._orders, start=1):
            grams, shift = counted_ngrams(token_ids, n), start - self._first[video]
            alike += order.compare(grams, video, shift, len(alike), reference, sentence)
        # Length as the scorer counts it: bigrams.
        apart = np.maximum(length[sentence] - 1, 0) - np.maximum(self._length[reference] - 1, 0)
        alike *= np.exp(-(apart ** 2) / (2 * _SIGMA ** 2)) / _ORDERS
        scores: Reals = _SCALE * np.bincount(sentence, alike, len(token_ids)) / pairs
        return scores

    def _ids(self, sentence: Sentence) -> Numbers:
        return np.array([self._numbers.setdefault(word, len(self._numbers) + 1) for word in sentence], np.int64)


class _Order:
    """The references' n-grams of one n, weighted by how rare they are among videos."""

    def __init__(self, grams: CountedNgrams, video: Numbers, references: int) -> None:
        self._keys, number = np.unique(grams.key, return_inverse=True)
        videos = int(video[-1]) + 1
        # An n-gram counts once a video, however many of its references have it.
        places, at = np.unique(video[grams.sentence] * len(self._keys) + number, return_inverse=True)
        documents = np.bincount(places % max(1, len(self._keys)), minlength=len(self._keys))
        self._rarity = np.log(videos) - np.log(np.maximum(1, documents))        # [keys]
        self._unseen = np.log(videos)
        weight = grams.count * self._rarity[number]
        order = np.argsort(at, kind="stable")
        self._positions = places                                                   # sorted: video x key
        self._bounds = np.concatenate([[0], np.bincount(at, minlength=len(places)).cumsum()])
        self._reference, self._weight = grams.sentence[order], weight[order]    # those of a place stand together
        self._norm = np.sqrt(np.bincount(grams.sentence, weight ** 2, references))

    def compare(self, grams: CountedNgrams, video: Numbers, shift: Numbers, pairs: int, reference: Numbers,
                sentence: Numbers) -> Reals:
        """[pairs]: clipped cosine of the sentences' n-grams and those of each of their references."""
        number, known = find_sorted(self._keys, grams.key)
        rarity = np.full(len(grams.key), self._unseen)
        rarity[known] = self._rarity[number[known]]
        weight = grams.count * rarity
        norm = np.sqrt(np.bincount(grams.sentence, weight ** 2, len(video)))

        position = video[grams.sentence[known]] * len(self._keys) + number[known]
        slot, exists = find_sorted(self._positions, position)
        slot, generated, own_weight = slot[exists], grams.sentence[known][exists], weight[known][exists]
        place, entry = ragged_entries(self._bounds, slot)                       # an entry: a reference that has it
        reference_weight = self._weight[entry]
        met = np.minimum(own_weight[place], reference_weight) * reference_weight
        pair = self._reference[entry] + shift[generated][place]
        together = norm[sentence] * self._norm[reference]
        alike: Reals = np.divide(np.bincount(pair, met, pairs), together, out=np.zeros(pairs), where=together > 0)
        return alike



class EmotionReward:
    """(right − wrong) / (right + wrong) categories that a caption names; 0 for one that names none."""

    def __init__(self, references: Sequence[Sequence[Sentence]], taxonomy: Taxonomy) -> None:
        self._taxonomy = taxonomy
        self._expected = [taxonomy.reference_categories(own) for own in references]

    def score(self, videos: Sequence[int], sentences: Sequence[Sentence]) -> Reals:
        return np.array([self._score_one(video, sentence) for video, sentence in zip(videos, sentences, strict=True)])

    def _score_one(self, video: int, sentence: Sentence) -> float:
        categories = self._taxonomy.predicted_categories(sentence)
        right = len(categories & self._expected[video])
        return (2 * right - len(categories)) / max(1, len(categories))
