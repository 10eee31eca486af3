"""Batches of captions, packed: no word is padding, and a video is there once for all its captions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.captioner.model.caption_decoder import Packing
from pipeline.captioner.vocabulary import BOS, EOS, Vocabulary
from pipeline.common.text import words
from pipeline.emotion.taxonomy import Taxonomy

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Captions of v videos, N words in all."""

    videos: Tensor          # [v] index among the training videos; on the CPU, where the videos are selected
    captions: Tensor        # sum of the captions' weights
    weights: Tensor         # [N] of each word's caption
    words: Tensor           # [N] what the decoder reads: <bos> and the words
    targets: Tensor         # [N] what it is to predict: the words and <eos>
    positions: Tensor       # [N] place in the caption
    video_of_word: Tensor   # [N] index in `videos`
    packing: Packing


def pack_captions(videos: Ids, per_video: Ids, words_in: Sequence[Ids], words_out: Sequence[Ids],
                  weights: NDArray[np.float32], device: torch.device | str) -> Batch:
    """A batch of `per_video` [v] captions of every video, in order: `words_in` with <bos>, `words_out` with <eos>."""
    lengths = np.array([len(ids) for ids in words_in])
    row_of_word = np.repeat(np.arange(len(words_in)), lengths)                           # [N]
    positions = np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
    video_of_word = np.repeat(np.arange(len(videos)), per_video)[row_of_word]        # [N]
    queries = np.bincount(video_of_word, minlength=len(videos))                      # words a video
    rank = np.arange(len(row_of_word)) - (queries.cumsum() - queries)[video_of_word]

    def put(array: Ids) -> Tensor:
        return torch.from_numpy(array.astype(np.int64)).to(device, non_blocking=True)

    length, most = int(lengths.max()), int(queries.max())
    packing = Packing(len(words_in), length, len(videos), most,
                      put(row_of_word * length + positions), put(video_of_word * most + rank))
    return Batch(torch.from_numpy(videos.astype(np.int64)), torch.tensor(weights.sum(), device=device),
                 torch.from_numpy(weights[row_of_word]).to(device, non_blocking=True),
                 put(np.concatenate(words_in)), put(np.concatenate(words_out)), put(positions), put(video_of_word),
                 packing)


class CaptionSet:
    """The captions of the training videos as ids with their weights, and the batches made of them.

    A caption without an emotion word, of a video that others found emotional, has the weight `neutral_weight`:
    an emotion has many words and positions in a sentence, leaving it out has one, so that the likeliest single
    sentence would leave the emotion out long before most people do.
    """

    def __init__(self, captions: Sequence[Sequence[str]], vocabulary: Vocabulary, taxonomy: Taxonomy, max_words: int,
                 neutral_weight: float) -> None:
        self._inputs: list[Ids] = []
        self._targets: list[Ids] = []
        weights: list[NDArray[np.float32]] = []
        for sentences in captions:
            tokens = [words(sentence) for sentence in sentences]
            emotional = np.array([any(taxonomy.categories_of(word) for word in sentence) for sentence in tokens])
            weights.append(np.where(emotional | ~emotional.any(), 1.0, neutral_weight).astype(np.float32))
            encoded = [vocabulary.encode(sentence) for sentence in tokens]
            # A caption that is too long is cut where it does not end: its last target is the next word.
            self._inputs += [np.array([BOS, *ids][:max_words + 1]) for ids in encoded]
            self._targets += [np.array([*ids, EOS][:max_words + 1]) for ids in encoded]
        self._weights = np.concatenate(weights)
        counts = np.array([len(sentences) for sentences in captions])
        self._first = np.concatenate([[0], counts.cumsum()])            # caption numbers of video v start here
        self._video = np.repeat(np.arange(len(counts)), counts)         # [captions]

    def __len__(self) -> int:
        return len(self._inputs)

    def batch(self, videos: Sequence[int], device: torch.device | str) -> Batch:
        """All captions of `videos`, which keep their order."""
        chosen = np.asarray(videos, np.int64)
        rows = np.concatenate([np.arange(self._first[v], self._first[v + 1]) for v in chosen])
        return self._packed(chosen, self._first[chosen + 1] - self._first[chosen], rows, device)

    def mixed(self, captions: Ids, device: torch.device | str) -> Batch:
        """The captions of these numbers, whatever their videos."""
        rows = np.sort(captions)                                        # so those of one video stand together
        videos, counts = np.unique(self._video[rows], return_counts=True)
        return self._packed(videos, counts, rows, device)

    def _packed(self, videos: Ids, per_video: Ids, rows: Ids, device: torch.device | str) -> Batch:
        return pack_captions(videos, per_video, [self._inputs[row] for row in rows],
                             [self._targets[row] for row in rows], self._weights[rows], device)
