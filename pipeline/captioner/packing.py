"""Captions of videos packed for the decoder: no word is padding, and a video is there once for all its captions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.captioner.model.caption_decoder import Packing

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


def pack_captions(videos: Ids, per_video: Ids, words_in: Sequence[NDArray[np.signedinteger]],
                  words_out: Sequence[NDArray[np.signedinteger]], weights: NDArray[np.float32],
                  device: torch.device | str) -> Batch:
    """A batch of `per_video` [v] captions of every video, in order: `words_in` with <bos>, `words_out` with <eos>."""
    lengths = np.array([len(ids) for ids in words_in])
    row_of_word = np.repeat(np.arange(len(words_in)), lengths)                           # [N]
    positions = np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
    video_of_word = np.repeat(np.arange(len(videos)), per_video)[row_of_word]        # [N]
    queries = np.bincount(video_of_word, minlength=len(videos))                      # words a video
    rank = np.arange(len(row_of_word)) - (queries.cumsum() - queries)[video_of_word]

    def put(array: NDArray[np.signedinteger]) -> Tensor:
        return torch.from_numpy(array.astype(np.int64)).to(device, non_blocking=True)

    length, most = int(lengths.max()), int(queries.max())
    packing = Packing(len(words_in), length, len(videos), most,
                      put(row_of_word * length + positions), put(video_of_word * most + rank))
    return Batch(torch.from_numpy(videos.astype(np.int64)), torch.tensor(weights.sum(), device=device),
                 torch.from_numpy(weights[row_of_word]).to(device, non_blocking=True),
                 put(np.concatenate(words_in)), put(np.concatenate(words_out)), put(positions), put(video_of_word),
                 packing)
