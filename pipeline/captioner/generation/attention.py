"""Where the decoder looked for each word of a caption: at which frames, windows of sound, candidates and attributes.

    for attention in read_attention(model, vocabulary, inputs, ["a man happily sings"], batch_size=64):
        attention.weights["appearance"]     # [4 words, frames]

The finished caption goes through the decoder once more, all its words at once. So search and sampling, which look at
hundreds of words for each that stays, keep no weights.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.captioner.inputs import Inputs, InputSource
from pipeline.captioner.model.captioner import Captioner
from pipeline.captioner.packing import pack_captions
from pipeline.captioner.vocabulary import BOS, EOS, Vocabulary
from pipeline.common.text import words

_DIGITS = 3


@dataclass(frozen=True)
class Attention:
    """Of L words: the weights [L, rows] of each part of the memory. Over all parts, those of a word sum to 1.

    They are means over the decoder's layers and heads. Rows of "text" are the candidates, nearest first; those of
    "attributes" the embedded attributes, the likeliest first.
    """

    words: tuple[str, ...]
    weights: dict[str, NDArray[np.float32]]

    def as_json(self, times: Mapping[str, Sequence[float]]) -> dict[str, Any]:
        """What a line of predictions.jsonl says of it; times: the seconds of the rows, of a part that has them."""
        return {"words": list(self.words), "parts": {
            name: {"seconds": [round(second, 2) for second in times.get(name, ())],
                   "weights": [[round(float(weight), _DIGITS) for weight in word] for word in own]}
            for name, own in self.weights.items()}}


@torch.inference_mode()
def read_attention(model: Captioner, vocabulary: Vocabulary, inputs: InputSource, captions: Sequence[str],
                   batch_size: int) -> Iterator[Attention]:
    """Of one caption for each of the `inputs`, in their order. The captions are of words of the vocabulary."""
    was_training = model.training
    model.eval()
    try:
        for first in range(0, len(inputs), batch_size):
            batch = range(first, min(first + batch_size, len(inputs)))
            yield from _read(model, vocabulary, inputs.select(batch).to(model.device), captions[first:batch.stop])
    finally:
        model.train(was_training)


def _read(model: Captioner, vocabulary: Vocabulary, inputs: Inputs, captions: Sequence[str]) -> Iterator[Attention]:
    sentences = [words(caption) for caption in captions]
    ids = [np.array(vocabulary.encode(sentence), np.int64) for sentence in sentences]
    batch = pack_captions(np.arange(len(ids)), np.ones(len(ids), np.int64), [np.array([BOS, *own]) for own in ids],
                          [np.array([*own, EOS]) for own in ids], np.ones(len(ids), np.float32), model.device)
    encoded = model.encode(inputs)
    weights = model.attend_packed(encoded, batch.words, batch.positions, batch.video_of_word, batch.packing)
    begin = 0
    for video, sentence in enumerate(sentences):
        own = weights[begin:begin + len(sentence)]          # without the look that ended the caption
        begin += len(sentence) + 1
        parts, last = {}, 0
        for name, count in encoded.memory.parts.items():
            part, last = own[:, last:last + count], last + count
            if name in inputs.modalities:
                part = part[:, inputs.modalities[name].mask[video]]
            if part.shape[1]:
                parts[name] = part.cpu().numpy()
        yield Attention(tuple(sentence), parts)
