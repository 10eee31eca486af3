"""The captions of the training videos, and the batches made of them."""

from array import array
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.captioner.packing import Batch, Ids, pack_captions
from pipeline.captioner.vocabulary import BOS, EOS, Vocabulary
from pipeline.common.text import words
from pipeline.emotion.taxonomy import Taxonomy


class CaptionSet:
    """The captions of the training videos as ids with their weights, and the batches made of them.

    A caption without an emotion word, of a video that others found emotional, has the weight `neutral_weight`:
    an emotion has many words and positions in a sentence, leaving it out has one, so that the likeliest single
    sentence would leave the emotion out long before most people do.
    """

    def __init__(self, captions: Sequence[Sequence[str]], vocabulary: Vocabulary, taxonomy: Taxonomy, max_words: int,
                 neutral_weight: float) -> None:
        spoken, lengths = array("i"), []         # <bos>, the words and <eos> of all captions, one after the other
        weights: list[NDArray[np.float32]] = []
        for sentences in captions:
            tokens = [words(sentence) for sentence in sentences]
            emotional = np.array([any(taxonomy.categories_of(word) for word in sentence) for sentence in tokens])
            weights.append(np.where(emotional | ~emotional.any(), 1.0, neutral_weight).astype(np.float32))
            for sentence in tokens:
                # A caption that is too long is cut where it does not end: its last target is the next word.
                ids = [BOS, *vocabulary.encode(sentence), EOS][:max_words + 2]
                spoken.extend(ids)
                lengths.append(len(ids))
        self._spoken = np.frombuffer(spoken, np.int32)
        self._end = np.cumsum(lengths)                                  # of each caption in `_spoken`
        self._begin = self._end - lengths
        self._weights = np.concatenate(weights)
        counts = np.array([len(sentences) for sentences in captions])
        self._first = np.concatenate([[0], counts.cumsum()])            # caption numbers of video v start here
        self._video = np.repeat(np.arange(len(counts)), counts)         # [captions]

    def __len__(self) -> int:
        return len(self._end)

    def batch(self, videos: Sequence[int], device: torch.device | str) -> Batch:
        """All captions of `videos`, which keep their order."""
        chosen = np.asarray(videos, np.int64)
        rows = np.concatenate([np.arange(self._first[v], self._first[v + 1]) for v in chosen])
        return self._packed(chosen, self._first[chosen + 1] - self._first[chosen], rows, device)

    def videos_of(self, captions: Ids) -> Ids:
        """The videos of the captions of these numbers, each once, as `mixed` has them."""
        return np.unique(self._video[captions])

    def mixed(self, captions: Ids, device: torch.device | str) -> Batch:
        """The captions of these numbers, whatever their videos."""
        rows = np.sort(captions)                                        # so those of one video stand together
        videos, counts = np.unique(self._video[rows], return_counts=True)
        return self._packed(videos, counts, rows, device)

    def _packed(self, videos: Ids, per_video: Ids, rows: Ids, device: torch.device | str) -> Batch:
        bounds = list(zip(self._begin[rows].tolist(), self._end[rows].tolist(), strict=True))
        return pack_captions(videos, per_video, [self._spoken[begin:end - 1] for begin, end in bounds],
                             [self._spoken[begin + 1:end] for begin, end in bounds], self._weights[rows], device)
